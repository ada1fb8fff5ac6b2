import { type Change, dotOf } from '../../../src/core/change.ts';
import { type EntityKey, entityKey, toEntityId } from '../../../src/core/ids.ts';
import { type ChangeResult, change as changeSchema, withdrawal } from '../../../src/protocol/messages.ts';
import type { Sequencing } from '../cloud-host.ts';
import { named } from '../names.ts';
import { allOf, carrierOf, type Op } from '../op.ts';
import type { Space } from '../space.ts';
import { require, Violation } from '../violation.ts';
import { Fields } from './fields.ts';
import { checkLosses } from './losses.ts';
import type { Rows } from './rows.ts';
import { checkSight } from './sight.ts';

/**
 * What the cloud says of each change, held against what it did and what the writers had seen: each dot is decided once
 * (I2), and causes before their effects (I5).
 */
export class Decisions {
  readonly #space: () => Space;
  readonly #rows: Rows;
  readonly #fields: Fields;
  readonly #decided = new Set<string>();
  /** The newest counter of each node and entity. */
  readonly #newest = new Map<string, number>();
  /** What has to be sent once more. */
  readonly #deferred = new Set<string>();
  /** What the cloud failed at once; others go on meanwhile. */
  readonly #failed = new Set<string>();
  readonly #unbrought = new Set<string>();
  readonly #voids: { readonly nodeId: string; readonly from: number; readonly to: number }[] = [];

  constructor(space: () => Space, rows: Rows) {
    this.#space = space;
    this.#rows = rows;
    this.#fields = new Fields(space);
  }

  /** A relay tried to bring these, and could not; then the rest of that node's waits, too. */
  unbrought(dots: readonly string[]): void {
    for (const id of dots) this.#unbrought.add(dotOf({ id }).node);
  }

