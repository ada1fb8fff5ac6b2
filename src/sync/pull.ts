import { assert } from '../core/assert.ts';
import { type Change, dotOf } from '../core/change.ts';
import { digestTotal, digestWithin } from '../core/digest.ts';
import { type DotSet, EMPTY_DOT_SET, has } from '../core/dot-set.ts';
import { CLOUD, type EntityType, entityKey } from '../core/ids.ts';
import { admitsAll, narrowed, type TypeFilter } from '../core/type-filter.ts';
import { entry } from '../core/vector-clock.ts';
import { type Batch, type BatchAnswer, isBarred } from '../protocol/messages.ts';
import type { Frontier } from './frontier.ts';
import { keysOutside, type Merged, mergePages } from './merge-pages.ts';
import type { ReplicaMeta, StagedPage } from './ports.ts';
import { forked, renumber } from './renumber.ts';
import { withSettled } from './replica-meta.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ReplicaView } from './replica-view.ts';
import { type Answered, type Settled, settle } from './settle.ts';
import type { StrongWrites } from './strong-writes.ts';

/** What an exchange brought, once it reached the head. */
export interface Confirmation {
  readonly downloaded: number;
  /** This isn't the cloud's state, or not all of it; the next pull begins at 0. */
  readonly readsAgain: boolean;
  /** Queued changes that are other than they were, and so may be answered otherwise. */
  readonly changed: number;
  /** Those of them that met another change, which the cloud leaves to this node. */
  readonly conflicts: readonly Change[];
}

export interface PullParts {
  readonly state: ReplicaState;
  readonly view: ReplicaView;
  readonly frontier: Frontier;
  readonly strong: StrongWrites;
}

/**
 * The way to the head: pages of answers are staged, and with the last one all of them become the confirmed state, in one
 * transaction. Nothing of them is visible before, and memory follows when that has gone through.
 */
export class Pull {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #strong: StrongWrites;
  /** Where the next page begins: the cursor, or behind the pages that are staged, or 0 to begin anew. */
  #from = 0;
  /** Up to where this replica has everything, as it was there, for the pull under way; 0: it can't be sure of anything. */
  #since = 0;
  #stagedPages = 0;
  /** Where the cloud was when a pull from 0 began that is under way. */
  #snapshotHead: number | undefined;
  /** What the cloud said at the handshake that it has of this node; true of the state at its head. */
  #reported: DotSet = EMPTY_DOT_SET;

