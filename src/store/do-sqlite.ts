import { isPromiseLike } from '../core/promise-like.ts';
import type { SqlDatabase, SqlRow, SqlValue } from './sql-database.ts';

/** The part of a Durable Object's storage that is used here. */
interface DurableStorage {
  readonly sql: {
    exec(
      sql: string,
      ...params: SqlValue[]
    ): { toArray(): Record<string, ArrayBuffer | string | number | null>[]; readonly rowsWritten: number };
  };
  transactionSync<T>(body: () => T): T;
}

/**
 * SQLite of a Durable Object. What a method writes is durable before its answer leaves (the output gate).
 *
 * @param onWritten told how many rows a statement has written, indexes and all, as they are billed.
 */
export function durableObjectSqlite(storage: DurableStorage, onWritten?: (rows: number) => void): SqlDatabase {
  return {
    all: (sql, ...params) => {
      const cursor = storage.sql.exec(sql, ...params);
      const rows = cursor.toArray().map(checkRow);
      if (cursor.rowsWritten > 0) onWritten?.(cursor.rowsWritten);
      return rows;
    },
    // Nests by savepoints: an inner transaction that throws takes back itself only.
    transaction: (body) => storage.transactionSync(() => refusePromise(body())),
  };
}

/**
 * What a transaction's body returned, unless that is a promise: the transaction would end at the first `await`, and the
 * rest would be written outside of it.
 */
export function refusePromise<T>(result: T): T {
  if (isPromiseLike(result)) throw new Error('invariant broken: the body of a transaction is synchronous');
  return result;
}

/** No column here is a BLOB. */
function checkRow(row: Record<string, ArrayBuffer | string | number | null>): SqlRow {
  for (const value of Object.values(row)) {
    if (value instanceof ArrayBuffer) throw new Error('invariant broken: a BLOB in a store of texts and numbers');
  }
  return row as SqlRow;
}
