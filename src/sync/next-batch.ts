import { type Change, dotOf, isDelta, type Priority } from '../core/change.ts';
import { digestOf, digestTotal } from '../core/digest.ts';
import { addAll, gaps, type Interval } from '../core/dot-set.ts';
import { CLOUD } from '../core/ids.ts';
import { unitsOf } from '../core/transaction.ts';
import { batchChecksum } from '../protocol/batch-checksum.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Batch, Withdrawal } from '../protocol/messages.ts';
import type { QueuedChange } from './ports.ts';
import type { Pull } from './pull.ts';
import { changeBytes, goesAlone, isWithdrawal, onWire, sinceOf } from './queued-change.ts';
import type { ReplicaHistory } from './replica-history.ts';
import type { ReplicaState } from './replica-state.ts';
import type { StrongWrites } from './strong-writes.ts';

export interface BatchBounds {
  readonly maxChanges: number;
  readonly maxBytes: number;
  /** The least pressing priority that may go. */
  readonly least: Priority;
  /** False: every change goes with its whole record, if there is one. */
  readonly deltas?: boolean;
}

export interface NextBatchParts {
  readonly state: ReplicaState;
  readonly strong: StrongWrites;
  readonly pull: Pull;
  readonly history: ReplicaHistory;
}

/** What this replica sends next: what waits in the queue, what somebody waits for, and what will never come. */
export class NextBatch {
  readonly #state: ReplicaState;
  readonly #strong: StrongWrites;
  readonly #pull: Pull;
  readonly #history: ReplicaHistory;

  constructor({ state, strong, pull, history }: NextBatchParts) {
    this.#state = state;
    this.#strong = strong;
    this.#pull = pull;
    this.#history = history;
  }

  /** Whether there is something to send, of at least the given priority or old enough. */
  isThere(least: Priority): boolean {
    return this.#state.queue.hasUnsent(least, this.#state.nowMs()) || this.#voids().length > 0;
  }

  /**
   * What waits, in order, then the changes that somebody waits for, and the cursor to pull from. What it takes of the queue
   * is `syncing` until it is answered. A strong change goes behind all that waits for its entity, so there may be no place
   * for it yet.
   */
  take(batchId: string, bounds: BatchBounds, strong: readonly Change[]): Batch {
    const { queue, meta, nodeId } = this.#state;
    const selected = this.#select(bounds, strong);
    this.#noteSent(selected);
    queue.markInFlight(selected.map(({ change }) => change.id));
    const beside = this.#beside(selected, bounds, strong);
    const voids = this.#voids(new Set(selected)).slice(0, LIMITS.intervals);
    const changes = selected.map((queued) => onWire(bounds.deltas === false ? { ...queued, needsFull: true } : queued));
    const batch: Batch = {
      batchId,
      sourceNodeId: nodeId,
      targetNodeId: CLOUD,
      ...this.#pull.place,
      lastSyncTimestamp: Math.max(0, Math.floor(meta.lastSyncMs)),
      changes: [...changes, ...beside],
      ...(voids.length === 0 ? {} : { void: voids }),
      pending: this.#state.pending,
      newest: this.#state.counter,
    };
    return { ...batch, ...madeBy(selected, changes), checksum: batchChecksum(batch) };
  }

  /** What goes of the queue. */
  #select({ maxChanges, maxBytes, least }: BatchBounds, strong: readonly Change[]): readonly QueuedChange[] {
    const { queue } = this.#state;
    if (queue.isHeld) return [];
    const selected = queue.select({
      // Half of the batch at most is kept free for those: a long queue mustn't let them wait, nor they the queue.
      maxChanges: maxChanges - Math.min(strong.length, Math.floor(maxChanges / 2)),
      maxBytes: strong.length === 0 ? maxBytes : maxBytes / 2,
      first: new Set(strong.flatMap((change) => this.#strong.placesOf(change))),
      least,
      nowMs: this.#state.nowMs(),
    });
    // What could go now, and has to go together, goes by itself where there is no room for it beside the queue.
    const [unit] = unitsOf(strong);
    if (unit === undefined || this.#hasToWait(unit)) return selected;
    const bytes = selected.reduce((sum, queued) => sum + queued.bytes, 0);
    const isRoom = selected.length + unit.length <= maxChanges && bytes + bytesOf(unit) <= maxBytes;
    return isRoom ? selected : [];
  }

  /** What goes of that which somebody waits for. */
  #beside(selected: readonly QueuedChange[], bounds: BatchBounds, strong: readonly Change[]): Change[] {
    if (this.#state.queue.isHeld || selected.some(goesAlone)) return [];
    const beside: Change[] = [];
    const maxBeside = bounds.maxChanges - selected.length;
    let left = bounds.maxBytes - selected.reduce((bytes, queued) => bytes + queued.bytes, 0);
    for (const unit of unitsOf(strong)) {
      left -= bytesOf(unit);
      const isFirst = selected.length + beside.length === 0;
      if (maxBeside <= 0 || (!isFirst && (beside.length + unit.length > maxBeside || left < 0))) break;
      if (!this.#hasToWait(unit)) beside.push(...unit.map((change) => this.#history.asOfNow(change)));
    }
    return beside;
  }

  /** Whether something waits that it goes behind. */
  #hasToWait(unit: readonly Change[]): boolean {
    const places = unit.flatMap((change) => this.#strong.placesOf(change));
    return places.some((key) => this.#state.queue.hasUnsettledOf(key));
  }

  /**
   * Counters that were spent and stand for nothing that will be sent. What went into a change that waits is void when that
   * is sent and no sooner, for who asks for it by its counter must not be told that it is there.
   */
  #voids(sent: ReadonlySet<QueuedChange> = new Set()): Interval[] {
    const { queue, meta, counter: newest } = this.#state;
    const spent = [...this.#strong.awaited()].map((counter): Interval => [counter, counter]);
    for (const queued of queue.all()) {
      const { counter } = dotOf(queued.change);
      spent.push([queued.error !== null || sent.has(queued) ? counter : sinceOf(queued), counter]);
    }
    return gaps(addAll(meta.received, spent), newest);
  }

  /** What has left may be in the cloud, and stays as it is. That is known before it leaves, also after a crash. */
  #noteSent(selected: readonly QueuedChange[]): void {
    const last = selected.reduce((max, { order }) => Math.max(max, order), 0);
    const { sentTo } = this.#state.meta;
    if (sentTo === undefined || last > sentTo)
      this.#state.saveMeta({ sentTo: Math.max(last, sentTo ?? 0) + SENT_AHEAD });
  }
}

/** The digest of what deltas make of the records that their writer has, where these are as he knows them. */
function madeBy(selected: readonly QueuedChange[], changes: readonly (Change | Withdrawal)[]): Pick<Batch, 'digest'> {
  const deltas = new Set(changes.filter((change) => !isWithdrawal(change) && isDelta(change)).map(({ id }) => id));
  if (deltas.size === 0 || selected.some(({ isLoose }) => isLoose)) return {};
  const made = selected.filter(({ change }) => deltas.has(change.id)).map(({ change }) => versionMadeBy(change));
  return { digest: digestTotal(digestOf(made)) };
}

function versionMadeBy({ entityType, entityId, id, data }: Change) {
  return { entityType, entityId, version: id, data: data ?? null };
}

function bytesOf(changes: readonly Change[]): number {
  return changes.reduce((bytes, change) => bytes + changeBytes(change), 0);
}

/** Places that are taken for used in advance, so that not each batch costs a row: those behind them begin with the next start. */
const SENT_AHEAD = 100;