  constructor({ state, view, frontier, strong }: PullParts) {
    this.#state = state;
    this.#view = view;
    this.#frontier = frontier;
    this.#strong = strong;

    // What doesn't have everything begins anew.
    this.#startAt(state.meta.asOfMs === 0 ? 0 : state.meta.cursor);
    for (const { batch, answer } of state.store.readStaged()) {
      if (this.#stagedPages === 0) this.#since = batch.since ?? 0;
      this.#noteStaged(batch, answer);
    }
  }

  /** Whether it has begun and not reached the head. */
  get isUnderWay(): boolean {
    return this.#from !== this.#state.meta.cursor;
  }

  /** What the next batch asks for. */
  get place(): Pick<Batch, 'cursor' | 'since' | 'snapshotHead'> {
    const place = { cursor: this.#from, since: this.#since };
    const isOfSnapshot = this.#since === 0 && this.#snapshotHead !== undefined;
    return isOfSnapshot ? { ...place, snapshotHead: this.#snapshotHead } : place;
  }

  /** The cloud has said that it has so much of this node. */
  noteReported(received: DotSet): void {
    this.#reported = received;
  }

  /** The next pull reads everything; what is confirmed stays visible until it has. Is part of a transaction. */
  beginAnew(): void {
    this.#state.store.clearStaged();
    this.#startAt(0);
    this.#state.queue.forgetAnswered();
  }

  #startAt(from: number): void {
    this.#stagedPages = 0;
    this.#snapshotHead = undefined;
    this.#from = from;
    this.#since = from;
  }

  /**
   * What isn't wanted any more goes; what is wanted now, and wasn't, is read from the beginning, with all the rest. Not
   * while a batch is under way.
   */
  refilter(filter: TypeFilter<EntityType>): void {
    const { store, queue, meta: before } = this.#state;
    const isWider = !admitsAll(before.filter, filter);
    if (!isWider && admitsAll(filter, before.filter)) return;
    const unwanted = [...keysOutside(store, filter)];
    for (const key of unwanted) this.#view.note(key);
    store.transaction(() => {
      this.beginAnew();
      for (const key of unwanted) store.removeRecord(key);
      const types = narrowed<string>(before.types, filter);
      const digest = digestWithin(before.digest, filter);
      this.#state.saveMeta({ filter, types, digest, session: null, asOfMs: isWider ? 0 : before.asOfMs });
    });
    // What has everything of fewer types goes on where it was.
    const { asOfMs, cursor } = this.#state.meta;
    if (asOfMs > 0) this.#startAt(cursor);
    queue.markOvertaken(unwanted);
    this.#view.tell();
  }

  /**
   * Takes an answer. A page that isn't the last is only kept; with the last one all of them become visible, and what
   * was acknowledged leaves the queue, in one transaction.
   *
   * @param askedAtMs when the batch left, by the replica's clock: everything until then is here once the head is reached.
   */
  confirm(batch: Batch, answer: BatchAnswer, askedAtMs: number): Confirmation | undefined {
    const { store, queue } = this.#state;
    if (!answer.more) return this.#reachHead({ batch, answer }, askedAtMs);
    assert(answer.cursor > batch.cursor, 'a page that is not the last goes forward');
    store.transaction(() => store.writeStaged(this.#stagedPages, { batch, answer }));
    this.#noteStaged(batch, answer);
    queue.markInFlight([]);
    return undefined;
  }

  #noteStaged(batch: Batch, answer: BatchAnswer): void {
    this.#stagedPages += 1;
    this.#from = answer.cursor;
    if (batch.cursor === 0) this.#snapshotHead = entry(answer.vectorClock, CLOUD);
    this.#state.queue.markAnswered(answer.results);
    this.#frontier.noteUnshown(batch, answer);
  }

  #reachHead(last: StagedPage, askedAtMs: number): Confirmation {
    const head = this.#state.store.transaction(() => this.#merge(last, askedAtMs));
    const { queue } = this.#state;
    for (const { change } of head.changed) this.#view.note(entityKey(change));
    // What the cloud has is not folded in any more; that it has it may be known without an answer, where that was lost.
    for (const { change } of queue.all()) {
      if (has(head.received, dotOf(change).counter)) this.#view.note(entityKey(change));
    }
    this.#state.reachedHead(head.meta);
    this.#frontier.reachedHead();
    this.#view.forgetFolds();
    for (const id of head.gone) queue.remove(id);
    this.#strong.noteMoves(head.moves);
    for (const queued of head.changed) queue.put(queued);
    this.#noteBarred(head.answered);
    queue.markInFlight([]);
    queue.forgetAnswered();
    queue.markOvertaken(head.overtaken);
    this.#reported = EMPTY_DOT_SET;
    // A state that isn't the cloud's, or not all of it, is mended by reading all of it again.
    this.#startAt(head.readsAgain ? 0 : head.meta.cursor);
    this.#view.tell();
    const conflicts = head.answered
      .filter(({ result }) => result.status === 'conflict')
      .flatMap(({ change }) => queue.get(change.id)?.change ?? []);
    const { downloaded, readsAgain, changed } = head;
    return { downloaded, readsAgain, changed: changed.length, conflicts };
  }

  /** Writes what all the pages brought, what the answers make of the queue, and where this replica is then. */
  #merge(last: StagedPage, askedAtMs: number): Head {
    const { store, queue, nodeId, meta: before } = this.#state;
    const nowMs = this.#state.nowMs();
    const merged = mergePages(this.#pages(last), {
      store,
      nodeId,
      meta: before,
      hlc: this.#state.hlc,
      reported: this.#reported,
      nowMs,
      policyOf: (entity) => this.#state.policyOf(entity),
      note: (key, deletedBy) => this.#view.note(key, deletedBy),
    });
    const answers = settle(queue, merged.answered, nowMs);
    // Nothing of those is in the cloud, so they go under new counters.
    const again = forked(this.#state, answers.changed);
    renumber(this.#state, again, this.#state.counter);
    const settled = { ...answers, changed: answers.changed.filter((queued) => !again.includes(queued)) };
    for (const queued of [...settled.changed, ...settled.restamped]) store.writeQueued(queued);
    const { digest, types } = last.answer;
    // The cloud gives more types than it gave for the first pages, or before: their past is missing.
    const isPartial = !admitsAll(merged.types, types);
    const isOther = digest !== undefined && !isPartial && digest !== digestTotal(merged.digest);
    const digestMismatch = merged.isBroken || isOther;
    const meta: ReplicaMeta = {
      ...before,
      cursor: last.answer.cursor,
      counter: this.#state.counter,
      ownFrom: undefined,
      received: merged.received,
      settled: merged.settled,
      settledAt: withSettled(before, merged.settled.upTo, nowMs),
      digest: merged.digest,
      types: merged.types,
      hlc: merged.hlc,
      asOfMs: isPartial ? 0 : askedAtMs,
      lastSyncMs: nowMs,
      digestMismatches: before.digestMismatches + (digestMismatch ? 1 : 0),
      deadTold: last.batch.report?.dead,
    };
    const isNews = merged.downloaded + merged.answered.length > 0 || meta.cursor !== before.cursor;
    const isWhole = before.asOfMs > 0 && !isPartial && !merged.isNarrowed;
    const isTold = meta.deadTold !== before.deadTold;
    if (isNews || isTold || digestMismatch || !isWhole || this.#stagedPages > 0) store.writeMeta(meta);
    if (this.#stagedPages > 0) store.clearStaged();
    return { ...merged, ...settled, readsAgain: digestMismatch || isPartial, meta };
  }

  *#pages(last: StagedPage): Iterable<StagedPage> {
    if (this.#stagedPages > 0) yield* this.#state.store.readStaged();
    yield last;
  }

  /** What the token of this node allows is known by what the cloud took, and what it didn't. */
  #noteBarred(answered: readonly Answered[]): void {
    const { queue } = this.#state;
    for (const { change, result } of answered) {
      if (change.entityType === undefined) continue;
      if (isBarred(result)) queue.markBarred(change.entityType, this.#state.nowMs());
      else if (result.status !== 'deferred' && result.status !== 'duplicate') queue.unbar(change.entityType);
    }
  }
}

/** What is there when the pages are merged. */
interface Head extends Merged, Settled {
  readonly readsAgain: boolean;
  readonly meta: ReplicaMeta;
}
