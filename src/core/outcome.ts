import { type Change, dotOf } from './change.ts';
import { type ConflictKind, conflictKind, type Resolution, resolve } from './conflict.ts';
import { hasSeen } from './context.ts';
import { applyOperations } from './delta.ts';
import { type EntityVersion, versionDot } from './entity.ts';
import { type JsonObject, jsonEqual } from './json.ts';
import type { Policy } from './policy.ts';
import { isMet } from './precondition.ts';

/**
 * What becomes of a change that meets the current version of its entity. The cloud decides by it, and a replica
 * predicts by it what the cloud will decide.
 */
export type Outcome =
  /** The entity becomes `data` (`null`: is deleted). */
  | { readonly kind: 'advance'; readonly data: JsonObject | null }
  /** There is nothing to do: what was deleted isn't there. */
  | { readonly kind: 'no-op' }
  /** Neither side had seen the other. */
  | { readonly kind: 'conflict'; readonly conflict: ConflictKind; readonly resolution: Resolution }
  /** Both sides wrote the same: nobody loses, so there is no conflict to record. */
  | { readonly kind: 'agreement'; readonly winner: Resolution['winner']; readonly data: JsonObject | null }
  /** Only operations were sent, and their base isn't here: the whole record is needed. */
  | { readonly kind: 'needs-full' }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly detail: string };

export type RefusalCode = 'not_found' | 'invalid_operation' | 'too_deep' | 'precondition_failed';

/** Pure. Cost: that of applying the operations; a conflict compares the two records. */
export function outcomeOf(current: EntityVersion | undefined, change: Change, policy: Policy): Outcome {
  const refusal = refusedPrecondition(current, change);
  if (refusal !== undefined) return refusal;
  if (current === undefined || isSuccessor(change, current)) return successor(current, change);

  // Operations that somebody waits for mean the state that they meet, so they can't lose a race.
  if (change.consistency === 'strong' && change.operations !== undefined) return successor(current, change);

  const conflict = conflictKind(current.data, change.operation);
  if (conflict === undefined) return { kind: 'no-op' };
  // Only operations, on a base that isn't here: what they were meant to make can't be told.
  if (change.operations !== undefined) return { kind: 'needs-full' };

  const remote = { data: change.data ?? null, stamp: change.stamp };
  const resolution = resolve(conflict, current, remote, policy);
  if (current.data !== null && remote.data !== null && jsonEqual(current.data, remote.data)) {
    return { kind: 'agreement', winner: resolution.winner, data: remote.data };
  }
  return { kind: 'conflict', conflict, resolution };
}

function isSuccessor(change: Change, current: EntityVersion): boolean {
  const { base, covers } = change;
  return hasSeen({ dot: dotOf(change), base, covers: covers ?? [] }, { seq: current.seq, dot: versionDot(current) });
}

/** The outcome of a change that has seen all that is there. */
function successor(current: EntityVersion | undefined, change: Change): Outcome {
  const before = current?.data ?? null;
  if (change.data !== undefined) return { kind: 'advance', data: change.data };
  if (before === null) {
    if (change.operation === 'delete' && change.consistency !== 'strong') return { kind: 'no-op' };
    const detail = `there is no ${change.entityType}/${change.entityId}`;
    return { kind: 'refused', code: 'not_found', detail };
  }
  if (change.operation === 'delete') return { kind: 'advance', data: null };
  const applied = applyOperations(before, change.operations);
  if (applied.ok) return { kind: 'advance', data: applied.data };
  const code = applied.reason === 'too-deep' ? 'too_deep' : 'invalid_operation';
  return { kind: 'refused', code, detail: `operation ${applied.index}: ${applied.detail}` };
}

function refusedPrecondition(current: EntityVersion | undefined, change: Change): Outcome | undefined {
  const version = current === undefined || current.data === null ? undefined : current.version;
  if (isMet(change, version)) return undefined;
  return { kind: 'refused', code: 'precondition_failed', detail: `the current version is ${version ?? 'none'}` };
}
