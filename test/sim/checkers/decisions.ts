import type { Change } from '../../../src/core/change.ts';
import { parseDot } from '../../../src/core/dot.ts';
import type { EntityVersion } from '../../../src/core/entity.ts';
import { entityKey } from '../../../src/core/ids.ts';
import { jsonEqual } from '../../../src/core/json.ts';
import { policyFor } from '../../../src/core/policy.ts';
import type { ChangeResult } from '../../../src/protocol/messages.ts';
import type { Sequencing } from '../cloud-host.ts';
import { report } from '../gaps.ts';
import type { Op } from '../op.ts';
import { policies } from '../policies.ts';
import type { Space } from '../space.ts';
import { require, Violation } from '../violation.ts';

/**
 * What the cloud says of each change, held against what it did and what the writers had seen: each dot is decided once
 * (I2), what loses has a record (I1), the later stamp wins (I3), causes come first (I5), and what was deleted stays so
 * until somebody who saw that writes, or a policy says otherwise (I12).
 */
export class Decisions {
  readonly #space: () => Space;
  readonly #decided = new Set<string>();
  readonly #void: { readonly nodeId: string; readonly from: number; readonly to: number }[] = [];

  constructor(space: () => Space) {
    this.#space = space;
  }

  sequenced({ batch, answer, headBefore }: Sequencing): void {
    for (const [from, to] of batch.void ?? []) this.#void.push({ nodeId: batch.sourceNodeId, from, to });
    const results = new Map(answer.results.map((result) => [result.id, result]));
    const hasStrong = batch.changes.some((change) => change['consistency'] === 'strong');
    let head = headBefore;
    for (const envelope of batch.changes) {
      const result = results.get(envelope.id);
      require(result !== undefined, 'I1', () => `the cloud said nothing of ${envelope.id}`);
      if (result === undefined) continue;
      // What the engine of a node sends is a change; only the cloud has to doubt it.
      const change = envelope as unknown as Change;
      this.#decide(change, result, head, hasStrong);
      head = Math.max(head, result.seq ?? 0);
    }
  }

  #decide(change: Change, result: ChangeResult, head: number, mayOvertake: boolean): void {
    const { ops, trace } = this.#space();
    trace.note(
      `${change.id} ${entityKey(change)} ${change.operation} on ${JSON.stringify(change.base)}: ${result.status} ${result.seq ?? ''}`,
    );
    trace.count(`outcome: ${result.status}`);
    if (result.status === 'needs-full' || result.status === 'conflict') return;
    const isKnown = this.#decided.has(change.id);
    if (result.status === 'duplicate') {
      if (isKnown) return;
      require(this.#isVoid(change), 'I1', () => `${change.id} is no duplicate: it was never there`);
      return this.#checkVoid(change);
    }
    if (result.status === 'rejected' && isKnown) return;
    require(!isKnown, 'I2', () => `${change.id} was decided again: ${result.status}`);
    this.#decided.add(change.id);

    const op = ops.waiting(change);
    op.fate = { status: result.status, seq: result.seq, position: result.seq ?? head };
    if (result.seq !== undefined) ops.nameVersion(result.version ?? change.id, op);
    if (result.status === 'rejected') {
      trace.count(`outcome: rejected ${result.code}`);
      return;
    }
    this.#checkCauses(op, mayOvertake);
    this.#checkKept(change, result, head);
    this.#checkSeen(change, op, result, head);
  }

