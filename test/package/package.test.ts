import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');
const MODULES = path.join(ROOT, 'node_modules');

describe('[S54] the package, as it is installed somewhere else', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-package-'));
  const run = (cwd: string, ...args: string[]) => execFileSync(process.execPath, args, { cwd, encoding: 'utf8' });

  /** Names as an app would import them: the project's own installed copies stand for what npm would bring. */
  const link = (name: string) => {
    const target = path.join(folder, 'node_modules', name);
    mkdirSync(path.dirname(target), { recursive: true });
    symlinkSync(path.join(MODULES, name), target);
  };

  beforeAll(() => {
    run(ROOT, 'scripts/build.ts');
    execFileSync('npm', ['pack', './dist', '--pack-destination', folder], { cwd: ROOT, stdio: 'ignore' });
    const installed = path.join(folder, 'node_modules/causeway');
    mkdirSync(installed, { recursive: true });
    const tarball = path.join(folder, 'causeway-0.1.0.tgz');
    execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
    const { dependencies } = JSON.parse(readFileSync(path.join(installed, 'package.json'), 'utf8'));
    for (const name of Object.keys(dependencies)) link(name);
    writeFileSync(path.join(folder, 'package.json'), '{ "type": "module" }');
  }, 120_000);

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test('each of its entries is there, with its types, and imports nothing that is not', () => {
    for (const name of ['react', '@tanstack/db']) link(name);
    const { exports } = JSON.parse(readFileSync(path.join(folder, 'node_modules/causeway/package.json'), 'utf8'));
    const entries: [string, { types: string; default?: string }][] = Object.entries(exports);
    expect(entries.map(([name]) => name)).toEqual(
      expect.arrayContaining(['./client', './client/browser', './tanstack-db', './react']),
    );
    for (const [, { types }] of entries)
      expect(existsSync(path.join(folder, 'node_modules/causeway', types))).toBe(true);
    const runnable = entries.filter(([, entry]) => entry.default !== undefined);
    const imports = runnable.map(([name]) => `import 'causeway/${name.slice(2)}';`);
    writeFileSync(path.join(folder, 'entries.js'), imports.join('\n'));
    expect(() => run(folder, 'entries.js')).not.toThrow();
  });

  test('a program in JavaScript writes, ends, and finds what it wrote', () => {
    const program = `
      import { EdgeCloudClient } from 'causeway/client';
      import { nodeStorage } from 'causeway/client/node';
      const client = new EdgeCloudClient({
        nodeId: 'a', cloudEndpoint: 'http://localhost/v1', token: 'none', storage: nodeStorage('./data'), live: false,
        fetch: async () => { throw new Error('there is no cloud here') },
      });
      await client.initialize();
      if (process.argv[2] === 'write') await client.write('note', 'x', { n: 1 });
      console.log(JSON.stringify(await client.read('note', 'x')));
      await client.close();`;
    writeFileSync(path.join(folder, 'program.js'), program);
    run(folder, 'program.js', 'write');
    expect(JSON.parse(run(folder, 'program.js', 'read'))).toMatchObject({ data: { n: 1 }, version: 'a:1' });
  });

  test('a program in TypeScript gets the types, also where declarations are checked too', () => {
    const program = `
      import { EdgeCloudClient, type Policies } from 'causeway/client';
      import { nodeStorage } from 'causeway/client/node';
      type Notes = Policies<{ note: { text: string } }>;
      const storage = nodeStorage('./data');
      const client = new EdgeCloudClient<Notes>({ nodeId: 'a', cloudEndpoint: 'http://localhost/v1', token: '', storage });
      export const text: string | undefined = (await client.read('note', 'x'))?.data.text;
      // @ts-expect-error: a text is no number
      export const wrong: number | undefined = (await client.read('note', 'x'))?.data.text;
      // @ts-expect-error: there is no such type
      await client.read('nota', 'x');`;
    writeFileSync(path.join(folder, 'program.ts'), program);
    check('program.ts', ['node'], false);
  });

  test('the types of the API are there, for whoever has Hono', () => {
    for (const name of ['hono', '@cloudflare/workers-types']) link(name);
    const program = `
      import { hc } from 'hono/client';
      import type { AppType } from 'causeway/api';
      const { v1 } = hc<AppType>('http://localhost');
      const status = await (await v1.edge[':node'].status.$get({ param: { node: 'a' } })).json();
      export const pending: number = status.queue.pending;
      // @ts-expect-error: a number is no text
      export const wrong: string = status.queue.pending;`;
    writeFileSync(path.join(folder, 'api.ts'), program);
    check('api.ts', ['node'], true);
  });

  function check(file: string, types: readonly string[], skipLibCheck: boolean): void {
    const compilerOptions = {
      ...{ target: 'es2024', module: 'nodenext', strict: true, noEmit: true, skipLibCheck },
      ...{ types, typeRoots: [path.join(MODULES, '@types')] },
    };
    writeFileSync(path.join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: [file] }));
    const tsc = path.join(MODULES, 'typescript/bin/tsc');
    expect(() => run(folder, tsc, '-p', '.')).not.toThrow();
  }
});
