import { assert } from '../core/assert.ts';
import { type Change, dotOf } from '../core/change.ts';
import { formatDot } from '../core/dot.ts';
import { has } from '../core/dot-set.ts';
import { type HlcState, observe, parseStamp, type Stamp, stampOf, tick } from '../core/hlc.ts';
import { CLOUD, type EntityType, entityKey, type NodeId } from '../core/ids.ts';
import { type Policies, type Policy, policyFor } from '../core/policy.ts';
import { entry } from '../core/vector-clock.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { Beside } from './beside.ts';
import { Memos } from './memos.ts';
import { OfflineQueue } from './offline-queue.ts';
import type { Clock, QueuedChange, ReplicaMeta, ReplicaStore } from './ports.ts';
import { QueueSlots } from './queue-slots.ts';
import { sinceOf, UNTRIED } from './queued-change.ts';
import { freshMeta, settledBefore } from './replica-meta.ts';

export interface StateOptions {
  readonly store: ReplicaStore;
  readonly nodeId: NodeId;
  readonly policies: Policies;
  readonly clock: Clock;
  /**
   * The only entity types that this replica holds; undefined: all that its token allows. It may be another filter than
   * that of the former start. What is written of other types is pending here, and gone when the cloud has it.
   */
  readonly entityTypes?: readonly EntityType[] | undefined;
}

/**
 * What the parts of a replica share: its store, and in memory what it knows beside its records, as it is read from there at
 * start. A part makes all of a step durable in one transaction, and each row before it tells the queue of it.
 */
export class ReplicaState {
  readonly nodeId: NodeId;
  readonly store: ReplicaStore;
  readonly memos: Memos;
  /** What others wrote, and is shown here. */
  readonly beside = new Beside();
  readonly #policies: Policies;
  readonly #clock: Clock;
  /** Changes behind this counter were made since the start. */
  readonly #startedAt: number;
  #meta: ReplicaMeta;
  #queue: OfflineQueue;
  #slots: QueueSlots;
  /** The counter of the newest change. */
  #counter: number;
  #hlc: HlcState;