  /** What is void was never acknowledged. */
  #checkVoid(change: Change): void {
    const { ops, trace, nodes } = this.#space();
    const op = ops.waiting(change);
    if (op.writer === undefined || op.isLost) return;
    const detail = `${op.dot} was acknowledged, and is void`;
    const hasFormerLife = nodes.some(({ nodeId, disks }) => nodeId === op.nodeId && disks > 0);
    if (!hasFormerLife) throw new Violation('I1', detail);
    ops.lose(op);
    report('former life', trace, 'I1', detail);
  }

  #checkCauses(op: Op, mayOvertake: boolean): void {
    for (const cause of op.causes) {
      if (cause.fate !== undefined || cause.isLost) continue;
      const detail = `${op.dot} is in the cloud before ${cause.dot}, which its writer had seen`;
      const isOvertaken = mayOvertake && cause.nodeId === op.nodeId;
      if (!isOvertaken) throw new Violation('I5', detail);
      report('overtaken cause', this.#space().trace, 'I5', detail);
    }
  }

  /** What a change did is in the history, and what lost is in a record. */
  #checkKept(change: Change, { seq, status, conflictId }: ChangeResult, head: number): void {
    const { history, cloud, trace } = this.#space();
    const key = entityKey(change);
    const before = history.at(key, head);
    if (seq !== undefined) {
      const after = history.at(key, seq);
      require(after?.seq === seq, 'I1', () => `${change.id} should be seq ${seq} of ${key}`);
    }
    if (conflictId === undefined) {
      if (seq === undefined) this.#checkNoLoss(change, status, before);
      return;
    }
    const record = cloud.disk.readConflict(conflictId);
    require(record !== undefined, 'I1', () => `${change.id} has no conflict record ${conflictId}`);
    if (record === undefined) return;
    const { strategy } = record.resolution.metadata;
    trace.count(`conflict: ${record.type} ${strategy}`);
    const isWhole = record.remote.version === change.id && record.local.version === before?.version;
    require(isWhole, 'I1', () => `${conflictId} is not of ${change.id} and ${before?.version}`);
    if (strategy === 'lww' || strategy === 'latest') this.#checkLatest(change, record.remote.stamp, before, seq);
  }

  /** Without a record and without an effect, there was nothing to lose. */
  #checkNoLoss(change: Change, status: ChangeResult['status'], before: EntityVersion | undefined): void {
    const data = before?.data ?? null;
    const isSame = change.operations === undefined && jsonEqual(change.data ?? null, data);
    require(isSame, 'I1', () => `${change.id} had no effect (${status}), and there is no record of it`);
  }

  #checkLatest(change: Change, stamp: string, before: EntityVersion | undefined, seq: number | undefined): void {
    if (before === undefined) return;
    const isLater = stamp > before.stamp;
    require(isLater === (seq !== undefined), 'I3', () => {
      return `${change.id} of ${stamp} ${isLater ? 'lost to' : 'won over'} ${before.version} of ${before.stamp}`;
    });
  }

  /** Only who has seen a version may replace it without a conflict. */
  #checkSeen(change: Change, op: Op, { seq, conflictId }: ChangeResult, head: number): void {
    const { history, ops, trace } = this.#space();
    const key = entityKey(change);
    const before = history.at(key, head);
    if (before === undefined || seq === undefined || op.disk === undefined || conflictId !== undefined) return;
    if (change.consistency === 'strong' && change.operations !== undefined) return;
    const after = history.at(key, seq);
    const isAgreement = after !== undefined && jsonEqual(after.data, before.data);
    const author = ops.behind(before);
    if (isAgreement || hasSeen(op, before, author)) return;
    const isDeleted = before.data === null;
    const detail = isDeleted
      ? `${change.id} brought ${key} back, without having seen ${before.version}`
      : `${change.id} replaced ${before.version} unseen, without a record`;
    const rule = isDeleted ? 'I12' : 'I1';
    if (author.stamp === undefined) return report('strong under way', trace, rule, detail);
    if (knowsOtherLife(op, author)) return report('former life', trace, rule, detail);
    const mayMerge = policyFor(policies, change.entityType).conflict === 'merge';
    require(isDeleted || mayMerge, 'I1', () => detail);
    require(!isDeleted, 'I12', () => detail);
  }

  #isVoid({ id }: Change): boolean {
    const dot = parseDot(id);
    return this.#void.some(
      ({ nodeId, from, to }) => nodeId === dot?.node && from <= dot.counter && dot.counter <= to,
    );
  }
}

/** By what its writer really saw, not by the clock that it carries. */
function hasSeen(op: Op, version: EntityVersion, author: Op): boolean {
  if (op.past.cloud >= version.seq) return true;
  // What a conflict made is nobody's own.
  if (version.version.startsWith('cloud:')) return false;
  if (op.past.shown.has(author)) return true;
  // A node shows what waits in its queue.
  return author.stamp !== undefined && author.nodeId === op.nodeId && author.disk === op.disk;
}

/** Whether it is, or saw something, of the node that wrote the other, from before or after that node lost its disk. */
function knowsOtherLife({ nodeId, disk, past }: Op, author: Op): boolean {
  const isOtherLife = (seen: Pick<Op, 'nodeId' | 'disk'>) => seen.nodeId === author.nodeId && seen.disk !== author.disk;
  return isOtherLife({ nodeId, disk }) || [...past.shown].some(isOtherLife);
}
