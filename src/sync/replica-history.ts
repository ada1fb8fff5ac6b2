import { type Change, dotOf } from '../core/change.ts';
import { type DotSet, EMPTY_DOT_SET, has, lastOf } from '../core/dot-set.ts';
import { entityKey } from '../core/ids.ts';
import { isWhole, unitsOf } from '../core/transaction.ts';
import { SyncError } from '../protocol/errors.ts';
import type { HandshakeAnswer } from '../protocol/messages.ts';
import type { Frontier } from './frontier.ts';
import type { QueuedChange } from './ports.ts';
import type { Pull } from './pull.ts';
import { doubted, givenBack, sinceOf, withoutHistory } from './queued-change.ts';
import { renumber } from './renumber.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ReplicaView } from './replica-view.ts';

/**
 * Which history a replica is of. The cloud may turn out to be in another one, for it was lost; or to know more of this node
 * than the node does, for its storage was lost, or went back. Nothing that waits here is lost by that, and nothing is taken
 * for what it isn't.
 */
export class ReplicaHistory {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #pull: Pull;
  /** What was at a place behind this one at the start had never left. */
  readonly #sentBefore: number;
  /** Changes up to this counter were made on what was another history. */
  #formerUpTo = 0;
  /** The cloud has another change under a counter of this node. */
  #isForked = false;
  /** That was found and mended since the start: the storage had gone back. */
  #hasGoneBack = false;

  constructor(state: ReplicaState, view: ReplicaView, frontier: Frontier, pull: Pull) {
    this.#state = state;
    this.#view = view;
    this.#frontier = frontier;
    this.#pull = pull;
    this.#sentBefore = state.meta.sentTo ?? Number.POSITIVE_INFINITY;
  }

  /** The cloud refused a batch, for it has another change under a counter of this node: the next handshake sees to that. */
  noteFork(): void {
    this.#isForked = true;
  }

  /**
   * Takes over what the cloud said: its history's identity, its time, and what it has of this node.
   *
   * @throws SyncError `node_forked` where a copy of this node is alive. Nothing has changed then.
   */
  adopt(answer: HandshakeAnswer, sentAtMs: number, answeredAtMs: number): void {
    const { store, queue, nodeId } = this.#state;
    const clockOffsetMs = Math.round(answer.serverTime - (sentAtMs + answeredAtMs) / 2);
    const { epoch: before, presumedEpoch } = this.#state.meta;
    const isOtherHistory = before !== answer.epoch;
    const isUnexpected = isOtherHistory && (before ?? presumedEpoch ?? answer.epoch) !== answer.epoch;
    const hasGoneBack = !isOtherHistory && (this.#isForked || this.#isAhead(answer.received));
    // A storage goes back once; what does so again and again is another node of this name.
    if (hasGoneBack && this.#hasGoneBack) {
      throw new SyncError('node_forked', `a copy of ${nodeId} writes under its name; one of the two needs another`);
    }
    this.#pull.noteReported(answer.received);
    if (isOtherHistory) for (const { change } of store.readQueue(0)) this.#view.note(entityKey(change));
    if (hasGoneBack) for (const { change } of queue.all()) this.#view.note(entityKey(change));
    store.transaction(() => {
      const former = before === null || hasGoneBack ? this.#goBehind(answer.received, before === null) : 0;
      if (isOtherHistory || answer.mode === 'snapshot') this.#pull.beginAnew();
      this.#state.saveMeta({
        clockOffsetMs,
        epoch: answer.epoch,
        presumedEpoch: undefined,
        counter: this.#state.counter,
        ...(former > 0 ? { ownFrom: former + 1 } : {}),
        ...(isOtherHistory
          ? { cursor: 0, received: EMPTY_DOT_SET, settled: { upTo: former, extra: [] }, settledAt: [] }
          : {}),
      });
      if (isUnexpected) this.#giveBack();
    });
    if (isUnexpected) this.#formerUpTo = this.#state.counter;
    this.#hasGoneBack ||= hasGoneBack;
    this.#isForked = false;
    if (isOtherHistory) this.#frontier.forgetArrived();
    this.#view.tell();
  }

  /** A change that is in no row of the queue, as it goes now. */
  asOfNow(change: Change): Change {
    const ofNow = dotOf(change).counter > this.#formerUpTo ? change : withoutHistory(change);
    return this.#hasGoneBack ? { ...ofNow, isDoubtful: true } : ofNow;
  }

  /** Whether the cloud has counters of this node that this storage has not made, or has never sent. */
  #isAhead(received: DotSet): boolean {
    const { queue, counter } = this.#state;
    if (lastOf(received) > counter) return true;
    return [...queue.all()].some((queued) => {
      const isUnsent = this.#state.isOfThisStart(queued) || queued.order > this.#sentBefore;
      return isUnsent && queued.error === null && !queue.wasSent(queued) && has(received, sinceOf(queued));
    });
  }

  /**
   * The cloud has counters of this node that it knows nothing of: a node that lost its storage, or whose storage went back.
   * What it wrote before it could ask may have counters that stand for others there. What was surely never sent gets new
   * ones; of the rest the cloud has to tell, and where it can't, people.
   *
   * @param isEmpty whether nothing in the queue was ever sent.
   * @returns the last counter of the former life.
   */
  #goBehind(received: DotSet, isEmpty: boolean): number {
    const { store, queue } = this.#state;
    const last = lastOf(received);
    if (last === 0) return 0;
    this.#state.skipTo(last);
    const waiting = [...queue.all()].filter(({ error }) => isEmpty || error === null);
    const isNew = (queued: QueuedChange) => isEmpty || (this.#state.isOfThisStart(queued) && !queue.wasSent(queued));
    const own = waiting.filter(isNew);
    renumber(this.#state, own, last);
    for (const queued of waiting.filter((one) => !own.includes(one))) {
      const next = doubted(queued, received, last);
      store.writeQueued(next);
      queue.put(next);
    }
    return last;
  }

  /**
   * Another history may lack what the former one had of this node: all that is still here waits again, whole, for there
   * may be no record to apply operations to. Places of what the cloud had may have been given out again, so all get new
   * ones; and none of the rows is free any more.
   */
  #giveBack(): void {
    const { store, queue } = this.#state;
    const waiting = [...queue.all()].sort((a, b) => a.order - b.order);
    const had = store.readQueue(0).filter(({ change }) => queue.get(change.id) === undefined);
    had.sort((a, b) => dotOf(a.change).counter - dotOf(b.change).counter);
    const all = [...had, ...waiting];
    const parts = partsOf(all.map(({ change }) => change));
    const kept = all.map((queued, index) => {
      const { change } = queued;
      const left = parts.has(change) ? { ...queued, change: { ...change, transaction: undefined } } : queued;
      return givenBack(left, index + 1);
    });
    for (const queued of kept) store.writeQueued(queued);
    this.#state.replaceQueue(kept);
    this.#state.saveMeta({ sentTo: Math.max(kept.length, this.#state.meta.sentTo ?? 0) });
  }
}

/** Of a transaction some rows may have been used again: what is left of it can't be taken for all. */
function partsOf(changes: readonly Change[]): ReadonlySet<Change> {
  const isPart = (unit: readonly Change[]) =>
    unit.some(({ transaction }) => transaction !== undefined && !isWhole(transaction, unit.map(dotOf)));
  return new Set(unitsOf(changes).filter(isPart).flat());
}
