import type { SpaceId } from '../core/ids.ts';
import type { ProjectionPage, ProjectionSink } from '../sync/ports.ts';

/**
 * One space in D1. A page is one batch, and a batch is one transaction: entities, conflicts and cursors move together,
 * and none goes back. Rows written: 1 an entity, 1 a conflict, 1 a page.
 */
export function d1Projection(db: D1Database, space: SpaceId): ProjectionSink {
  return {
    position: async () => {
      const row = await db.prepare(SELECT_CURSORS).bind(space).first();
      return row === null
        ? { epoch: null, seq: 0, conflictRevision: 0 }
        : { epoch: String(row['epoch']), seq: Number(row['seq']), conflictRevision: Number(row['conflict_revision']) };
    },
    apply: async ({ epoch, entities, conflicts, seq, conflictRevision, asOfMs }) => {
      await db.batch([
        ...parts(entities.map(rowOf)).map((rows) => db.prepare(UPSERT_ENTITIES).bind(space, rows, epoch)),
        // Not as texts within the text: a row of the largest size would be twice that.
        ...parts(conflicts).map((rows) => db.prepare(UPSERT_CONFLICTS).bind(space, rows, epoch)),
        db.prepare(UPSERT_CURSORS).bind(space, epoch, seq, conflictRevision, asOfMs ?? 0),
      ]);
    },
  };
}

function rowOf({ entityType, entityId, data, seq, version, stamp }: ProjectionPage['entities'][number]) {
  return [entityType, entityId, data === null ? null : JSON.stringify(data), seq, version, stamp];
}

/** Values as texts of JSON arrays, each small enough for a parameter. */
function parts(values: readonly unknown[]): string[] {
  const texts: string[][] = [];
  let chars = Number.POSITIVE_INFINITY;
  for (const value of values) {
    const text = JSON.stringify(value);
    chars += text.length;
    if (chars > PART_CHARS) {
      texts.push([]);
      chars = text.length;
    }
    texts.at(-1)?.push(text);
  }
  return texts.map((part) => `[${part.join(',')}]`);
}

/** A parameter may have 2 MB, and so may a row; in UTF-8, where a character is up to three bytes. */
const PART_CHARS = 256 * 1024;

const SELECT_CURSORS = 'SELECT epoch, seq, conflict_revision FROM projections WHERE space = ?';

// What is there gives way to what is newer. What is there and beyond the cursor is of an older epoch, whose numbers say
// nothing now: within an epoch, rows and cursor move together.
// `WHERE true`: without it the parser takes ON for a join's.
const UPSERT_ENTITIES = `
  INSERT INTO entities (space, entity_type, entity_id, data, seq, version, stamp)
  SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?2) WHERE true
  ON CONFLICT DO UPDATE SET
    data = excluded.data, seq = excluded.seq, version = excluded.version, stamp = excluded.stamp
  WHERE excluded.seq > min(
    entities.seq, coalesce((SELECT seq FROM projections WHERE space = ?1 AND epoch = ?3), 0)
  )`;

const UPSERT_CONFLICTS = `
  INSERT INTO conflicts (space, id, entity_type, entity_id, type, status, at_ms, revision, value)
  SELECT ?1, value ->> 'id', value ->> 'entityType', value ->> 'entityId', value ->> 'type', value ->> 'status',
    value ->> 'atMs', value ->> 'revision', value
  FROM json_each(?2) WHERE true
  ON CONFLICT DO UPDATE SET status = excluded.status, revision = excluded.revision, value = excluded.value,
    entity_type = excluded.entity_type, entity_id = excluded.entity_id, type = excluded.type, at_ms = excluded.at_ms
  WHERE excluded.revision > min(
    conflicts.revision, coalesce((SELECT conflict_revision FROM projections WHERE space = ?1 AND epoch = ?3), 0)
  )`;

const UPSERT_CURSORS = `
  INSERT INTO projections (space, epoch, seq, conflict_revision, as_of_ms) VALUES (?1, ?2, ?3, ?4, ?5)
  ON CONFLICT DO UPDATE SET
    seq = iif(excluded.epoch = epoch, max(seq, excluded.seq), excluded.seq),
    conflict_revision = iif(
      excluded.epoch = epoch, max(conflict_revision, excluded.conflict_revision), excluded.conflict_revision
    ),
    epoch = excluded.epoch,
    as_of_ms = max(as_of_ms, excluded.as_of_ms)`;
