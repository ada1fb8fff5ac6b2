import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { nodeSqlite } from '../store/node-sqlite.ts';
import { SqlReplicaStore } from '../store/sql-replica-store.ts';
import type { OwnStorage } from './storage.ts';

/** A SQLite file for each node in a folder; what is written is durable when the call returns. For Node alone. */
export function nodeStorage(folder: string): OwnStorage {
  return {
    open: async (name) => {
      mkdirSync(folder, { recursive: true });
      const db = nodeSqlite(join(folder, `${name}.sqlite`));
      return { store: new SqlReplicaStore(db), durable: async () => undefined, close: async () => db.close() };
    },
  };
}
