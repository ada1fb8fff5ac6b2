import type { Change } from './change.ts';
import type { EntityVersion } from './entity.ts';
import type { Stamp } from './hlc.ts';
import type { JsonObject } from './json.ts';
import { marksAfter, type Written } from './marks.ts';
import type { VectorClock } from './vector-clock.ts';

/** What a write makes of an entity. */
export interface Effect {
  readonly data: JsonObject | null;
  readonly written: Written;
  readonly stamp: Stamp;
  /** What of nodes it writes over that is on its way; undefined: it leaves that as it is. */
  readonly ahead?: VectorClock | undefined;
}

/**
 * The version that comes after `current`.
 *
 * @param place the seq, and the version's dot: the change's own where it had seen all that is there, else the cloud's.
 */
export function versionAfter(
  current: EntityVersion | undefined,
  change: Pick<Change, 'id' | 'entityType' | 'entityId' | 'stamp'>,
  { data, written, stamp, ahead }: Effect,
  { seq, version }: { readonly seq: number; readonly version: string },
): EntityVersion {
  const { entityType, entityId } = change;
  const marks = marksAfter(current, written, { seq, dot: change.id, stamp: change.stamp }, version, ahead);
  return { entityType, entityId, data, seq, version, stamp, ...(marks === undefined ? {} : { marks }) };
}
