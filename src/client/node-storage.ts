import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { SyncError } from '../protocol/errors.ts';
import { nodeSqlite } from '../store/node-sqlite.ts';
import { SqlReplicaStore } from '../store/sql-replica-store.ts';
import type { OwnStorage } from './storage.ts';

/** Two that write under one name would give out the same change ids. @throws SyncError `storage_unavailable` */
function openAlone(file: string) {
  try {
    return nodeSqlite(file, { isAlone: true });
  } catch (error) {
    if (!(error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY)) throw error;
    throw new SyncError('storage_unavailable', `another client, of this program or another one, has ${file} open`);
  }
}

/** https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

/** A SQLite file for each node in a folder; what is written is durable when the call returns. One client at a time has it open. For Node alone. */
export function nodeStorage(folder: string): OwnStorage {
  return {
    open: async (name) => {
      mkdirSync(folder, { recursive: true });
      const file = join(folder, `${name}.sqlite`);
      const db = openAlone(file);
      return { store: new SqlReplicaStore(db), durable: async () => undefined, close: async () => db.close() };
    },
  };
}
