import { readFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const ROOT = path.resolve(import.meta.dirname, '../..');

/** Of `causeway/client` as a browser loads it: minified, gzip at level 9. */
async function kilobytes(external: string[]): Promise<number> {
  const { outputFiles } = await build({
    ...{ entryPoints: ['src/client/index.ts'], absWorkingDir: ROOT, external },
    ...{ bundle: true, minify: true, format: 'esm', platform: 'browser', target: 'es2024', write: false },
  });
  return gzipSync(outputFiles[0]?.contents ?? '', { level: 9 }).byteLength / 1_000;
}

/** Not each line of the client changes the docs. */
const SLACK_KB = 3;

test('[S54] the client is no larger than the docs say, and these say no more than it is', async () => {
  const docs = readFileSync(path.join(ROOT, 'docs/client.md'), 'utf8');
  const [, without, withZod] = /(\d+) kB without zod, (\d+) kB with it/.exec(docs) ?? [];
  const sizes = [
    { measured: await kilobytes(['zod']), stated: Number(without) },
    { measured: await kilobytes([]), stated: Number(withZod) },
  ];
  for (const { measured, stated } of sizes) {
    expect(measured).toBeLessThanOrEqual(stated);
    expect(measured).toBeGreaterThan(stated - SLACK_KB);
  }
});
