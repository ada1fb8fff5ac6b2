import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { nodeSqlite } from '../../src/store/node-sqlite.ts';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import type { SqlDatabase } from '../../src/store/sql-database.ts';
import { SqlReplicaStore } from '../../src/store/sql-replica-store.ts';
import { cloudStoreContract } from '../contract/cloud-store.ts';
import { queueModel } from '../contract/queue-model.ts';
import { replicaStoreContract, type WithStore } from '../contract/replica-store.ts';

const withReplicaStore = inFile((db) => new SqlReplicaStore(db));
replicaStoreContract('SQLite of Node', withReplicaStore);
queueModel('SQLite of Node', withReplicaStore, 25);
cloudStoreContract(
  'SQLite of Node',
  inFile((db) => new SqlCloudStore(db)),
);

describe('nodeSqlite', () => {
  test('a copy of the files, taken in mid-transaction, has what was committed and no more', () => {
    inDirectory((directory) => {
      inDirectory((elsewhere) => {
        const db = nodeSqlite(path.join(directory, 'a.db'));
        db.all('CREATE TABLE t (n INTEGER) STRICT');
        db.transaction(() => db.all('INSERT INTO t VALUES (1)'));
        db.transaction(() => {
          db.all('INSERT INTO t VALUES (2)');
          db.transaction(() => db.all('INSERT INTO t VALUES (3)'));
          cpSync(directory, elsewhere, { recursive: true });
        });
        db.close();
        const copy = nodeSqlite(path.join(elsewhere, 'a.db'));
        expect(copy.all('SELECT n FROM t')).toEqual([{ n: 1 }]);
        copy.close();
      });
    });
  });

  test('a file has a write-ahead log that is synced at every commit', () => {
    inDirectory((directory) => {
      const db = nodeSqlite(path.join(directory, 'a.db'));
      expect(db.all('PRAGMA journal_mode')).toEqual([{ journal_mode: 'wal' }]);
      expect(db.all('PRAGMA synchronous')).toEqual([{ synchronous: 2 }]);
      db.close();
    });
  });

  test('more texts than are kept prepared still run, each as itself', () => {
    const db = nodeSqlite(':memory:');
    for (const round of [1, 2]) {
      for (let n = 0; n < 200; n += 1) expect(db.all(`SELECT ${n} AS n, ? AS round`, round)).toEqual([{ n, round }]);
    }
    db.close();
  });

  test('a statement that failed runs again, with its new parameters only', () => {
    const db = nodeSqlite(':memory:');
    db.all('CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT');
    const insert = 'INSERT INTO t VALUES (?, ?)';
    db.all(insert, 1, 'a');
    expect(() => db.all(insert, 1, 'b')).toThrow(/UNIQUE/);
    db.all(insert, 2, 'c');
    expect(() => db.all(insert, 3)).toThrow(/NOT NULL/);
    expect(db.all('SELECT * FROM t ORDER BY n')).toEqual([
      { n: 1, text: 'a' },
      { n: 2, text: 'c' },
    ]);
    db.close();
  });

  test('a text of several statements is refused rather than run in part', () => {
    const db = nodeSqlite(':memory:');
    expect(() => db.all('CREATE TABLE a (n) ; CREATE TABLE b (n)')).toThrow(/more than one/);
    expect(db.all('SELECT name FROM sqlite_schema')).toEqual([]);
    db.close();
  });

  test('a BLOB is refused', () => {
    const db = nodeSqlite(':memory:');
    expect(() => db.all("SELECT x'00' AS blob")).toThrow(/texts and numbers/);
    db.close();
  });

  test('a transaction that SQLite rolled back by itself can not go on writing', () => {
    const db = nodeSqlite(':memory:');
    db.all('CREATE TABLE t (n INTEGER PRIMARY KEY) STRICT');
    const body = () => {
      db.all('INSERT INTO t VALUES (1)');
      expect(() => db.transaction(() => db.all('INSERT OR ROLLBACK INTO t VALUES (1)'))).toThrow(/UNIQUE/);
      db.all('INSERT INTO t VALUES (2)');
    };
    expect(() => db.transaction(body)).toThrow(/rolled back by an earlier failure/);
    expect(db.all('SELECT * FROM t')).toEqual([]);
    db.transaction(() => db.all('INSERT INTO t VALUES (3)'));
    expect(db.all('SELECT * FROM t')).toEqual([{ n: 3 }]);
    db.close();
  });
});

function inFile<Store>(open: (db: SqlDatabase) => Store): WithStore<Store> {
  return async (check) => {
    const directory = mkdtempSync(path.join(tmpdir(), 'causeway-store-'));
    const file = path.join(directory, 'store.db');
    let db = nodeSqlite(file);
    const reopen = () => {
      db.close();
      db = nodeSqlite(file);
      return open(db);
    };
    try {
      await check({ store: open(db), reopen });
    } finally {
      db.close();
      rmSync(directory, { recursive: true });
    }
  };
}

function inDirectory(body: (directory: string) => void): void {
  const directory = mkdtempSync(path.join(tmpdir(), 'causeway-store-'));
  try {
    body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}
