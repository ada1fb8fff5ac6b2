import { describe, expect, test } from 'vitest';
import { checkImports } from '../../scripts/check-imports.ts';

/** The messages for a tree of planted files. */
function messages(files: Record<string, string>): string[] {
  return checkImports(new Map(Object.entries(files))).map(({ message }) => message);
}

/** The messages for `text` standing in a layer, beside one file of each other layer. */
function messagesIn(layer: string, text: string): string[] {
  return messages({ [layer === 'worker' || layer === 'policies' ? `src/${layer}.ts` : `src/${layer}/here.ts`]: text });
}

const layerImport = (layer: string) =>
  layer === 'worker' || layer === 'policies' ? `import '../${layer}.ts';` : `import { x } from '../${layer}/there.ts';`;

describe('layers', () => {
  const allowed: Record<string, string[]> = {
    core: ['core'],
    protocol: ['core', 'protocol'],
    sync: ['core', 'protocol', 'sync'],
    store: ['core', 'protocol', 'sync', 'store'],
    transport: ['core', 'protocol', 'sync', 'transport'],
    platform: ['core', 'protocol', 'sync', 'platform'],
    edge: ['core', 'protocol', 'sync', 'store', 'transport', 'platform', 'edge', 'policies'],
    cloud: ['core', 'protocol', 'sync', 'store', 'transport', 'platform', 'cloud', 'policies'],
    client: ['core', 'protocol', 'sync', 'store', 'transport', 'platform', 'client'],
    api: ['core', 'protocol', 'sync', 'store', 'transport', 'edge', 'cloud', 'client', 'api', 'policies'],
  };
  const targets = [...Object.keys(allowed), 'policies', 'worker'];

  test.each(Object.entries(allowed))('%s imports %j and no other layer', (layer, expected) => {
    expect(targets.filter((target) => messagesIn(layer, layerImport(target)).length === 0)).toEqual(
      targets.filter((target) => expected.includes(target)),
    );
  });

  test('the composition root imports everything', () => {
    const text = ['api/a', 'edge/a', 'cloud/a', 'policies'].map((name) => `import './${name}.ts';`).join('\n');
    expect(messagesIn('worker', text)).toEqual([]);
  });

  test('policies.ts imports core and zod only', () => {
    expect(messagesIn('policies', "import * as z from 'zod'; import { x } from './core/policy.ts';")).toEqual([]);
    expect(messagesIn('policies', "import { x } from './sync/port.ts';")).toEqual([
      'policies must not import sync (src/sync/port.ts)',
    ]);
    expect(messagesIn('policies', "import { x } from 'hono';")).toEqual(['policies must not import hono']);
  });

  test('a file outside of the layers, and an import of one, are refused', () => {
    expect(messages({ 'src/utils.ts': '' })).toEqual(['belongs to no layer']);
    expect(messages({ 'src/helpers/a.ts': '' })).toEqual(['belongs to no layer']);
    expect(messagesIn('api', "import { x } from '../../test/fake.ts';")).toEqual([
      'api imports test/fake.ts, which belongs to no layer',
    ]);
  });
});

describe('packages', () => {
  test('core imports its two libraries only', () => {
    expect(messagesIn('core', "import a from 'canonicalize'; import { b } from '@noble/hashes/sha2.js';")).toEqual([]);
    expect(messagesIn('core', "import * as z from 'zod';")).toEqual(['core must not import zod']);
  });

  test.each(['core', 'protocol', 'sync', 'store', 'transport', 'client', 'api'])('%s has no cloudflare:*', (layer) => {
    expect(messagesIn(layer, "import { DurableObject } from 'cloudflare:workers';")).toEqual([
      `${layer} must not import cloudflare:workers`,
    ]);
  });

  test.each(['edge', 'cloud', 'worker'])('%s may import cloudflare:*', (layer) => {
    expect(messagesIn(layer, "import { DurableObject } from 'cloudflare:workers';")).toEqual([]);
  });

  test('the engine imports nothing of Node', () => {
    expect(messagesIn('sync', "import { readFileSync } from 'node:fs';")).toEqual(['sync must not import node:fs']);
    expect(messagesIn('store', "import { DatabaseSync } from 'node:sqlite';")).toEqual([]);
  });
});

