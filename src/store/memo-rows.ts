import type { Memo } from '../sync/ports.ts';
import { type SqlDatabase, textOf } from './sql-database.ts';

/** What is remembered for a day, as rows of a store: one row each, without an index on their age. */

export const MEMO_TABLE =
  'CREATE TABLE memos (key TEXT PRIMARY KEY, at_ms INTEGER NOT NULL, value TEXT NOT NULL) STRICT, WITHOUT ROWID';

export function readMemo(db: SqlDatabase, key: string): Memo | undefined {
  const row = db.all('SELECT value FROM memos WHERE key = ?', key)[0];
  return row && JSON.parse(textOf(row, 'value'));
}

export function writeMemo(db: SqlDatabase, key: string, memo: Memo): void {
  db.all(
    `INSERT INTO memos (key, at_ms, value) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET at_ms = excluded.at_ms, value = excluded.value`,
    key,
    memo.atMs,
    JSON.stringify(memo),
  );
}

export function forgetMemos(db: SqlDatabase, beforeMs: number): void {
  db.all('DELETE FROM memos WHERE at_ms < ?', beforeMs);
}
