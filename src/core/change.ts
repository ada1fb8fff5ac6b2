import { canonicalText, hashHex } from './canonical.ts';
import type { Operation } from './delta.ts';
import { type Dot, parseDot } from './dot.ts';
import type { Stamp } from './hlc.ts';
import type { EntityId, EntityType } from './ids.ts';
import type { JsonObject } from './json.ts';
import type { Precondition } from './precondition.ts';
import type { VectorClock } from './vector-clock.ts';

/**
 * One create, update or delete of one entity, identified for ever by its dot. This is its shape on the wire too
 * (`http.md`, section 5).
 */
export type Change = ChangeHeader & ChangeContent;

/** From the most to the least urgent. */
export const PRIORITIES = ['critical', 'high', 'normal'] as const;
export type Priority = (typeof PRIORITIES)[number];

/** A precondition holds for the version that the change meets in the cloud. */
export interface ChangeHeader extends Precondition {
  /** The dot, `<nodeId>:<counter>`. */
  readonly id: string;
  /** Counters of the same node that this change stands for as well, inclusive intervals. */
  readonly covers?: readonly (readonly [from: number, to: number])[] | undefined;
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  /** What the writer had seen of this space. */
  readonly base: VectorClock;
  /**
   * The first counter of the change's own node that the base speaks for; undefined: 1. What is before was written by a
   * node of that name that lost its storage, and its successor has not seen it.
   */
  readonly ownFrom?: number | undefined;
  readonly stamp: Stamp;
  /** By path, of operations that were written earlier than the rest; see `coalesce`. */
  readonly stamps?: Readonly<Record<string, Stamp>> | undefined;
  /** The writer's wall clock, ms since 1970; for people, never for decisions. */
  readonly timestamp: number;
  readonly nodeId: string;
  /** Of the record that the change makes. */
  readonly checksum?: string | undefined;
  readonly transaction?: string | undefined;
  readonly priority?: Priority | undefined;
  /** Set: the change is the answer of its node to a conflict that the cloud told it of. */
  readonly resolves?:
    | {
        readonly conflictId: string;
        readonly attempts: number;
        readonly reason: string;
        /** Why there is no answer; the change is what it was then. */
        readonly failure?: string | undefined;
        /** What the resolver said beside its reason. */
        readonly metadata?: JsonObject | undefined;
      }
    | undefined;
  /** Of a strong change: what it did is remembered by the key, and told to another one with it that asks for the same. */
  readonly once?: { readonly key: string; readonly hash: string } | undefined;
  /** Set: something else may have gone under this dot, so only the same content is taken for the same change. */
  readonly isDoubtful?: true | undefined;
  /** `strong`: somebody waits for it, so it takes effect at the moment the cloud sequences it. */
  readonly consistency?: 'strong' | undefined;
}

/**
 * An update says what record it makes, or by which operations, or both; a delta without the record needs its base. A
 * merge patch (RFC 7386) becomes operations where it is applied, for which ones it is depends on the record.
 */
export type ChangeContent =
  | (RecordContent & { readonly mergePatch?: undefined })
  | {
      readonly operation: 'update';
      readonly mergePatch: JsonObject;
      readonly data?: undefined;
      readonly operations?: undefined;
    };

type RecordContent =
  | { readonly operation: 'create'; readonly data: JsonObject; readonly operations?: undefined }
  | { readonly operation: 'update'; readonly data: JsonObject; readonly operations?: readonly Operation[] | undefined }
  | { readonly operation: 'update'; readonly operations: readonly Operation[]; readonly data?: undefined }
  | { readonly operation: 'delete'; readonly data?: undefined; readonly operations?: undefined };

/** Whether a change is only told by what it does to the record that its writer had. */
export function isDelta({ data, operations, consistency }: Change): boolean {
  return data === undefined && operations !== undefined && consistency !== 'strong';
}

/** The dot of a change whose id has been checked at the boundary. */
export function dotOf(change: { readonly id: string }): Dot {
  const dot = parseDot(change.id);
  if (dot === undefined) throw new Error(`invariant broken: ${change.id} is no dot`);
  return dot;
}

/** When a change wrote a path; never later than the rest of it. */
export function stampOf({ stamp, stamps = {} }: Pick<Change, 'stamp' | 'stamps'>, path: string): Stamp {
  const own = Object.hasOwn(stamps, path) ? stamps[path] : undefined;
  return own !== undefined && own < stamp ? own : stamp;
}

/**
 * What a dot is bound to: hashes of what the change does, without when and on what it was written, and of the record and
 * the operations apart, as far as they are there: a change may be sent again with more or less of the two.
 *
 * @returns three times 8 hex digits or nothing, joined by `.`.
 */
export function contentHash({ entityType, entityId, operation, data, operations, mergePatch }: Change): string {
  return [[entityType, entityId, operation], data, operations ?? mergePatch].map(shortHash).join('.');
}

/** Whether two hashes of {@link contentHash} can be of one change. */
export function isSameContent(a: string, b: string): boolean {
  const others = b.split('.');
  return a.split('.').every((part, index) => part === '' || !others[index] || part === others[index]);
}

function shortHash(value: unknown): string {
  return value === undefined ? '' : hashHex(canonicalText(value)).slice(0, 8);
}
