import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { nodeStorage } from '../../src/client/node-storage.ts';
import { memoryStorage, type OwnStorage } from '../../src/client/storage.ts';

function inFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-client-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

test('[I1] [S42] of one node one client at a time has the storage open, also where another program asks for it', async () => {
  const folder = inFolder();
  const memory = memoryStorage();
  // Two of them for one folder: as in two programs.
  const pairs: [OwnStorage, OwnStorage][] = [
    [nodeStorage(folder), nodeStorage(folder)],
    [memory, memory],
  ];
  for (const [one, other] of pairs) {
    const first = await one.open('n');
    await expect(other.open('n')).rejects.toMatchObject({ code: 'storage_unavailable' });
    const another = await other.open('m');
    await first.close();
    const again = await other.open('n');
    for (const storage of [another, again]) await storage.close();
  }
});
