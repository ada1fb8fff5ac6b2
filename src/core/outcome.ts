import { type Change, dotOf, stampOf } from './change.ts';
import {
  type Conflict,
  type ConflictKind,
  conflictKind,
  type Decision,
  overrule,
  overtaken,
  replacing,
  resolve,
} from './conflict.ts';
import { hasSeen } from './context.ts';
import { applyOperations, MAX_DEPTH, mergePatchOperations } from './delta.ts';
import { type EntityVersion, versionDot } from './entity.ts';
import { compareStamps } from './hlc.ts';
import { type JsonObject, jsonEqual } from './json.ts';
import { pathsWritten, type Written } from './marks.ts';
import { isForbidden, parsePath } from './path.ts';
import type { Policy } from './policy.ts';
import { isMet } from './precondition.ts';
import { EMPTY_CLOCK, entry } from './vector-clock.ts';

/**
 * What becomes of a change that meets the current version of its entity. The cloud decides by it, and a replica
 * predicts by it what the cloud will decide.
 */
export type Outcome =
  /** The entity becomes `data` (`null`: is deleted). */
  | { readonly kind: 'advance'; readonly data: JsonObject | null; readonly written: Written }
  /** There is nothing to do: what was deleted isn't there. */
  | { readonly kind: 'no-op' }
  /** Neither side had seen the other. */
  | (Decision & { readonly conflict: Conflict })
  /** Only operations were sent, and their base isn't here: the whole record is needed. */
  | { readonly kind: 'needs-full' }
  | { readonly kind: 'refused'; readonly code: RefusalCode; readonly detail: string };

export type RefusalCode = 'not_found' | 'invalid_operation' | 'too_deep' | 'precondition_failed';

/** Pure but for custom resolvers. Cost: that of applying the operations; a conflict compares the two records. */
export function outcomeOf(current: EntityVersion | undefined, change: Change, policy: Policy): Outcome {
  const refusal = refusedPrecondition(current, change) ?? refusedPath(change);
  if (refusal !== undefined) return refusal;
  if (current === undefined || isSuccessor(change, current)) return successor(current, change);

  // Operations that somebody waits for mean the state that they meet, so they can't lose a race; and where nothing is, a
  // delete that somebody waits for finds nothing.
  const isLiveDelete = change.operation === 'delete' && current.data !== null;
  if (change.consistency === 'strong' && change.data === undefined && !isLiveDelete) return successor(current, change);
  const kind = conflictKind(current.data, change.operation);
  if (kind === undefined) {
    // It is deleted as of the later of the two: else what was written between them would bring it back.
    const isLater = compareStamps(change.stamp, current.stamp) > 0;
    return isLater ? { kind: 'advance', data: null, written: 'whole' } : { kind: 'no-op' };
  }
  // Only operations, on a base that isn't here: what they were meant to make can't be told.
  if (change.operation !== 'delete' && change.data === undefined) return { kind: 'needs-full' };
  const conflict = conflictOf(kind, current, change);
  if (change.consistency === 'strong') return { ...overrule(conflict), conflict };
  return { ...(isOvertaken(change, current) ? overtaken(conflict) : resolve(conflict, policy)), conflict };
}

/** Whether a change's writer had seen the version that it meets. */
export function isSuccessor(change: Change, current: EntityVersion): boolean {
  const { base, covers, ownFrom } = change;
  return hasSeen({ dot: dotOf(change), base, covers, ownFrom }, { seq: current.seq, dot: versionDot(current) });
}

/** Whether who wrote what is there had seen the change, which comes late. Of a node that lost its storage it may be another one. */
function isOvertaken(change: Change, { marks }: EntityVersion): boolean {
  const { node, counter } = dotOf(change);
  return change.ownFrom === undefined && counter <= entry(marks?.ahead ?? EMPTY_CLOCK, node);
}

/** The outcome of a change that has seen all that is there. */
function successor(current: EntityVersion | undefined, change: Change): Outcome {
  const before = current?.data ?? null;
  const { operation, data, mergePatch } = change;
  if (before === null) {
    if (data !== undefined) return { kind: 'advance', data, written: 'whole' };
    if (operation === 'delete' && change.consistency !== 'strong') {
      // Of a record that was never here it leaves a tombstone: another history had the record, and somebody may bring it.
      return current === undefined ? { kind: 'advance', data: null, written: 'whole' } : { kind: 'no-op' };
    }
    const detail = `there is no ${change.entityType}/${change.entityId}`;
    return { kind: 'refused', code: 'not_found', detail };
  }
  if (operation === 'delete') return { kind: 'advance', data: null, written: 'whole' };
  const operations = mergePatch === undefined ? change.operations : mergePatchOperations(before, mergePatch);
  // The operations first: an earlier change of the same writer may have become another record than the writer saw. But a
  // record that comes with its checksum was asked for, and is meant, whatever the operations make here.
  const isMeant = data !== undefined && change.checksum !== undefined;
  const applied = operations && applyOperations(before, operations);
  if (operations !== undefined && applied?.ok && !(isMeant && !jsonEqual(data, applied.data))) {
    const written = pathsWritten(operations, before, applied.data, (path) => stampOf(change, path));
    return { kind: 'advance', data: applied.data, written };
  }
  if (data !== undefined) return { kind: 'advance', data, written: replacing(before, data) };
  if (applied === undefined || applied.ok) throw new Error('invariant broken: an update has data or operations');
  const code = applied.reason === 'too-deep' ? 'too_deep' : 'invalid_operation';
  return { kind: 'refused', code, detail: `operation ${applied.index}: ${applied.detail}` };
}

function conflictOf(kind: ConflictKind, local: EntityVersion, change: Change): Conflict {
  const { data, operations, stamp, stamps, base, covers, ownFrom, resolves } = change;
  const remote = { data: data ?? null, operations, stamp, stamps, dot: dotOf(change), base, covers, ownFrom };
  return { kind, local, remote, attempts: resolves?.attempts ?? 0, failure: resolves?.failure };
}

function refusedPrecondition(current: EntityVersion | undefined, change: Change): Outcome | undefined {
  const version = current === undefined || current.data === null ? undefined : current.version;
  if (isMet(change, version)) return undefined;
  return { kind: 'refused', code: 'precondition_failed', detail: `the current version is ${version ?? 'none'}` };
}

/** No rule applies an operation to what a path like `__proto__` names. */
function refusedPath({ operations }: Change): Outcome | undefined {
  const index = (operations ?? []).findIndex(({ path }) => {
    const parsed = parsePath(path);
    return parsed === undefined || isForbidden(parsed) || parsed.length > MAX_DEPTH;
  });
  if (index === -1) return undefined;
  return { kind: 'refused', code: 'invalid_operation', detail: `operation ${index}: its path names no field` };
}
