import { expect } from 'vitest';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import { applySchema, type SqlDatabase } from '../../src/store/sql-database.ts';
import { entity, stampAt } from './replica-store.ts';

/** The schema of 0.1.0 before conflicts had a feed: databases in the field were made by these steps. */
const FIRST_STEPS = [
  'CREATE TABLE meta (id INTEGER PRIMARY KEY CHECK (id = 1), value TEXT NOT NULL) STRICT',
  `CREATE TABLE entities (
    entity_type TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    data TEXT,
    seq INTEGER NOT NULL,
    version TEXT NOT NULL,
    stamp TEXT NOT NULL,
    PRIMARY KEY (entity_type, entity_id)
  ) STRICT, WITHOUT ROWID`,
  'CREATE UNIQUE INDEX feed ON entities (seq)',
  'CREATE TABLE nodes (node_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
  'CREATE TABLE refusals (change_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
  'CREATE TABLE conflicts (id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID',
];

/** A store opened on an empty database that the first steps made: what it held is there, in the shape of now. */
export function checkSchemaUpgrade(db: SqlDatabase): void {
  applySchema(db, FIRST_STEPS);
  const meta = {
    epoch: 'e',
    seq: 7,
    changedAtMs: 12.5,
    digest: { note: 'f'.repeat(32) },
    hlc: { wallMs: 2 ** 48 - 1, counter: 3 },
    conflicts: 2,
    projected: { seq: 6, atMs: 5 },
  };
  db.all('INSERT INTO meta (id, value) VALUES (1, ?)', JSON.stringify(meta));
  const old = (id: string, entityType: string) => {
    const { entityId, ...written } = entity(entityType, 'a', { text: 'it\'s \0 "\u{1F600}"', n: 1e21 });
    const side = { version: written.version, stamp: stampAt(1), data: written.data };
    const metadata = { strategy: 'lww', reason: 'later' };
    const resolution = { winner: 'local' as const, resolvedData: written.data, metadata };
    const sides = { base: null, local: side, remote: { ...side, data: null }, resolution };
    const { entityType: type } = written;
    return { id, type: 'u', entityType: type, entityId, ...sides, status: 'resolved' as const, atMs: 1e12, seq: 4 };
  };
  const before = [old('c000000000002', 'task'), old('c000000000001', 'note')];
  for (const each of before) db.all('INSERT INTO conflicts (id, value) VALUES (?, ?)', each.id, JSON.stringify(each));
  const kept = entity('note', 'a', { n: 1 }, 7);
  db.all(
    'INSERT INTO entities (entity_type, entity_id, data, seq, version, stamp) VALUES (?, ?, ?, ?, ?, ?)',
    ...[kept.entityType, kept.entityId, JSON.stringify(kept.data), kept.seq, kept.version, kept.stamp],
  );

  const upgraded = before
    .toReversed()
    .map((each, index) => ({ ...each, decidedBy: null, decidedAtMs: 1e12, history: [], revision: index + 1 }));
  const projected = { ...meta.projected, conflictRevision: 0 };
  // The second opening finds nothing left to do.
  for (const store of [new SqlCloudStore(db), new SqlCloudStore(db)]) {
    expect(store.listConflicts({ status: 'all', after: '', limit: 10 })).toEqual(upgraded);
    expect(store.readConflictsAfter(0, 10)).toEqual(upgraded);
    expect(store.listConflicts({ status: 'resolved', entityTypes: ['task'], after: '', limit: 10 })).toEqual([
      upgraded[1],
    ]);
    expect(store.listConflicts({ status: 'open', after: '', limit: 10 })).toEqual([]);
    expect(store.readMeta()).toEqual({ ...meta, conflictRevision: 2, projected });
    expect(store.readAfter(0, 10)).toEqual([kept]);
  }
}
