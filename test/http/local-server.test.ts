import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { startServer } from '../../scripts/local-server.ts';

test('a server that is killed leaves nothing in the temporary folder', async () => {
  const [temporary, persistTo] = [makeFolder(), makeFolder()];
  vi.stubEnv('TMPDIR', temporary);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const server = await startServer({ port: 0, persistTo, secret: 'a-secret-for-tests-of-at-least-32-characters' });
  // Where it keeps them now: else the end would prove nothing.
  expect(readdirSync(temporary)).toHaveLength(1);
  server.kill9();
  await server.exited;
  expect(readdirSync(temporary)).toEqual([]);
});

test('a start that fails lets go of its folders', async () => {
  const [temporary, persistTo] = [makeFolder(), makeFolder()];
  vi.stubEnv('TMPDIR', temporary);
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  // What can't be handed on to the Worker is found only when the folders are there.
  const fails = () => startServer({ port: 0, persistTo, secret: "it's" });
  await expect(fails()).rejects.toThrow('A variable must not contain quotes');
  expect(readdirSync(temporary)).toEqual([]);
  // The same failure, and not that the folder is taken.
  await expect(fails()).rejects.toThrow('A variable must not contain quotes');
});

function makeFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