  sequenced({ batch, answer, headBefore }: Sequencing): void {
    for (const [from, to] of batch.void ?? []) {
      this.#voids.push({ nodeId: batch.sourceNodeId, from, to });
      this.#checkNotWaiting(batch.sourceNodeId, from, to);
    }
    const changes = batch.changes.flatMap((envelope) => this.#meant(envelope));
    const results = new Map(answer.results.map((result) => [result.id, result]));
    let head = headBefore;
    for (const change of changes) {
      const result = results.get(change.id);
      if (result === undefined) throw new Violation('I1', `the cloud said nothing of ${change.id}`);
      const together = changes.filter(
        ({ transaction }) => transaction !== undefined && transaction === change.transaction,
      );
      // What refused its transaction is held to account by itself.
      const isRefusedWith = together.some(({ id }) => isOwnRefusal(results.get(id)));
      this.#take(change, result, head, result.code === 'transaction_refused' && isRefusedWith);
      head = Math.max(head, result.seq ?? 0);
    }
    // Within a batch all is there at once.
    for (const change of changes) this.#checkCauses(change, changes);
  }

  /** A change, also where its node only says that it gives it up. */
  #meant(envelope: Sequencing['batch']['changes'][number]): Change[] {
    const withdrawn = withdrawal.safeParse(envelope);
    if (!withdrawn.success) return [changeSchema.parse(envelope)];
    const { id, nodeId } = withdrawn.data;
    this.#space().trace.count('outcome: given up');
    const waiting = this.#waitingAt(nodeId).filter((change) => change.id === id);
    if (waiting.length > 0 || this.#decided.has(id)) return waiting;
    require(this.#space().ops.hasLost(id), 'I1', () => `${id} is given up, and was not queued`);
    this.#space().trace.count('excused: given up on a lost disk');
    return [];
  }

  #take(change: Change, result: ChangeResult, head: number, isRefusedWith: boolean): void {
    const { trace, name } = this.#space();
    const what = `${entityKey(change)} ${change.operation} on ${JSON.stringify(change.base)}`;
    trace.note(`${name} ${change.id} ${what}: ${result.status} ${result.seq ?? ''}`);
    trace.count(`outcome: ${result.status}`);
    if (result.code === 'transaction_refused') trace.count('outcome: transaction refused');
    switch (result.status) {
      case 'needs-full':
      case 'conflict':
        this.#deferred.add(change.id);
        break;
      case 'deferred':
        break;
      case 'failed':
        this.#failed.add(change.id);
        break;
      case 'duplicate':
        if (!this.#decided.has(change.id)) this.#checkVoid(change);
        break;
      case 'rejected':
      case 'renamed':
        // Both are said again where the answer was lost.
        if (!this.#decided.has(change.id)) this.#decide(change, result, head, isRefusedWith);
        break;
      default:
        require(!this.#decided.has(change.id), 'I2', () => `${change.id} was decided again: ${result.status}`);
        this.#decide(change, result, head, isRefusedWith);
    }
  }

  #decide(change: Change, result: ChangeResult, head: number, isRefusedWith: boolean): void {
    const space = this.#space();
    const { ops, history, cloud } = space;
    this.#decided.add(change.id);
    const op = ops.waiting(change);
    const formerFate = op.formerFates.at(-1);
    const wasApplied = formerFate !== undefined && formerFate.status !== 'rejected';
    const isRefused = result.status === 'rejected';
    if (isRefused && wasApplied && !isRefusedWith) {
      const excuse = result.code === 'internal' ? 'the cloud failed' : 'behind a refused one';
      const isExcused = result.code === 'internal' || ops.isBehindRefused(op);
      require(isExcused, 'I1', () => `${op.dot} was given back, and refused: ${result.code} ${result.detail}`);
      space.trace.count(`excused: given back and refused, ${excuse}`);
    }
    const { status, seq } = result;
    ops.decide(op, { status, epoch: cloud.epoch, seq, position: seq ?? head });
    if (result.seq !== undefined) ops.nameVersion(result.version ?? change.id, op);
    if (isRefused) return;
    this.#checkOrder(change, op);
    const key = meantKey(change, result);
    const meant = history.at(key, head);
    checkLosses(change, op, result, head, space);
    checkSight(change, op, result, meant, space);
    this.#fields.decided(change, op, result, key, meant);
  }

  /** What was never there is a duplicate only where it is void; and what is void was never acknowledged. */
  #checkVoid(change: Change): void {
    const { ops } = this.#space();
    const { counter } = dotOf(change);
    const isVoid = this.#voids.some(({ nodeId, from, to }) => {
      return nodeId === change.nodeId && from <= counter && counter <= to;
    });
    require(isVoid, 'I1', () => `${change.id} is no duplicate: it was never there`);
    const op = ops.waiting(change);
    if (op.writer === undefined || op.isLost) return;
    const detail = `${op.dot} was acknowledged, and is void`;
    throw new Violation('I1', detail);
  }

