import type { SpaceId } from '../core/ids.ts';
import type { ProjectionSink } from '../sync/ports.ts';

/**
 * One space in D1. A page is one batch, and a batch is one transaction: entities and cursor move together, and neither
 * goes back. Rows written: 1 an entity, 1 a page.
 */
export function d1Projection(db: D1Database, space: SpaceId): ProjectionSink {
  return {
    position: async () => {
      const row = await db.prepare('SELECT epoch, seq FROM projections WHERE space = ?').bind(space).first();
      return row === null ? { epoch: null, seq: 0 } : { epoch: String(row['epoch']), seq: Number(row['seq']) };
    },
    apply: async ({ epoch, entities, seq, asOfMs }) => {
      const rows = JSON.stringify(
        entities.map(({ entityType, entityId, data, seq, version, stamp }) => {
          return [entityType, entityId, data === null ? null : JSON.stringify(data), seq, version, stamp];
        }),
      );
      await db.batch([
        db.prepare(UPSERT_ENTITIES).bind(space, rows),
        db.prepare(UPSERT_CURSOR).bind(space, epoch, seq, asOfMs ?? 0),
      ]);
    },
  };
}

// `WHERE true`: without it the parser takes ON for a join's.
const UPSERT_ENTITIES = `
  INSERT INTO entities (space, entity_type, entity_id, data, seq, version, stamp)
  SELECT ?1, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?2) WHERE true
  ON CONFLICT DO UPDATE SET
    data = excluded.data, seq = excluded.seq, version = excluded.version, stamp = excluded.stamp
  WHERE excluded.seq > entities.seq`;

const UPSERT_CURSOR = `
  INSERT INTO projections (space, epoch, seq, as_of_ms) VALUES (?1, ?2, ?3, ?4)
  ON CONFLICT DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, as_of_ms = max(as_of_ms, excluded.as_of_ms)
  WHERE excluded.epoch <> projections.epoch OR excluded.seq >= projections.seq`;
