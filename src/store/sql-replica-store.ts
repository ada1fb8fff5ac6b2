import { dotOf } from '../core/change.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityId, type EntityKey, type EntityType, entityKey, splitKey } from '../core/ids.ts';
import type { Memo, QueuedChange, ReplicaMeta, ReplicaStore, StagedPage } from '../sync/ports.ts';
import { addMarks, ENTITY_COLUMNS, ENTITY_TABLE, entityFromRow, entityToRow, upsertEntity } from './entity-rows.ts';
import { forgetMemos, MEMO_TABLE, readMemo, writeMemo } from './memo-rows.ts';
import { applySchema, numberOf, type SqlDatabase, textOf } from './sql-database.ts';

/**
 * A replica in SQLite. Rows written: a local write 1, in a row that is used again after a day; a confirmed entity 1; an
 * exchange 1 for all that is in `meta`.
 */
export class SqlReplicaStore implements ReplicaStore {
  readonly #db: SqlDatabase;

  constructor(db: SqlDatabase) {
    this.#db = db;
    applySchema(db, SCHEMA);
  }

  transaction<T>(body: () => T): T {
    return this.#db.transaction(body);
  }

  readMemo(key: string): Memo | undefined {
    return readMemo(this.#db, key);
  }

  writeMemo(key: string, memo: Memo): void {
    writeMemo(this.#db, key, memo);
  }

  forgetMemos(beforeMs: number): void {
    forgetMemos(this.#db, beforeMs);
  }

  readMeta(): ReplicaMeta | undefined {
    const row = this.#db.all('SELECT value FROM meta WHERE id = 1')[0];
    return row && JSON.parse(textOf(row, 'value'));
  }

  writeMeta(meta: ReplicaMeta): void {
    this.#db.all(
      'INSERT INTO meta (id, value) VALUES (1, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      JSON.stringify(meta),
    );
  }

  readRecord(key: EntityKey): EntityVersion | undefined {
    const { entityType, entityId } = splitKey(key);
    const sql = `SELECT ${ENTITY_COLUMNS} FROM records WHERE entity_type = ? AND entity_id = ?`;
    const row = this.#db.all(sql, entityType, entityId)[0];
    return row && entityFromRow(row);
  }

  listRecords(type: EntityType, after: string, limit: number): EntityVersion[] {
    const sql = `SELECT ${ENTITY_COLUMNS} FROM records
      WHERE entity_type = ? AND entity_id > ? ORDER BY entity_id LIMIT ?`;
    return this.#db.all(sql, type, after, limit).map(entityFromRow);
  }

  recordKeys(): EntityKey[] {
    return this.#db.all('SELECT entity_type, entity_id FROM records').map((row) => {
      return entityKey({
        entityType: textOf(row, 'entity_type') as EntityType,
        entityId: textOf(row, 'entity_id') as EntityId,
      });
    });
  }

  countRecords(): number {
    return Number(this.#db.all('SELECT count(*) AS count FROM records')[0]?.['count'] ?? 0);
  }

  writeRecord(record: EntityVersion): void {
    this.#db.all(upsertEntity('records'), ...entityToRow(record));
  }

  removeRecord(key: EntityKey): void {
    const { entityType, entityId } = splitKey(key);
    this.#db.all('DELETE FROM records WHERE entity_type = ? AND entity_id = ?', entityType, entityId);
  }

  readQueue(settledUpTo: number): QueuedChange[] {
    const sql = 'SELECT value FROM queued WHERE counter > ? OR dead = 1';
    const rows = this.#db.all(sql, settledUpTo).map((row): QueuedChange => JSON.parse(textOf(row, 'value')));
    return rows.sort((a, b) => a.order - b.order);
  }

  writeQueued(queued: QueuedChange): void {
    this.#db.all(
      `INSERT INTO queued (slot, counter, dead, value) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET
         counter = excluded.counter, dead = excluded.dead, value = excluded.value`,
      queued.slot,
      dotOf(queued.change).counter,
      queued.error === null ? 0 : 1,
      JSON.stringify(queued),
    );
  }

  removeQueued(slot: number): void {
    this.#db.all('DELETE FROM queued WHERE slot = ?', slot);
  }

  settledSlots(settledUpTo: number, after: number, limit: number): number[] {
    const sql = 'SELECT slot FROM queued WHERE slot > ? AND counter <= ? AND dead = 0 ORDER BY slot LIMIT ?';
    return this.#db.all(sql, after, settledUpTo, limit).map((row) => numberOf(row, 'slot'));
  }

  lastSlot(): number {
    return Number(this.#db.all('SELECT max(slot) AS slot FROM queued')[0]?.['slot'] ?? 0);
  }

  *readStaged(): Generator<StagedPage> {
    for (let index = 0; ; index += 1) {
      const row = this.#db.all('SELECT value FROM staged WHERE page = ?', index)[0];
      if (row === undefined) return;
      yield JSON.parse(textOf(row, 'value'));
    }
  }

  writeStaged(index: number, page: StagedPage): void {
    this.#db.all('INSERT INTO staged (page, value) VALUES (?, ?)', index, JSON.stringify(page));
  }

  clearStaged(): void {
    this.#db.all('DELETE FROM staged');
  }
}

const SCHEMA = [
  'CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL) STRICT',
  `CREATE TABLE records ${ENTITY_TABLE}`,
  'CREATE TABLE queue (counter INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT',
  'CREATE TABLE staged (page INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT',
  addMarks('records'),
  // Rows that are used again need a key of their own; what waits in a queue of before moves over.
  `CREATE TABLE queued (
    slot INTEGER PRIMARY KEY,
    counter INTEGER NOT NULL,
    dead INTEGER NOT NULL,
    value TEXT NOT NULL
  ) STRICT`,
  `INSERT INTO queued (slot, counter, dead, value)
   SELECT counter, counter, value ->> '$.error' IS NOT NULL, json_set(value, '$.slot', counter, '$.order', counter)
   FROM queue`,
  'DROP TABLE queue',
  "UPDATE meta SET value = json_set(value, '$.settled', json('{\"upTo\":0,\"extra\":[]}'), '$.settledAt', json('[]'))",
  MEMO_TABLE,
];
