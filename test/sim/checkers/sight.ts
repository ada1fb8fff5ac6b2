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
  { history, ops, gaps, cloud }: Space,
): void {
  const isReplaced = before !== undefined && seq !== undefined && conflictId === undefined;
  if (!isReplaced || op.disk === undefined || meansWhatItMeets(change)) return;
  const after = history.at(entityKey(change), seq);
  if (after !== undefined && jsonEqual(after.data, before.data)) return;
  const author = ops.behind(before, cloud.epoch);
  if (hasSeen(op, before, author)) return;

  const isDeleted = before.data === null;
  const rule = isDeleted ? 'I12' : 'I1';
  const detail = isDeleted
    ? `${change.id} brought ${entityKey(change)} back, without having seen ${before.version}`
    : `${change.id} replaced ${before.version} unseen, without a record`;
  const all = [...allOf(op)];
  if (all.some(({ generation }) => generation < history.generation)) gaps.report('lost history', rule, detail);
  else if (all.some((each) => knowsOtherLife(each, author))) gaps.report('former life', rule, detail);
  else throw new Violation(rule, detail);
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
  if (past.cloud >= seq || past.shown.has(other)) return true;
  // A node shows what waits in its queue.
  return other.stamp !== undefined && other.nodeId === op.nodeId && other.disk === op.disk;
}

/** Whether it is, or saw something, of the node that wrote the other, from before or after that node lost its disk. */
export function knowsOtherLife({ nodeId, disk, past }: Op, author: Op): boolean {
  const isOtherLife = (seen: Pick<Op, 'nodeId' | 'disk'>) => {
    return seen.nodeId === author.nodeId && seen.disk !== author.disk;
  };
  return isOtherLife({ nodeId, disk }) || [...past.shown].some(isOtherLife);
}
