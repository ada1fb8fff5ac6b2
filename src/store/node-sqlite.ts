import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { refusePromise } from './do-sqlite.ts';
import type { SqlDatabase, SqlRow } from './sql-database.ts';

/** More than the texts of both stores, which are constants; a bound all the same, should a text ever be made up. */
const MAX_STATEMENTS = 64;

/**
 * SQLite in a file, or in memory (`:memory:`). What is committed to a file is durable when the call returns: write-ahead
 * log, synced at every commit. Made for one process that owns the file.
 *
 * @param isAlone nobody else can open the file from now on, until it is closed or the process ends.
 */
export function nodeSqlite(path: string, { isAlone = false } = {}): SqlDatabase & { close(): void } {
  const db = new DatabaseSync(path);
  try {
    // In this mode the lock that a write takes is kept.
    if (isAlone) db.exec('PRAGMA locking_mode = EXCLUSIVE');
    db.exec('PRAGMA journal_mode = WAL');
    if (isAlone) db.exec('BEGIN IMMEDIATE; COMMIT');
  } catch (error) {
    db.close();
    throw error;
  }
  db.exec('PRAGMA synchronous = FULL');
  const prepare = statementCache(db);
  let depth = 0;

  /** After some failures (disk full, for one) SQLite rolls all back by itself; what followed would commit alone. */
  const checkNotRolledBack = () => {
    if (depth > 0 && !db.isTransaction) throw new Error('the transaction was rolled back by an earlier failure');
  };

  return {
    all: (sql, ...params) => {
      checkNotRolledBack();
      return prepare(sql)
        .all(...params)
        .map(checkRow);
    },
    transaction: (body) => {
      const savepoint = `level_${depth}`;
      checkNotRolledBack();
      db.exec(depth === 0 ? 'BEGIN IMMEDIATE' : `SAVEPOINT ${savepoint}`);
      depth += 1;
      try {
        const result = refusePromise(body());
        db.exec(depth === 1 ? 'COMMIT' : `RELEASE ${savepoint}`);
        return result;
      } catch (error) {
        if (db.isTransaction) {
          db.exec(depth === 1 ? 'ROLLBACK' : `ROLLBACK TO ${savepoint}; RELEASE ${savepoint}`);
        }
        throw error;
      } finally {
        depth -= 1;
      }
    },
    close: () => db.close(),
  };
}

/** Prepares each text once, as long as it is among the last ones used. */
function statementCache(db: DatabaseSync): (sql: string) => StatementSync {
  const statements = new Map<string, StatementSync>();
  return (sql) => {
    const statement = statements.get(sql) ?? prepareOne(db, sql);
    statements.delete(sql);
    statements.set(sql, statement);
    const [oldest] = statements.keys();
    if (statements.size > MAX_STATEMENTS && oldest !== undefined) statements.delete(oldest);
    return statement;
  };
}

/** Of several statements in one text SQLite would prepare the first, and the others would never run. */
function prepareOne(db: DatabaseSync, sql: string): StatementSync {
  const statement = db.prepare(sql);
  if (statement.sourceSQL.trim() !== sql.trim()) throw new Error('invariant broken: more than one SQL statement');
  return statement;
}

/** No column here is a BLOB, and no number is beyond 2^53. */
function checkRow(row: Readonly<Record<string, unknown>>): SqlRow {
  if (!isSqlRow(row)) throw new Error('invariant broken: a store holds texts and numbers only');
  return row;
}

function isSqlRow(row: Readonly<Record<string, unknown>>): row is SqlRow {
  return Object.values(row).every((value) => {
    return typeof value === 'string' || typeof value === 'number' || value === null;
  });
}
