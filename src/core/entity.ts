import { type Dot, parseDot } from './dot.ts';
import { parseStamp, type Stamp } from './hlc.ts';
import type { EntityId, EntityType } from './ids.ts';
import type { JsonObject } from './json.ts';
import type { VectorClock } from './vector-clock.ts';

/** One write. `dot`: `<nodeId>:<counter>` of the change, or `cloud:<seq>` where more than one had a part in it. */
export interface Mark {
  readonly seq: number;
  readonly dot: string;
  readonly stamp: Stamp;
}

/**
 * How a path was written: `set` (or unset), by increments (`add`), by elements pushed to or pulled from an array
 * (`list`), or `made`: an empty object on the way to what was written, which says nothing of what is in it.
 */
export type WriteKind = 'set' | 'add' | 'list' | 'made';

export interface PathMark extends Mark {
  /** As operations write it; never through an array, which is one value here. */
  readonly path: string;
  readonly kind: WriteKind;
}

/**
 * Which parts of a record were written after the record as a whole, when, and by whom. Shape: `whole` of the last write
 * of the whole record, `paths` of what was written since, oldest first. A path that no mark names was last written with
 * the whole.
 */
export interface Marks {
  readonly whole: Mark;
  readonly paths: readonly PathMark[];
  /** What of nodes its writer had seen and written over before it came to the cloud; undefined: nothing. */
  readonly ahead?: VectorClock | undefined;
}

/**
 * One state of one entity. `version` is the dot that made it: the change's own where the change was a plain successor,
 * `cloud:<seq>` where a conflict was decided.
 */
export interface EntityVersion {
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  /** `null`: deleted. */
  readonly data: JsonObject | null;
  /** Its place in the cloud's history; 0 while only the replica has it. */
  readonly seq: number;
  readonly version: string;
  /** Of the write whose content won; of a merge, the later one. */
  readonly stamp: Stamp;
  /** What was written after the record as a whole; undefined: nothing. */
  readonly marks?: Marks | undefined;
}

export function versionDot(version: EntityVersion): Dot {
  const dot = parseDot(version.version);
  if (dot === undefined) throw new Error(`invariant broken: ${version.version} is no dot`);
  return dot;
}

/** When, and by which node, the content was written; ms since 1970. */
export function writtenBy(version: EntityVersion): { updatedAt: number; origin: string } {
  const stamp = parseStamp(version.stamp);
  if (stamp === undefined) throw new Error(`invariant broken: ${version.stamp} is no stamp`);
  return { updatedAt: stamp.wallMs, origin: stamp.node };
}
