import { forceCloseDatabase } from 'fake-indexeddb';
import 'fake-indexeddb/auto';
import { openDB } from 'idb';
import { expect, onTestFinished, test, vi } from 'vitest';
import { IndexedDbStorage } from '../../src/store/indexeddb.ts';
import type { ReplicaStore } from '../../src/sync/ports.ts';
import { queueModel } from '../contract/queue-model.ts';
import { entity, idOf, keyOf, replicaStoreContract, typeOf, type WithStore } from '../contract/replica-store.ts';

let databases = 0;

function freshName(): string {
  databases += 1;
  return `store-${databases}`;
}

const inDatabase: WithStore<ReplicaStore> = async (check) => {
  const name = freshName();
  let opened = await IndexedDbStorage.open(name);
  const reopen = async () => {
    await opened.close();
    opened = await IndexedDbStorage.open(name);
    return opened.store;
  };
  await check({ store: opened.store, reopen });
  await opened.close();
  indexedDB.deleteDatabase(name);
};

replicaStoreContract('IndexedDB', inDatabase);
queueModel('IndexedDB', inDatabase, 25);

const note = (id: string) => entity('note', id, { id });
const notes = ({ store }: IndexedDbStorage) => store.listRecords(typeOf('note'), '', 100).map(idOf);

async function opened(name: string, told?: Parameters<typeof IndexedDbStorage.open>[1]) {
  const storage = await IndexedDbStorage.open(name, told);
  onTestFinished(() => storage.close());
  return storage;
}

/** Sees each transaction that writes, and what was asked of it. */
function watchWrites(seen: (transaction: IDBTransaction, options: IDBTransactionOptions | undefined) => void) {
  const { transaction } = IDBDatabase.prototype;
  const spy = vi.spyOn(IDBDatabase.prototype, 'transaction').mockImplementation(function (this: IDBDatabase, ...args) {
    const made = transaction.apply(this, args);
    if (args[1] === 'readwrite') seen(made, args[2]);
    return made;
  });
  onTestFinished(() => spy.mockRestore());
  return spy;
}

/** From now on the disk is full, as a browser tells it: the transaction ends, with that as its reason. */
function fillDisk() {
  return watchWrites((transaction) => {
    queueMicrotask(() => Reflect.apply(Reflect.get(transaction, '_abort'), transaction, ['QuotaExceededError']));
  });
}

test('[S46] what was written is durable when it is said to be, and not before', async () => {
  const name = freshName();
  const commits: number[] = [];
  const storage = await opened(name, { onDurable: (commit) => commits.push(commit) });
  storage.store.writeRecord(note('a'));
  storage.store.transaction(() => {
    storage.store.writeRecord(note('b'));
    storage.store.removeRecord(keyOf('note', 'a'));
  });
  expect([storage.commit, storage.durableCommit, commits]).toEqual([2, 0, []]);
  await storage.durable();
  expect([storage.commit, storage.durableCommit, commits]).toEqual([2, 2, [2]]);
  // The first one is not closed: as in a tab that dies now.
  const other = await opened(name);
  expect([notes(other), other.commit, other.durableCommit]).toEqual([['b'], 2, 2]);
});

test('[S46] every commit is strict: on disk, and not in a cache of the system', async () => {
  const storage = await opened(freshName());
  const asked: unknown[] = [];
  watchWrites((_, options) => asked.push(options));
  storage.store.writeRecord(note('a'));
  await storage.durable();
  storage.store.writeRecord(note('b'));
  await storage.durable();
  expect(asked).toEqual([{ durability: 'strict' }, { durability: 'strict' }]);
});

test('[S46] a full disk is told as such, takes nothing, and ends what is open; what was durable before is there', async () => {
  const name = freshName();
  const failed: string[] = [];
  const storage = await opened(name, { onFailed: ({ code }) => failed.push(code) });
  storage.store.writeRecord(note('before'));
  await storage.durable();
  const disk = fillDisk();
  storage.store.transaction(() => {
    storage.store.writeRecord(note('lost'));
    storage.store.writeRecord(note('lost-too'));
  });
  await expect(storage.durable()).rejects.toMatchObject({ code: 'storage_full' });
  disk.mockRestore();
  expect(failed).toEqual(['storage_full']);
  expect(() => storage.store.writeRecord(note('later'))).toThrow('no more space');
  await expect(storage.durable()).rejects.toMatchObject({ code: 'storage_full' });
  await storage.close();
  expect(notes(await opened(name))).toEqual(['before']);
});

test('[S46] where there is no IndexedDB, or it refuses, the storage says that it is unavailable', async () => {
  vi.stubGlobal('indexedDB', undefined);
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  await expect(IndexedDbStorage.open('none')).rejects.toMatchObject({ code: 'storage_unavailable' });
  const refusing = new IDBFactory();
  vi.spyOn(refusing, 'open').mockImplementation(() => {
    throw new DOMException('not in private mode', 'SecurityError');
  });
  vi.stubGlobal('indexedDB', refusing);
  await expect(IndexedDbStorage.open('none')).rejects.toMatchObject({
    code: 'storage_unavailable',
    message: expect.stringContaining('not in private mode'),
  });
});

test('[S46] who deletes the database ends who has it open, and waits for nobody', async () => {
  const name = freshName();
  const failed: string[] = [];
  const storage = await opened(name, { onFailed: ({ code }) => failed.push(code) });
  await new Promise((resolve) => {
    indexedDB.deleteDatabase(name).onsuccess = resolve;
  });
  expect(failed).toEqual(['storage_unavailable']);
  expect(() => storage.store.writeRecord(note('later'))).toThrow('another version');
});

test('[S46] a database of a newer version is not touched', async () => {
  const name = freshName();
  const newer = await openDB(name, 2);
  newer.close();
  await expect(IndexedDbStorage.open(name)).rejects.toMatchObject({ code: 'storage_unavailable' });
});

test('[S46] who is blocked by an older version that stays open is told, and does not wait', async () => {
  const name = freshName();
  // As one that takes no notice.
  const asked = indexedDB.open(name, 1);
  const older = await new Promise<IDBDatabase>((resolve) => {
    asked.onsuccess = () => resolve(asked.result);
  });
  onTestFinished(() => older.close());
  const upgrade = vi.spyOn(IDBFactory.prototype, 'open').mockImplementation(function (this: IDBFactory, given) {
    upgrade.mockRestore();
    return this.open(given, 2);
  });
  await expect(IndexedDbStorage.open(name)).rejects.toMatchObject({
    code: 'storage_unavailable',
    message: expect.stringContaining('an older version'),
  });
});

test('[S46] a database that the browser closes ends what is open', async () => {
  const failed: string[] = [];
  const databases: IDBDatabase[] = [];
  const seen = watchWrites(({ db }) => databases.push(db));
  const storage = await opened(freshName(), { onFailed: ({ message }) => failed.push(message) });
  storage.store.writeRecord(note('a'));
  await storage.durable();
  seen.mockRestore();
  forceCloseDatabase(databases[0] as never);
  await vi.waitUntil(() => failed.length > 0);
  expect(failed).toEqual(['the browser has closed the storage']);
  await expect(storage.durable()).rejects.toMatchObject({ code: 'storage_unavailable' });
});
