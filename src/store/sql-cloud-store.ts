import type { EntityVersion } from '../core/entity.ts';
import { type EntityKey, type NodeId, splitKey, toNodeId } from '../core/ids.ts';
import type { Refusal } from '../protocol/record.ts';
import type { CloudMeta, CloudStore, ConflictFilter, ConflictRecord, Memo, NodeRecord } from '../sync/ports.ts';
import { addMarks, ENTITY_COLUMNS, ENTITY_TABLE, entityFromRow, entityToRow, upsertEntity } from './entity-rows.ts';
import { forgetMemos, MEMO_TABLE, readMemo, writeMemo } from './memo-rows.ts';
import { applySchema, numberOf, type SqlDatabase, type SqlValue, textOf } from './sql-database.ts';

/**
 * The cloud in SQLite. Rows written: a change 2 (the entity and its place in the feed), an exchange 2 (the node and
 * `meta`), a conflict 2 (itself and its place in its feed; 3 while it is open), a refusal 1.
 */
export class SqlCloudStore implements CloudStore {
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

  readMeta(): CloudMeta | undefined {
    return this.#readJson('SELECT value FROM meta WHERE id = ?', 1);
  }

  writeMeta(meta: CloudMeta): void {
    this.#db.all(
      'INSERT INTO meta (id, value) VALUES (1, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      JSON.stringify(meta),
    );
  }

  readEntity(key: EntityKey): EntityVersion | undefined {
    const { entityType, entityId } = splitKey(key);
    const sql = `SELECT ${ENTITY_COLUMNS} FROM entities WHERE entity_type = ? AND entity_id = ?`;
    const row = this.#db.all(sql, entityType, entityId)[0];
    return row && entityFromRow(row);
  }

  writeEntity(entity: EntityVersion): void {
    this.#db.all(upsertEntity('entities'), ...entityToRow(entity));
  }

  readAfter(seq: number, limit: number): EntityVersion[] {
    const sql = `SELECT ${ENTITY_COLUMNS} FROM entities WHERE seq > ? ORDER BY seq LIMIT ?`;
    return this.#db.all(sql, seq, limit).map(entityFromRow);
  }

  readNode(nodeId: NodeId): NodeRecord | undefined {
    return this.#readJson('SELECT value FROM nodes WHERE node_id = ?', nodeId);
  }

  writeNode(node: NodeRecord): void {
    this.#db.all(
      'INSERT INTO nodes (node_id, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value',
      node.nodeId,
      JSON.stringify(node),
    );
  }

  listNodeIds(after: string, limit: number): NodeId[] {
    const sql = 'SELECT node_id FROM nodes WHERE node_id > ? ORDER BY node_id LIMIT ?';
    return this.#db.all(sql, after, limit).flatMap((row) => toNodeId(textOf(row, 'node_id')) ?? []);
  }

  readRefusal(changeId: string): Refusal | undefined {
    return this.#readJson('SELECT value FROM refusals WHERE change_id = ?', changeId);
  }

  writeRefusal(changeId: string, refusal: Refusal): void {
    this.#db.all(
      'INSERT INTO refusals (change_id, value) VALUES (?, ?) ON CONFLICT DO NOTHING',
      changeId,
      JSON.stringify(refusal),
    );
  }

  readConflict(id: string): ConflictRecord | undefined {
    return this.#readJson('SELECT value FROM conflicts WHERE id = ?', id);
  }

  writeConflict(conflict: ConflictRecord): void {
    this.#db.all(
      `INSERT INTO conflicts (id, revision, status, entity_type, value) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET
         revision = excluded.revision, status = excluded.status, entity_type = excluded.entity_type,
         value = excluded.value`,
      conflict.id,
      conflict.revision,
      conflict.status,
      conflict.entityType,
      JSON.stringify(conflict),
    );
  }

  readConflictsAfter(revision: number, limit: number): ConflictRecord[] {
    return this.#listJson('SELECT value FROM conflicts WHERE revision > ? ORDER BY revision LIMIT ?', revision, limit);
  }

  listConflicts({ status, entityTypes, after, limit }: ConflictFilter): ConflictRecord[] {
    const types = entityTypes === undefined ? null : JSON.stringify(entityTypes);
    return this.#listJson(
      `SELECT value FROM conflicts ${CONFLICTS_OF[status]} id > ?
         AND (? IS NULL OR entity_type IN (SELECT value FROM json_each(?)))
       ORDER BY id LIMIT ?`,
      after,
      types,
      types,
      limit,
    );
  }

  countOpenConflicts(): number {
    const [row = {}] = this.#db.all(`SELECT count(*) AS conflicts FROM conflicts ${CONFLICTS_OF.open} TRUE`);
    return numberOf(row, 'conflicts');
  }

  #readJson<T>(sql: string, ...params: SqlValue[]): T | undefined {
    return this.#listJson<T>(sql, ...params)[0];
  }

  #listJson<T>(sql: string, ...params: SqlValue[]): T[] {
    return this.#db.all(sql, ...params).map((row) => JSON.parse(textOf(row, 'value')));
  }
}

/** How each status is found. The open ones are few among many, and have an index of their own. */
const CONFLICTS_OF: Readonly<Record<ConflictFilter['status'], string>> = {
  open: "WHERE status = 'open' AND",
  resolved: "WHERE status = 'resolved' AND",
  all: 'WHERE',
};

/** Only ever appended to: a database has run some of it. */
const SCHEMA = [
  'CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL) STRICT',
  `CREATE TABLE entities ${ENTITY_TABLE}`,
  'CREATE UNIQUE INDEX feed ON entities (seq)',
  'CREATE TABLE nodes (node_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
  'CREATE TABLE refusals (change_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
  'CREATE TABLE conflicts (id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
  addMarks('entities'),
  // Conflicts get a feed and columns to filter by. Those that are there were all decided by the policy, at once.
  'ALTER TABLE conflicts RENAME TO conflicts_by_id',
  `CREATE TABLE conflicts (
    id TEXT PRIMARY KEY,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL,
    entity_type TEXT NOT NULL,
    value TEXT NOT NULL
  ) STRICT, WITHOUT ROWID`,
  `INSERT INTO conflicts (id, revision, status, entity_type, value)
   SELECT id, revision, value ->> 'status', value ->> 'entityType', json_set(
     value, '$.decidedBy', NULL, '$.decidedAtMs', value -> 'atMs', '$.history', json('[]'), '$.revision', revision
   )
   FROM (SELECT id, value, row_number() OVER (ORDER BY id) AS revision FROM conflicts_by_id)`,
  'DROP TABLE conflicts_by_id',
  'CREATE UNIQUE INDEX conflict_feed ON conflicts (revision)',
  "CREATE INDEX open_conflicts ON conflicts (id, entity_type) WHERE status = 'open'",
  `UPDATE meta SET value = json_set(
     value, '$.conflictRevision', (SELECT count(*) FROM conflicts), '$.projected.conflictRevision', 0
   )`,
  MEMO_TABLE,
];
