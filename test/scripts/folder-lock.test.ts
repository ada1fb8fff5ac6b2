import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { type FolderLock, lockFolder } from '../../scripts/folder-lock.ts';

const MODULE = path.resolve(import.meta.dirname, '../../scripts/folder-lock.ts');

test('a folder, made if it is missing, is locked by one at a time', () => {
  const folder = path.join(makeFolder(), 'state', 'here');
  const first = locked(folder);
  expect(lockFolder(folder)).toBeUndefined();
  locked(path.join(makeFolder(), 'state', 'here'));
  first.release();
  first.release();
  locked(folder);
});

test('the lock of a process that was killed is none', async () => {
  const folder = makeFolder();
  const script = `
    const { lockFolder } = await import(${JSON.stringify(MODULE)});
    globalThis.lock = lockFolder(${JSON.stringify(folder)});
    console.log('locked');
    setInterval(() => {}, 1000);`;
  const other = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    other.kill('SIGKILL');
  });
  const gone = once(other, 'exit');
  await once(other.stdout, 'data');
  expect(lockFolder(folder)).toBeUndefined();
  other.kill('SIGKILL');
  await gone;
  locked(folder);
});

test('a folder that can not be locked is named', () => {
  const file = path.join(makeFolder(), 'file');
  writeFileSync(file, '');
  expect(() => lockFolder(file)).toThrow(`${file} can't be used: `);
});

/** @throws where somebody else has it. */
function locked(folder: string): FolderLock {
  const lock = lockFolder(folder);
  if (lock === undefined) throw new Error(`${folder} is locked`);
  onTestFinished(() => lock.release());
  return lock;
}

function makeFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
