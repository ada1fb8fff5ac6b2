import type { EntityVersion } from '../core/entity.ts';
import type { Stamp } from '../core/hlc.ts';
import type { EntityId, EntityType } from '../core/ids.ts';
import { numberOf, type SqlRow, type SqlValue, textOf } from './sql-database.ts';

/**
 * How an entity lies in a table: the same columns at a replica and in the cloud. `data` is NULL for a tombstone, `marks`
 * where all of the record was written at once.
 */
export const ENTITY_COLUMNS = 'entity_type, entity_id, data, seq, version, stamp, marks';

export const ENTITY_TABLE = `(
  entity_type TEXT NOT NULL,
  entity_id TEXT NOT NULL,
  data TEXT,
  seq INTEGER NOT NULL,
  version TEXT NOT NULL,
  stamp TEXT NOT NULL,
  PRIMARY KEY (entity_type, entity_id)
) STRICT, WITHOUT ROWID`;

/** A later step than the table itself. */
export function addMarks(table: string): string {
  return `ALTER TABLE ${table} ADD COLUMN marks TEXT`;
}

export function entityFromRow(row: SqlRow): EntityVersion {
  const { data, marks } = row;
  return {
    entityType: textOf(row, 'entity_type') as EntityType,
    entityId: textOf(row, 'entity_id') as EntityId,
    data: typeof data === 'string' ? JSON.parse(data) : null,
    seq: numberOf(row, 'seq'),
    version: textOf(row, 'version'),
    stamp: textOf(row, 'stamp') as Stamp,
    ...(typeof marks === 'string' ? { marks: JSON.parse(marks) } : {}),
  };
}

export function entityToRow(entity: EntityVersion): SqlValue[] {
  const { entityType, entityId, data, seq, version, stamp, marks } = entity;
  return [entityType, entityId, jsonOrNull(data), seq, version, stamp, jsonOrNull(marks)];
}

function jsonOrNull(value: object | null | undefined): string | null {
  return value ? JSON.stringify(value) : null;
}

/** Writes a whole row, new or not; one row written. */
export function upsertEntity(table: string): string {
  return `INSERT INTO ${table} (${ENTITY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (entity_type, entity_id) DO UPDATE SET
      data = excluded.data, seq = excluded.seq, version = excluded.version, stamp = excluded.stamp,
      marks = excluded.marks`;
}
