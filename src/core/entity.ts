import { type Dot, parseDot } from './dot.ts';
import { parseStamp, type Stamp } from './hlc.ts';
import type { EntityId, EntityType } from './ids.ts';
import type { JsonObject } from './json.ts';

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
  /** Of the write whose content won. */
  readonly stamp: Stamp;
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