  /** What waits is not void. */
  #checkNotWaiting(nodeId: string, from: number, to: number): void {
    const { nodes, ops, trace } = this.#space();
    const node = nodes.find((one) => one.nodeId === nodeId);
    if (node === undefined) return;
    for (const change of this.#waitingAt(nodeId)) {
      const { counter } = dotOf(change);
      if (counter < from || to < counter || ops.waiting(change).fate !== undefined) continue;
      // It is of a former life, and this one has not asked yet where its counters go on.
      const isOfFormerLife = node.disks > 0 && node.disk.readMeta()?.epoch == null;
      require(isOfFormerLife, 'I1', () => `${change.id} waits, and is void`);
      trace.count('excused: void by a former life');
    }
  }

  /** What a node wrote to one entity takes effect in the order in which it was written. */
  #checkOrder(change: Change, op: Op): void {
    // A strong write takes its place when it is sequenced.
    if (op.disk === undefined || op.stamp === undefined) return;
    const place = `${change.nodeId} ${change.entityType}/${change.entityId}`;
    const newest = this.#newest.get(place) ?? 0;
    const { counter } = dotOf(change);
    this.#newest.set(place, Math.max(newest, counter));
    const isInOrder = newest < counter || this.#deferred.has(change.id);
    require(isInOrder, 'I5', () => `${change.id} was overtaken by ${newest}, of the same node and entity`);
  }

  /** Whether the cloud failed at a write that waits, or at one that it waits for: of its records, or of their transactions. */
  #hasFailed({ nodeId, key }: Op): boolean {
    const node = this.#space().nodes.find((one) => one.nodeId === nodeId);
    const rows = node === undefined ? [] : [...this.#rows.of(node).values()].map(({ queued }) => queued);
    const waiting = rows.filter(({ error }) => error === null);
    const keys = keysWith(key, this.#waitingAt(nodeId));
    return waiting.some(({ change, retryCount }) => {
      return keys.has(entityKey(change)) && (retryCount > 0 || this.#failed.has(change.id));
    });
  }

  /** By a clock that jumps nobody knows what has waited for long, and goes before what presses. */
  #hasJumped(nodeId: string): boolean {
    const { nodes, cloud } = this.#space();
    return cloud.clock.hasJumped || nodes.some((node) => node.nodeId === nodeId && node.clock.hasJumped);
  }

  #waitingAt(nodeId: string): Change[] {
    const node = this.#space().nodes.find((one) => one.nodeId === nodeId);
    const rows = node === undefined ? [] : [...this.#rows.of(node).values()];
    return rows.filter(({ settledAtMs }) => settledAtMs === undefined).map(({ queued }) => queued.change);
  }

  #checkCauses(change: Change, batch: readonly Change[]): void {
    const { ops, trace } = this.#space();
    const op = ops.waiting(change);
    if (op.fate === undefined || op.fate.status === 'rejected') return;
    for (const cause of [...allOf(op)].flatMap(({ causes }) => [...causes])) {
      if (cause.fate !== undefined || cause.isLost) continue;
      for (const each of allOf(op)) each.causes.delete(cause);
      const why = this.#whyOvertaken(cause, op, change, batch);
      require(why !== undefined, 'I5', () =>
        `${op.dot} is in the cloud before ${cause.dot}, which its writer had seen`);
      trace.count(`outcome: overtaken ${why}`);
    }
  }

  /** What lets a write go before one that its writer had seen; undefined: nothing does. */
  #whyOvertaken(cause: Op, op: Op, change: Change, batch: readonly Change[]): string | undefined {
    const key = entityKey(change);
    const waiting = this.#waitingAt(change.nodeId);
    // Its record may have got another id since.
    const queued = waiting.find(({ id }) => id === carrierOf(cause).dot);
    const isOfOtherRecord = (queued === undefined ? cause.key : entityKey(queued)) !== key;
    // A relay whose clock jumps takes what it keeps for too old.
    const isStuck = this.#unbrought.has(cause.nodeId) || this.#hasJumped(op.nodeId);
    if (cause.nodeId !== op.nodeId) return isStuck ? 'where its relay could not bring it' : undefined;
    if (!isOfOtherRecord) return undefined;
    if (this.#hasFailed(cause)) return 'where it failed';
    // With it goes what was written to the same entity before it, and what takes effect with that.
    const keys = keysWith(key, [...batch, ...waiting]);
    const hasStrong = [...keys].some((each) => this.#space().ops.hasStrongUnderWay({ ...op, key: each }));
    if (batch.some(isStrong) || hasStrong) return 'by what somebody waits for';
    if ([...batch, ...waiting].some((other) => keys.has(entityKey(other)) && presses(other))) return 'by what presses';
    if (this.#hasJumped(op.nodeId)) return 'by age';
    return op.absorbed.size > 0 ? 'by what went into an earlier one' : undefined;
  }
}

/** An entity, with those that are written in one transaction with it, and so on. */
function keysWith(key: EntityKey, changes: readonly Change[]): ReadonlySet<EntityKey> {
  const keys = new Set([key]);
  for (const each of keys) {
    for (const { transaction } of changes.filter((change) => entityKey(change) === each)) {
      if (transaction === undefined) continue;
      for (const other of changes) if (other.transaction === transaction) keys.add(entityKey(other));
    }
  }
  return keys;
}

function isOwnRefusal(result: ChangeResult | undefined): boolean {
  return result?.status === 'rejected' && result.code !== 'transaction_refused';
}

function isStrong({ consistency }: Change): boolean {
  return consistency === 'strong';
}

function presses({ priority = 'normal' }: Change): boolean {
  return priority !== 'normal';
}

/** What a node wrote before it heard that its record has another id is meant for that one. */
function meantKey(change: Change, { entityId }: ChangeResult): EntityKey {
  return entityKey({ ...change, entityId: entityId === undefined ? change.entityId : named(toEntityId(entityId)) });
}
