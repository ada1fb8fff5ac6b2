import type { Change } from '../../../src/core/change.ts';
import type { EntityVersion } from '../../../src/core/entity.ts';
import { entityKey } from '../../../src/core/ids.ts';
import { jsonEqual } from '../../../src/core/json.ts';
import type { ChangeResult } from '../../../src/protocol/messages.ts';
import { allOf, type Op } from '../op.ts';
import type { Space } from '../space.ts';
import { Violation } from '../violation.ts';

/**
 * Only who has seen a version may replace it without a conflict: else a write is lost without a record (I1), or what was
 * deleted comes back (I12). Judged by what the writer really saw, not by the clock that the change carries.
 */
export function checkSight(
  change: Change,
  op: Op,
  { seq, conflictId }: ChangeResult,
  before: EntityVersion | undefined,
  { history, ops, cloud, trace }: Space,
): void {
  const isReplaced = before !== undefined && seq !== undefined && conflictId === undefined;
  if (!isReplaced || op.disk === undefined || meansWhatItMeets(change)) return;
  const after = history.at(entityKey(change), seq);
  if (after !== undefined && jsonEqual(after.data, before.data)) return;
  const author = ops.behind(before, cloud.epoch);
  if (hasSeen(op, before, author)) return;

  const all = [...allOf(op)];
  const isDeleted = before.data === null;
  const rule = isDeleted ? 'I12' : 'I1';
  const detail = isDeleted
    ? `${change.id} brought ${entityKey(change)} back, without having seen ${before.version}`
    : `${change.id} replaced ${before.version} unseen, without a record`;
  if (all.some((each) => mayMistake(each, author))) trace.count('excused: took a write for another of its node');
  else throw new Violation(rule, detail);
}

/**
 * Whether it may take a write for one that it has seen, because a later one of the same node was shown to it: what was lost
 * with that node's disk, what was written there before the node could ask where its counters go on, or before it had
 * what its former life wrote.
 */
export function mayMistake({ past }: Op, { nodeId, disk = 0 }: Op): boolean {
  const isInVain = (seen: Op) => seen.isLost || isNamedInVain(seen) || (seen.disk ?? 0) > disk;
  return [...past.shown].some((seen) => seen.nodeId === nodeId && isInVain(seen));
}

/** Whether tokens name it by a counter of its node's former life. */
export function isNamedInVain({ isRenumbered, fate, disk = 0 }: Op): boolean {
  return isRenumbered || (fate === undefined && disk > 0);
}

/** Operations that somebody waits for are made for whatever they meet; so is the answer to a conflict. */
function meansWhatItMeets({ consistency, operations, mergePatch, resolves }: Change): boolean {
  return resolves !== undefined || (consistency === 'strong' && (operations ?? mergePatch) !== undefined);
}

/** Of the writes that went into one the first: the others were made on it. */
function firstOf(op: Op): Op {
  const [earlier] = op.absorbed;
  return earlier === undefined ? op : firstOf(earlier);
}

function hasSeen(op: Op, version: EntityVersion, author: Op): boolean {
  // What a conflict made is nobody's own.
  const isShared = version.version.startsWith('cloud:');
  return firstOf(op).past.cloud >= version.seq || (!isShared && knows(op, author));
}

/** Whether a writer had seen a write that the cloud has not, or, if it is given, has as of `seq`. */
export function knows(op: Op, other: Op, seq = Number.POSITIVE_INFINITY): boolean {
  const { past } = firstOf(op);
  // What waited unnoticed when it was shown is known by its name.
  const isShown = [...past.shown].some(({ dot, stamp }) => dot === other.dot && stamp === other.stamp);
  const isOfLost = [other.fate, ...other.formerFates].some((fate) => fate !== undefined && fate.position <= past.lost);
  if (past.cloud >= seq || isShown || isOfLost) return true;
  // A node shows what waits in its queue; also what nobody was told of, before it crashed.
  return other.stamp !== undefined && other.nodeId === op.nodeId && (other.disk ?? op.disk) === op.disk;
}