  constructor({ store, nodeId, policies, clock, entityTypes }: StateOptions) {
    this.nodeId = nodeId;
    this.store = store;
    this.memos = new Memos(store, clock);
    this.#policies = policies;
    this.#clock = clock;
    this.#meta = store.readMeta() ?? freshMeta(nodeId, entityTypes);
    assert(this.#meta.nodeId === nodeId, 'a store belongs to one node');
    const stored = store.readQueue(this.#meta.settled.upTo).filter((queued) => !this.#isSettled(queued));
    this.#queue = this.#restored(stored);
    this.#slots = new QueueSlots(store);
    this.#counter = stored.reduce((max, { change }) => Math.max(max, dotOf(change).counter), this.#meta.counter);
    this.#startedAt = this.#counter;
    this.#hlc = stored.reduce((hlc, { change }) => observe(hlc, change.stamp, 0), this.#meta.hlc);
  }

  get meta(): ReplicaMeta {
    return this.#meta;
  }

  get queue(): OfflineQueue {
    return this.#queue;
  }

  get counter(): number {
    return this.#counter;
  }

  get hlc(): HlcState {
    return this.#hlc;
  }

  /** The cloud's time, as far as this node can tell, ms. */
  nowMs(): number {
    return this.#clock.nowMs() + this.#meta.clockOffsetMs;
  }

  /** How many changes wait here. */
  get pending(): number {
    const { pending, failed } = this.#queue.stats(this.nowMs());
    return pending + failed;
  }

  /** The stamp of what is written at a time. */
  stampAt(ms: number): Stamp {
    return stampOf(tick(this.#hlc, ms), this.nodeId);
  }

  /** The name of a change of this node. */
  dot(counter: number): string {
    return formatDot({ node: this.nodeId, counter });
  }

  policyOf({ entityType }: { readonly entityType: string }): Policy {
    return policyFor(this.#policies, entityType);
  }

  saveMeta(changed: Partial<ReplicaMeta>): void {
    const meta = { ...this.#meta, ...changed };
    this.store.transaction(() => this.store.writeMeta(meta));
    this.#meta = meta;
  }

  /** The head's transaction has gone through. */
  reachedHead(meta: ReplicaMeta): void {
    this.#meta = meta;
    this.#hlc = meta.hlc;
  }

  // --- counters ---

  /** The change was made: its counter is spent, and what comes after it gets a later stamp. */
  took(change: Change): void {
    this.#counter = dotOf(change).counter;
    this.#hlc = observe(this.#hlc, change.stamp, 0);
  }

  /** What others wrote is shown here: what is written from now on comes after it, unless that is of no honest clock. */
  saw(changes: readonly Change[]): void {
    const nowMs = this.nowMs();
    for (const { stamp } of changes) {
      const { wallMs = 0 } = parseStamp(stamp) ?? {};
      if (wallMs < nowMs + LIMITS.maxClockDriftMs) this.#hlc = observe(this.#hlc, stamp, nowMs);
    }
  }

  /** All counters up to here are spent. */
  skipTo(counter: number): void {
    this.#counter = Math.max(this.#counter, counter);
  }

  /** Whether all that went into a change was written since the start. */
  isOfThisStart(queued: QueuedChange): boolean {
    return sinceOf(queued) > this.#startedAt;
  }

  // --- the queue's rows ---

  newRow(change: Change, bytes: number, slot = this.#freeSlot()): QueuedChange {
    const { nextOrder: order } = this.#queue;
    return { slot, order, change, queuedAtMs: this.nowMs(), bytes, ...UNTRIED, error: null };
  }

  /** Changes that wait are in another state: their rows first, then the queue. */
  rewrite(all: readonly QueuedChange[]): void {
    this.store.transaction(() => {
      for (const queued of all) this.store.writeQueued(queued);
    });
    for (const queued of all) this.#queue.put(queued);
  }

  /** The row is gone. */
  removed({ slot, change }: QueuedChange): void {
    this.#queue.remove(change.id);
    this.#slots.giveBack(slot);
  }

  /** These are all that waits, and none of the rows is free any more. */
  replaceQueue(all: readonly QueuedChange[]): void {
    this.#queue = new OfflineQueue(all);
    this.#slots = new QueueSlots(this.store);
  }

  /**
   * @param forDead the room is for what was dead: that there is much of it is no reason to leave it so.
   * @throws SyncError `queue_full`
   */
  checkRoom(bytes: number, { forDead = false } = {}): void {
    const { waitingBytes, deadBytes } = this.#queue;
    if (waitingBytes + bytes > LIMITS.queueBytes) {
      throw new SyncError('queue_full', `${waitingBytes} bytes wait for the cloud; the write was not accepted`, {
        retryAfterMs: 30_000,
      });
    }
    if (deadBytes <= LIMITS.deadBytes || forDead) return;
    const detail = `${deadBytes} bytes of dead letters are here; somebody has to send them again or give them up`;
    throw new SyncError('queue_full', `${detail}; the write was not accepted`);
  }

  #freeSlot(): number {
    return this.#slots.take(settledBefore(this.#meta, this.nowMs() - LIMITS.retainSyncedMs));
  }

  // --- the start ---

  /** What never left may yet change, as before; what is made from now on begins behind what counts as sent. */
  #restored(stored: readonly QueuedChange[]): OfflineQueue {
    const { sentTo = Number.POSITIVE_INFINITY } = this.#meta;
    const isSent = ({ order, error }: QueuedChange) => order <= sentTo && error === null;
    const behind = stored.some(isSent) && Number.isFinite(sentTo) ? sentTo : 0;
    return new OfflineQueue(stored, behind, (queued) => queued.order > sentTo && this.#isOnTop(queued));
  }

  /** Whether a change was made on the confirmed version of its record that is there now, as far as the two tell. */
  #isOnTop({ change }: QueuedChange): boolean {
    const record = this.store.readRecord(entityKey(change));
    const seen = entry(change.base, CLOUD);
    return record === undefined ? seen === this.#meta.cursor : record.seq <= seen;
  }

  #isSettled({ change, error }: QueuedChange): boolean {
    return error === null && has(this.#meta.settled, dotOf(change).counter);
  }
}
