import type { Change } from '../../../src/core/change.ts';
import type { EntityVersion } from '../../../src/core/entity.ts';
import { entityKey, toEntityId } from '../../../src/core/ids.ts';
import { jsonEqual } from '../../../src/core/json.ts';
import type { ChangeResult } from '../../../src/protocol/messages.ts';
import type { ConflictRecord } from '../../../src/sync/ports.ts';
import { named } from '../names.ts';
import type { Op } from '../op.ts';
import type { Space } from '../space.ts';
import { require, Violation } from '../violation.ts';

/**
 * I1 in the cloud: what a change did is in the history, and what lost is in a conflict record, whole. And of two that
 * are decided by time the later one won, in whatever order they came (I3).
 *
 * @param head the last seq before the change.
 */
export function checkLosses(
  change: Change,
  op: Op,
  result: ChangeResult,
  head: number,
  { history, cloud, trace }: Space,
): void {
  const { seq, conflictId, status } = result;
  if (seq !== undefined) {
    const entityId = result.entityId === undefined ? change.entityId : named(toEntityId(result.entityId));
    const key = entityKey({ ...change, entityId });
    require(history.at(key, seq)?.seq === seq, 'I1', () => `${change.id} should be seq ${seq} of ${key}`);
  }
  if (conflictId !== undefined) {
    const record = cloud.disk.readConflict(conflictId);
    if (record === undefined) throw new Violation('I1', `there is no record ${conflictId} of ${change.id}`);
    trace.count(`conflict: ${record.type} ${record.resolution.metadata.strategy}`);
    const before = history.at(entityKey(record), head);
    checkRecord(change, record, before);
    if (before !== undefined) checkUnseen(op, before, { history, trace });
    // It may have been sent before, and then its record has the stamp that it was taken with at that time.
    checkLatest(record, result.stamp ?? record.remote.stamp, before, seq !== undefined);
  } else if (seq === undefined) {
    // Without a record and without an effect, there was nothing to lose.
    const before = history.at(entityKey(change), head);
    const isDelta = change.operations !== undefined && change.data === undefined;
    const isSame = !isDelta && jsonEqual(change.data ?? null, before?.data ?? null);
    require(isSame, 'I1', () => `${change.id} had no effect (${status}), and there is no record of it`);
  }
}

function checkRecord(change: Change, record: ConflictRecord, before: EntityVersion | undefined): void {
  const { id, remote, local, decidedBy } = record;
  // An answer of the node that was asked: the record keeps what somebody wrote there, and goes by who has decided since.
  const isAnswer = change.resolves?.conflictId === id;
  if (isAnswer && decidedBy !== null) return;
  const isOfBoth = remote.version === change.id && local.version === before?.version;
  require(isOfBoth, 'I1', () => `${change.id} met ${before?.version}, and the record ${id} is of others`);
  const hasMine = isAnswer || change.data === undefined || jsonEqual(remote.data, change.data);
  const hasTheirs = jsonEqual(local.data, before?.data ?? null);
  require(hasMine && hasTheirs, 'I1', () => `the record ${id} has not what ${change.id} and the other wrote`);
}

/** I6: who writes all of a record has no conflict with what he had seen of it, however much went into one change. */
function checkUnseen(op: Op, before: EntityVersion, { history, trace }: Pick<Space, 'history' | 'trace'>): void {
  if (op.stamp === undefined || !op.isWhole || op.past.cloud < before.seq) return;
  // Of several histories a node that has been in none can tell but one.
  const isExcused = op.isOfNewcomer && history.generation > 0;
  require(isExcused, 'I6', () => `${op.dot} is in conflict with ${before.version}, which its writer had seen`);
  trace.count('excused: had been in none of several histories');
}

function checkLatest(
  { resolution, remote }: ConflictRecord,
  stamp: string,
  before: EntityVersion | undefined,
  hasWon: boolean,
): void {
  const isByTime = resolution.metadata.strategy === 'lww' || resolution.metadata.strategy === 'latest';
  if (!isByTime || before === undefined) return;
  const isLater = stamp > before.stamp;
  require(isLater === hasWon, 'I3', () => {
    const word = hasWon ? 'won over' : 'lost to';
    return `${remote.version} of ${stamp} ${word} ${before.version} of ${before.stamp}`;
  });
}
