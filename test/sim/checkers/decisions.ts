import { type Change, dotOf, PRIORITIES } from '../../../src/core/change.ts';
import { type EntityKey, entityKey, splitKey, toEntityId } from '../../../src/core/ids.ts';
import { policyFor } from '../../../src/core/policy.ts';
import { type ChangeResult, change as changeSchema } from '../../../src/protocol/messages.ts';
import type { Sequencing } from '../cloud-host.ts';
import { named } from '../names.ts';
import type { Op } from '../op.ts';
import { policies } from '../policies.ts';
import type { Space } from '../space.ts';
import { require, Violation } from '../violation.ts';
import { Fields } from './fields.ts';
import { checkLosses } from './losses.ts';
import { checkSight } from './sight.ts';

/**
 * What the cloud says of each change, held against what it did and what the writers had seen: each dot is decided once
 * (I2), and causes before their effects (I5).
 */
export class Decisions {
  readonly #space: () => Space;
  readonly #fields: Fields;
  readonly #decided = new Set<string>();
  /** What has to be sent once more. */
  readonly #deferred = new Set<string>();
  readonly #voids: { readonly nodeId: string; readonly from: number; readonly to: number }[] = [];

  constructor(space: () => Space) {
    this.#space = space;
    this.#fields = new Fields(space);
  }

  sequenced({ batch, answer, headBefore }: Sequencing): void {
    for (const [from, to] of batch.void ?? []) this.#voids.push({ nodeId: batch.sourceNodeId, from, to });
    const changes = batch.changes.map((envelope) => changeSchema.parse(envelope));
    const results = new Map(answer.results.map((result) => [result.id, result]));
    let head = headBefore;
    for (const change of changes) {
      const result = results.get(change.id);
      if (result === undefined) throw new Violation('I1', `the cloud said nothing of ${change.id}`);
      this.#take(change, result, head);
      head = Math.max(head, result.seq ?? 0);
    }
    // Within a batch all is there at once.
    const mayOvertake = changes.some(({ consistency }) => consistency === 'strong');
    const pressing = Math.min(...changes.map(({ priority = 'normal' }) => PRIORITIES.indexOf(priority)));
    for (const change of changes) this.#checkCauses(this.#space().ops.waiting(change), mayOvertake, pressing);
  }

  #take(change: Change, result: ChangeResult, head: number): void {
    const { trace } = this.#space();
    const what = `${entityKey(change)} ${change.operation} on ${JSON.stringify(change.base)}`;
    trace.note(`${change.id} ${what}: ${result.status} ${result.seq ?? ''}`);
    trace.count(`outcome: ${result.status}`);
    switch (result.status) {
      case 'needs-full':
      case 'conflict':
        this.#deferred.add(change.id);
        break;
      case 'duplicate':
        if (!this.#decided.has(change.id)) this.#checkVoid(change);
        break;
      case 'rejected':
      case 'renamed':
        // Both are said again where the answer was lost.
        if (!this.#decided.has(change.id)) this.#decide(change, result, head);
        break;
      default:
        require(!this.#decided.has(change.id), 'I2', () => `${change.id} was decided again: ${result.status}`);
        this.#decide(change, result, head);
    }
  }

  #decide(change: Change, result: ChangeResult, head: number): void {
    const space = this.#space();
    const { ops, history } = space;
    this.#decided.add(change.id);
    const op = ops.waiting(change);
    op.fate = { status: result.status, seq: result.seq, position: result.seq ?? head };
    if (result.seq !== undefined) ops.nameVersion(result.version ?? change.id, op);
    if (result.status === 'rejected') return;
    const key = meantKey(change, result);
    const meant = history.at(key, head);
    checkLosses(change, result, head, space);
    checkSight(change, op, result, meant, space);
    this.#fields.decided(change, op, result, key, meant);
  }

  /** What was never there is a duplicate only where it is void; and what is void was never acknowledged. */
  #checkVoid(change: Change): void {
    const { ops, gaps, nodes } = this.#space();
    const { counter } = dotOf(change);
    const isVoid = this.#voids.some(({ nodeId, from, to }) => {
      return nodeId === change.nodeId && from <= counter && counter <= to;
    });
    require(isVoid, 'I1', () => `${change.id} is no duplicate: it was never there`);
    const op = ops.waiting(change);
    if (op.writer === undefined || op.isLost) return;
    const detail = `${op.dot} was acknowledged, and is void`;
    const hasFormerLife = nodes.some(({ nodeId, disks }) => nodeId === op.nodeId && disks > 0);
    if (!hasFormerLife) throw new Violation('I1', detail);
    ops.lose(op);
    gaps.report('former life', 'I1', detail);
  }

  #checkCauses(op: Op, mayOvertake: boolean, pressing: number): void {
    if (op.fate === undefined || op.fate.status === 'rejected') return;
    for (const cause of op.causes) {
      if (cause.fate !== undefined || cause.isLost) continue;
      const detail = `${op.dot} is in the cloud before ${cause.dot}, which its writer had seen`;
      const { gaps, trace } = this.#space();
      if (cause.nodeId === op.nodeId && this.#deferred.has(cause.dot)) gaps.report('overtaken resend', 'I5', detail);
      else if (cause.nodeId === op.nodeId && mayOvertake) gaps.report('overtaken cause', 'I5', detail);
      else if (cause.nodeId === op.nodeId && urgencyOf(cause.key) > pressing)
        trace.count('outcome: overtaken by what presses');
      else throw new Violation('I5', detail);
      op.causes.delete(cause);
    }
  }
}

/** What presses goes before the rest of its node, with what it depends on: 0 the most, by the type's policy. */
function urgencyOf(key: EntityKey): number {
  return PRIORITIES.indexOf(policyFor(policies, splitKey(key).entityType).priority);
}

/** What a node wrote before it heard that its record has another id is meant for that one. */
function meantKey(change: Change, { entityId }: ChangeResult): EntityKey {
  return entityKey({ ...change, entityId: entityId === undefined ? change.entityId : named(toEntityId(entityId)) });
}