describe('purity', () => {
  const effects = {
    'Date.now': 'Date.now()',
    'new Date()': 'new Date()',
    'Math.random': 'Math.random()',
    crypto: 'crypto.randomUUID()',
    fetch: "fetch('http://x')",
    setTimeout: 'setTimeout(f, 1)',
    setInterval: 'setInterval(f, 1)',
    console: 'console.log(1)',
    performance: 'performance.now()',
    globalThis: 'globalThis.name',
  };

  test.each(Object.entries(effects))('%s is refused in core, protocol and sync', (name, code) => {
    for (const layer of ['core', 'protocol', 'sync']) {
      expect(messagesIn(layer, `export const f = () => ${code};`)).toEqual([`${layer} is pure and uses ${name}`]);
    }
    expect(messagesIn('store', `export const f = () => ${code};`)).toEqual([]);
  });

  test('comments, strings, properties and given dates are no effects', () => {
    const text = [
      '// fetch, Date.now()',
      '/* console.log(1) */',
      "export const a = 'Math.random() and \\' fetch()';",
      `export const b = \`fetch \${a} crypto\`;`,
      'export const c = /["\'`]fetch(/;',
      'export const d = (port: { fetch: () => void }) => port.fetch();',
      'export const e = (ms: number) => new Date(ms);',
    ].join('\n');
    expect(messagesIn('core', text)).toEqual([]);
  });

  test('code inside of a template is seen', () => {
    expect(messagesIn('core', `export const a = \`at \${{ b: Date.now() }.b} o\`;`)).toEqual([
      'core is pure and uses Date.now',
    ]);
  });
});

describe('forms of import', () => {
  test.each([
    "import { x } from '../api/a.ts';",
    "import type { X } from '../api/a.ts';",
    'import {\n  type X,\n} from "../api/a.ts";',
    "import x, * as y from '../api/a.ts';",
    "import '../api/a.ts';",
    "export { x } from '../api/a.ts';",
    "export * from '../api/a.ts';",
    "export type X = import('../api/a.ts').X;",
    "export const x = () => import('../api/a.ts');",
  ])('%s is found', (text) => {
    expect(messagesIn('core', text)).toEqual(['core must not import api (src/api/a.ts)']);
  });

  test('a computed import is refused, one in a comment or string is none', () => {
    expect(messagesIn('core', 'export const x = (y: string) => import(y);')).toEqual([
      'imports a path that is computed',
    ]);
    expect(messagesIn('core', `// import '../api/a.ts';\nexport const x = "import '../api/a.ts'";`)).toEqual([]);
  });

  test('the line of the import is told', () => {
    const found = checkImports(new Map([['src/core/a.ts', "/*\n*/\nimport '../api/a.ts';"]]));
    expect(found[0]).toMatchObject({ file: 'src/core/a.ts', line: 3 });
  });
});

describe('cycles', () => {
  test('files that import each other in a circle are refused, types too', () => {
    expect(
      messages({
        'src/core/a.ts': "import { b } from './b.ts';",
        'src/core/b.ts': "import type { C } from './c.ts';",
        'src/core/c.ts': "export { a } from './a.ts';",
      }),
    ).toEqual(['import cycle: src/core/a.ts -> src/core/b.ts -> src/core/c.ts -> src/core/a.ts']);
  });

  test('a diamond is no circle', () => {
    expect(
      messages({
        'src/core/a.ts': "import './b.ts'; import './c.ts';",
        'src/core/b.ts': "import './d.ts';",
        'src/core/c.ts': "import './d.ts';",
        'src/core/d.ts': '',
      }),
    ).toEqual([]);
  });
});
