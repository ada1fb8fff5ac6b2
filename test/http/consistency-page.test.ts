import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { startServer } from '../../scripts/local-server.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const run = promisify(execFile);

test('the commands of docs/consistency.md print what the page says', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const server = await startServer({ port: 0, persistTo: folder, secret: SECRET });
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const page = readFileSync(path.join(ROOT, 'docs/consistency.md'), 'utf8');
  const lines = page.split('\n').flatMap((line) => (line.startsWith('    ') ? [line.slice(4)] : []));
  const expected = lines.filter((line) => line.startsWith(PRINTS)).map((line) => line.slice(PRINTS.length));
  expect(expected.length).toBeGreaterThan(15);
  const commands = lines.join('\n').replaceAll('http://localhost:8787', server.url);
  // The first of them makes a token by the server's secret.
  const env = { ...process.env, CAUSEWAY_SECRET: SECRET };
  const { stdout, stderr } = await run('bash', ['--norc', '-euc', commands], { cwd: ROOT, env });
  expect(stderr).toBe('');
  expect(stdout.trimEnd().split('\n')).toEqual(expected);
});

const PRINTS = '#> ';
