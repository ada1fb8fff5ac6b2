/** A value that SQLite takes and gives here; texts hold the rest. */
export type SqlValue = string | number | null;
export type SqlRow = Readonly<Record<string, SqlValue>>;

/** The little of a synchronous SQLite that the stores need; one SQL text serves all engines. */
export interface SqlDatabase {
  /** Runs one statement with `?` parameters, and returns its rows. */
  all(sql: string, ...params: SqlValue[]): SqlRow[];
  /** Nests: an inner transaction is part of the outer one. Rolls back, and throws on, where `body` throws. */
  transaction<T>(body: () => T): T;
}

/** Brings a database to the newest of the given schema steps: each runs once, in order, whole or not at all. */
export function applySchema(db: SqlDatabase, steps: readonly string[]): void {
  db.transaction(() => {
    db.all('CREATE TABLE IF NOT EXISTS schema_steps (step INTEGER PRIMARY KEY) STRICT');
    const done = Number(db.all('SELECT coalesce(max(step), 0) AS step FROM schema_steps')[0]?.['step'] ?? 0);
    if (done > steps.length) throw new Error('the database was written by a newer version of this program');
    steps.slice(done).forEach((sql, index) => {
      db.all(sql);
      db.all('INSERT INTO schema_steps (step) VALUES (?)', done + index + 1);
    });
  });
}

/** A column that the schema says is a text. */
export function textOf(row: SqlRow, column: string): string {
  const value = row[column];
  if (typeof value !== 'string') throw new Error(`invariant broken: column ${column} is no text`);
  return value;
}

/** A column that the schema says is a number. */
export function numberOf(row: SqlRow, column: string): number {
  const value = row[column];
  if (typeof value !== 'number') throw new Error(`invariant broken: column ${column} is no number`);
  return value;
}
