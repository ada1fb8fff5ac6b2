import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { readSource, type SourceText } from './source-text.ts';

/** A place in `src` that breaks a rule of the layers. */
export interface Violation {
  file: string;
  /** From 1. */
  line: number;
  message: string;
}

const LAYERS = [
  'core',
  'protocol',
  'sync',
  'store',
  'transport',
  'platform',
  'edge',
  'cloud',
  'client',
  'dashboard',
  'api',
  'policies',
  'worker',
] as const;
type Layer = (typeof LAYERS)[number];

const ENGINE = ['core', 'protocol', 'sync'] as const satisfies Layer[];

/** What each layer may import besides itself: the one table that the architecture is. */
const MAY_IMPORT: Record<Layer, readonly Layer[]> = {
  core: [],
  protocol: ['core'],
  sync: ['core', 'protocol'],
  store: ENGINE,
  transport: ENGINE,
  platform: ENGINE,
  edge: [...ENGINE, 'store', 'transport', 'platform', 'policies'],
  cloud: [...ENGINE, 'store', 'transport', 'platform', 'policies'],
  client: [...ENGINE, 'store', 'transport', 'platform'],
  dashboard: [...ENGINE, 'client'],
  api: [...ENGINE, 'store', 'transport', 'edge', 'cloud', 'client', 'policies'],
  policies: ['core'],
  worker: LAYERS,
};

/** Layers that may import nothing from outside but these libraries; a layer not named here may import any. */
const LIBRARIES: Partial<Record<Layer, readonly string[]>> = {
  core: ['canonicalize', '@noble/hashes'],
  policies: ['zod'],
};

const CLOUDFLARE_LAYERS: readonly Layer[] = ['edge', 'cloud', 'worker'];
const PURE_LAYERS: readonly Layer[] = ENGINE;

/** Time, randomness and effects, which the pure layers are given; a property of the same name (`port.fetch`) is fine. */
const EFFECTS: readonly [name: string, pattern: RegExp][] = [
  ['Date.now', /\bDate\s*\.\s*now\b/g],
  ['new Date()', /\bnew\s+Date\s*(?:\(\s*\)|(?![\s(]))/g],
  ['Math.random', /\bMath\s*\.\s*random\b/g],
  ...['crypto', 'fetch', 'setTimeout', 'setInterval', 'console', 'performance', 'globalThis'].map(
    (name): [string, RegExp] => [name, new RegExp(`(?<![.\\w$])${name}\\b(?!\\s*\\??:)`, 'g')],
  ),
];

/**
 * Checks the import rule of the layers, the purity of the engine and that no files import each other in a circle.
 * `files` maps paths like `src/core/ids.ts` to their text. Pure.
 */
export function checkImports(files: ReadonlyMap<string, string>): Violation[] {
  const violations: Violation[] = [];
  const graph = new Map<string, string[]>();
  for (const [file, text] of files) {
    const layer = layerOf(file);
    const source = readSource(text);
    const report = (index: number, message: string) => {
      violations.push({ file, line: text.slice(0, index).split('\n').length, message });
    };
    const targets: string[] = [];
    graph.set(file, targets);
    if (layer === undefined) {
      report(0, 'belongs to no layer');
      continue;
    }
    for (const { specifier, index } of importsOf(source)) {
      if (specifier === undefined) {
        report(index, 'imports a path that is computed');
        continue;
      }
      if (specifier.startsWith('.')) {
        const target = path.posix.join(path.posix.dirname(file), specifier);
        targets.push(target);
        const message = forbiddenLayer(layer, target);
        if (message !== undefined) report(index, message);
      } else {
        const message = forbiddenPackage(layer, specifier);
        if (message !== undefined) report(index, message);
      }
    }
    if (PURE_LAYERS.includes(layer)) {
      for (const [name, pattern] of EFFECTS) {
        for (const match of source.code.matchAll(pattern)) report(match.index, `${layer} is pure and uses ${name}`);
      }
    }
  }
  for (const cycle of findCycles(graph)) {
    violations.push({ file: cycle[0] ?? '', line: 1, message: `import cycle: ${cycle.join(' -> ')}` });
  }
  return violations;
}

function layerOf(file: string): Layer | undefined {
  const [root, next = '', ...rest] = file.split('/');
  if (root !== 'src') return undefined;
  const name = rest.length === 0 ? next.replace(/\.tsx?$/, '') : next;
  // Only these two are files; a folder of the same name, or a stray file in src, is no layer.
  const isFile = name === 'worker' || name === 'policies';
  return isFile === (rest.length === 0) ? LAYERS.find((layer) => layer === name) : undefined;
}

/** Every import and re-export, of values and of types, static and dynamic. */
function importsOf({ code, strings }: SourceText): { specifier: string | undefined; index: number }[] {
  // `from` directly before a string is only ever an import or a re-export.
  const patterns = [/\bfrom\s*(?=['"])/g, /(?<![.\w$])import\s*(?=['"])/g, /(?<![.\w$])import\s*\(\s*/g];
  return patterns
    .flatMap((pattern) => [...code.matchAll(pattern)])
    .map((match) => ({ specifier: strings.get(match.index + match[0].length), index: match.index }))
    .sort((a, b) => a.index - b.index);
}

function forbiddenLayer(layer: Layer, target: string): string | undefined {
  const other = layerOf(target);
  if (other === undefined) return `${layer} imports ${target}, which belongs to no layer`;
  if (other === layer || MAY_IMPORT[layer].includes(other)) return undefined;
  return `${layer} must not import ${other} (${target})`;
}

function forbiddenPackage(layer: Layer, specifier: string): string | undefined {
  if (specifier.startsWith('cloudflare:')) {
    return CLOUDFLARE_LAYERS.includes(layer) ? undefined : `${layer} must not import ${specifier}`;
  }
  const libraries = LIBRARIES[layer];
  const listed = libraries?.some((name) => specifier === name || specifier.startsWith(`${name}/`)) ?? true;
  const platform = specifier.startsWith('node:') && PURE_LAYERS.includes(layer);
  return listed && !platform ? undefined : `${layer} must not import ${specifier}`;
}

/** One circle for each import that closes one, as a path from a file back to itself. */
function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const trail: string[] = [];
  const visit = (file: string) => {
    const start = trail.indexOf(file);
    if (start !== -1) {
      cycles.push([...trail.slice(start), file]);
      return;
    }
    if (done.has(file)) return;
    trail.push(file);
    for (const target of graph.get(file) ?? []) visit(target);
    trail.pop();
    done.add(file);
  };
  for (const file of graph.keys()) visit(file);
  return cycles;
}

if (import.meta.main) {
  const root = path.resolve(import.meta.dirname, '..');
  const names = globSync('src/**/*.{ts,tsx}', { cwd: root }).sort();
  const files = new Map(names.map((name) => [name, readFileSync(path.join(root, name), 'utf8')]));
  const violations = checkImports(files);
  for (const { file, line, message } of violations) console.error(`${file}:${line} ${message}`);
  if (violations.length > 0) process.exitCode = 1;
}
