import { isSmaller } from '../core/delta.ts';
import { type EntityVersion, writtenBy } from '../core/entity.ts';
import { type EntityKey, entityKey } from '../core/ids.ts';
import { fieldsAfter } from '../core/marks.ts';
import { LIMITS } from '../protocol/limits.ts';
import { canBeSent, type RemoteChange } from '../protocol/messages.ts';
import type { CloudStore } from './ports.ts';

export interface FeedPage {
  readonly entities: readonly EntityVersion[];
  /** Up to where the page goes; the head, where nothing follows. */
  readonly cursor: number;
  readonly more: boolean;
}

/**
 * A page of the feed: the last state of each entity that changed after `cursor`, in order of seq. All who keep up with
 * the cloud read it, each with its own cursor: nodes, the projection, exports. At most `limit` entities and
 * `LIMITS.pageBytes`, but always one, unless `LIMITS.pageScan` entities in a row are left out.
 *
 * @param isLeftOut entities that the reader has already; they take no room.
 */
export function readFeed(
  store: CloudStore,
  head: number,
  cursor: number,
  limit: number = LIMITS.pageChanges,
  isLeftOut: (entity: EntityVersion) => boolean = () => false,
): FeedPage {
  const entities: EntityVersion[] = [];
  let bytes = 0;
  let scanned = 0;
  let end = cursor;
  for (;;) {
    const chunk = store.readAfter(end, LIMITS.feedRows);
    for (const entity of chunk) {
      if (!isLeftOut(entity)) {
        bytes += JSON.stringify(entity.data).length + ENVELOPE_BYTES;
        const isFull = entities.length === limit || (entities.length > 0 && bytes > LIMITS.pageBytes);
        if (isFull) return { entities, cursor: end, more: true };
        entities.push(entity);
      }
      end = entity.seq;
    }
    scanned += chunk.length;
    if (chunk.length < LIMITS.feedRows) return { entities, cursor: head, more: false };
    if (scanned >= LIMITS.pageScan) return { entities, cursor: end, more: true };
  }
}

/** About what a change takes beside its data. */
const ENVELOPE_BYTES = 200;

/**
 * An entity as a reader of the feed gets it.
 *
 * @param since up to where the reader has everything, as it was there: it gets the fields that were written after that,
 *   where they are smaller than the record. Undefined: it gets the record.
 */
export function toRemoteChange(entity: EntityVersion, since: number | undefined): RemoteChange {
  const { entityType, entityId, seq, version, stamp, data } = entity;
  const { origin } = writtenBy(entity);
  const header = { entityType, entityId, seq, version, stamp, origin };
  if (data === null) return { ...header, operation: 'delete' };
  const fields = since === undefined ? undefined : fieldsAfter(entity, since);
  if (fields === undefined || !isSmaller(fields.operations, data) || !canBeSent(fields.operations))
    return { ...header, operation: 'update', data };
  const { operations, kinds } = fields;
  const isAdding = Object.keys(kinds).length > 0;
  return { ...header, operation: 'update', operations: [...operations], ...(isAdding ? { kinds: { ...kinds } } : {}) };
}

/** Whether the reader had `applied` taken as it was, and so has the entity as it is here. */
export function isEcho(applied: ReadonlyMap<EntityKey, string>): (entity: EntityVersion) => boolean {
  return (entity) => applied.get(entityKey(entity)) === entity.version;
}
