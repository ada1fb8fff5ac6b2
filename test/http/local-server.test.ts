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

function makeFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
