import { execFileSync } from 'node:child_process';
import { copyFileSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
const DIST = path.join(ROOT, 'dist');
/** Of `exports`: there is nothing of it to run outside of Workers. */
const TYPES_ALONE = ['./api'];
/** What the package's modules import; whatever else the project depends on is the server's. */
const DEPENDENCIES = ['@noble/hashes', 'canonicalize', 'idb', 'zod'];

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

/** Makes `dist`, which is the package: `npm pack ./dist` and `npm publish ./dist` take it as it is. */
function build(): void {
  rmSync(DIST, { recursive: true, force: true });
  for (const project of ['tsconfig.build.json', 'tsconfig.api.json']) {
    const tsc = path.join(ROOT, 'node_modules/typescript/bin/tsc');
    execFileSync(process.execPath, [tsc, '-p', project], { cwd: ROOT, stdio: 'inherit' });
  }
  // tsc rewrites the names of imported files in what runs, and not in declarations.
  for (const name of globSync('**/*.d.ts', { cwd: DIST })) {
    const file = path.join(DIST, name);
    writeFileSync(file, readFileSync(file, 'utf8').replace(/(?<=(?:from |import\()['"]\.[^'"]*)\.ts(?=['"])/g, '.js'));
  }
  const manifest: Manifest = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'));
  writeFileSync(path.join(DIST, 'package.json'), `${JSON.stringify(packageOf(manifest), null, 2)}\n`);
  for (const name of ['README.md', 'LICENSE', 'CHANGELOG.md'])
    copyFileSync(path.join(ROOT, name), path.join(DIST, name));
}

/** The package's own manifest: what is source in the project is built there. */
function packageOf({ exports, dependencies, peerDependencies, ...manifest }: Manifest) {
  const built = Object.entries(exports).map(([name, source]) => {
    const module = source.replace(/^\.\/src\/(.*)\.tsx?$/, './$1');
    const types = { types: `${module}.d.ts` };
    return [name, TYPES_ALONE.includes(name) ? types : { ...types, default: `${module}.js` }] as const;
  });
  const { name, version, private: isPrivate, description, license, type } = manifest;
  return {
    ...{ name, version, private: isPrivate, description, license, type, sideEffects: false },
    // The project brings a Node of its own; a package doesn't. That one has SQLite.
    engines: { node: '>=22.13' },
    exports: Object.fromEntries(built),
    dependencies: Object.fromEntries(Object.entries(dependencies).filter(([name]) => DEPENDENCIES.includes(name))),
    // Of those an app has what it uses.
    peerDependencies: { ...peerDependencies, hono: `^${dependencies['hono']}` },
    peerDependenciesMeta: Object.fromEntries(
      [...Object.keys(peerDependencies), 'hono'].map((peer) => [peer, { optional: true }]),
    ),
  };
}

build();
