import { assert } from '../core/assert.ts';
import type { CausalContext } from '../core/causal-context.ts';
import { type Change, dotOf, isDelta, type Priority } from '../core/change.ts';
import { digestOf, digestTotal, digestWithin } from '../core/digest.ts';
import { addAll, type DotSet, EMPTY_DOT_SET, gaps, has, type Interval, lastOf } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { CLOUD, type EntityKey, type EntityType, entityKey, type NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { asTransaction, isWhole, unitsOf } from '../core/transaction.ts';
import { admitsAll, narrowed, type TypeFilter } from '../core/type-filter.ts';
import { entry, type VectorClock } from '../core/vector-clock.ts';
import { batchChecksum } from '../protocol/batch-checksum.ts';
import { type ErrorCode, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import {
  type Batch,
  type BatchAnswer,
  type HandshakeAnswer,
  type HandshakeRequest,
  isBarred,
} from '../protocol/messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { Beside } from './beside.ts';
import { DeadLetters, type Fate } from './dead-letters.ts';
import { Frontier } from './frontier.ts';
import { LocalWrites } from './local-writes.ts';
import type { Memos } from './memos.ts';
import { keysOutside, mergePages } from './merge-pages.ts';
import { OfflineQueue, type QueueStats, type QueueStatus } from './offline-queue.ts';
import type { QueuedChange, ReplicaMeta, Session, StagedPage } from './ports.ts';
import {
  afterFailure,
  changeBytes,
  doubted,
  givenBack,
  goesAlone,
  isWithdrawal,
  onWire,
  type Resolved,
  resolvedBy,
  sinceOf,
  withoutHistory,
} from './queued-change.ts';
import { withSettled } from './replica-meta.ts';
import { ReplicaState, type StateOptions } from './replica-state.ts';
import { ReplicaView, type Version, type View, type ViewPage } from './replica-view.ts';
import { type Answered, settle } from './settle.ts';
import { StrongWrites } from './strong-writes.ts';
import type { Watcher } from './visible-changes.ts';
import type { Wait } from './wait.ts';
import type { Once, Write, Written } from './write.ts';
import { WriteKeys } from './write-keys.ts';

export interface ReplicaOptions extends StateOptions {
  /** Told of every change of what this replica shows. */
  readonly watcher?: Watcher | undefined;
}

export interface BatchBounds {
  readonly maxChanges: number;
  readonly maxBytes: number;
  /** The least pressing priority that may go. */
  readonly least: Priority;
  /** False: every change goes with its whole record, if there is one. */
  readonly deltas?: boolean;
}

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

/**
 * A replica: `visible = fold(confirmed, pending)`. `confirmed` is the cloud's history up to the cursor and nothing
 * else; `pending` is the queue. A write is one row in the queue, so the record and the queue can't part.
 * `design.md`, section 1.
 */
export class Replica {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #keys: WriteKeys;
  readonly #writes: LocalWrites;
  readonly #strong: StrongWrites;
  readonly #dead: DeadLetters;
  /** Where the next page begins: the cursor, or behind the pages that are staged, or 0 to begin anew. */
  #pullFrom: number;
  /** Up to where this replica has everything, as it was there, for the pull under way; 0: it can't be sure of anything. */
  #pullSince: number;
  #stagedPages = 0;
  /** Where the cloud was when a pull from 0 began that is under way. */
  #snapshotHead: number | undefined;
  /** What the cloud said at the handshake that it has of this node; true of the state at its head. */
  #reported: DotSet = EMPTY_DOT_SET;
  /** Changes up to this counter were made on what was another history. */
  #formerUpTo = 0;
  /** What was at a place behind this one at the start had never left. */
  readonly #sentBefore: number;
  /** The cloud has another change under a counter of this node. */
  #isForked = false;
  /** That was found and mended since the start: the storage had gone back. */
  #hasGoneBack = false;

  constructor(options: ReplicaOptions) {
    this.#state = new ReplicaState(options);
    this.#view = new ReplicaView(this.#state, options.watcher);
    this.#frontier = new Frontier(this.#state);
    this.#keys = new WriteKeys(this.#state.memos, options.clock);
    this.#writes = new LocalWrites(this.#state, this.#view, this.#frontier, this.#keys);
    this.#strong = new StrongWrites(this.#state, this.#view, this.#frontier, this.#keys);
    this.#dead = new DeadLetters(this.#state, this.#view);
    this.#sentBefore = this.#state.meta.sentTo ?? Number.POSITIVE_INFINITY;

    // What doesn't have everything begins anew.
    this.#pullFrom = this.#state.meta.asOfMs === 0 ? 0 : this.#state.meta.cursor;
    this.#pullSince = this.#pullFrom;
    for (const { batch, answer } of options.store.readStaged()) {
      if (this.#stagedPages === 0) this.#pullSince = batch.since ?? 0;
      this.#noteStaged(batch, answer);
    }
    this.refilter(options.entityTypes);
  }

  // --- what is known ---

  get meta(): ReplicaMeta {
    return this.#state.meta;
  }

  get memos(): Memos {
    return this.#state.memos;
  }

  get nodeId(): NodeId {
    return this.#state.nodeId;
  }

  /** The cloud's time, as far as this node can tell, ms. */
  nowMs(): number {
    return this.#state.nowMs();
  }

  /** For how long there may be news that this replica hasn't got, ms; null: it never had everything. */
  stalenessMs(): number | null {
    const { asOfMs } = this.#state.meta;
    return asOfMs === 0 ? null : Math.max(0, this.nowMs() - asOfMs);
  }

  /** What a reader of this replica has seen. Two entries, however many nodes there are. */
  vectorClock(): VectorClock {
    return this.#frontier.vectorClock();
  }

  /** What somebody has seen now that had seen `after`: no more than the cursor, where nothing of this node's own waits. */
  causalContext(after: CausalContext = {}): CausalContext {
    return this.#frontier.causalContext(after);
  }

  /** Whether this replica can tell by itself that it has all that was seen; of another history it can't. */
  covers(seen: CausalContext): boolean {
    return this.#frontier.covers(seen);
  }

  /** The cloud says that it has that, at the head that this replica is at. */
  noteArrived(clock: VectorClock): void {
    this.#frontier.noteArrived(clock);
  }

  queueStats(): QueueStats {
    return this.#state.queue.stats(this.nowMs());
  }

  queued(): Iterable<QueuedChange> {
    return this.#state.queue.all();
  }

  /** Whether there is something to send, of at least the given priority or old enough. */
  hasUnsent(least: Priority): boolean {
    return this.#state.queue.hasUnsent(least, this.nowMs()) || this.#voids().length > 0;
  }

  /** Whether the cloud doesn't know how many changes are dead here: it is told soon, if need be by an empty batch. */
  get hasNews(): boolean {
    return this.#state.queue.dead !== (this.#state.meta.deadTold ?? 0);
  }

  /** What the cloud is told of this replica beside a batch. */
  condition() {
    const { digestMismatches } = this.#state.meta;
    return { ...this.#state.queue.backlog(this.nowMs()), dead: this.#state.queue.dead, digestMismatches };
  }

  /** Whether something waits until the token of this node allows it. */
  get isBarred(): boolean {
    return this.#state.queue.isBarred;
  }

  /** Asks for what the token didn't allow, with the next batch. */
  askAgain(): void {
    this.#state.queue.askAgain();
  }

  /** Whether anything written here waits for the cloud's last word. */
  get isWaiting(): boolean {
    return this.#state.queue.isWaiting;
  }

  /** How long until there is something to send, or to tell, ms; null: nothing waits. */
  msUntilUnsent(least: Priority): number | null {
    if (this.hasNews || this.hasUnsent(least)) return 0;
    return this.#state.queue.msUntilReady(this.nowMs());
  }

  /** As {@link DeadLetters.fateOf}. */
  fateOf(changeId: string): Fate {
    return this.#dead.fateOf(changeId);
  }

  /** As {@link OfflineQueue.list}, each with its status. */
  listQueue(status: QueueStatus | undefined, after: number, limit: number) {
    const { items, next } = this.#state.queue.list(status, after, limit);
    return { items: items.map((queued) => ({ ...queued, status: this.#state.queue.statusOf(queued) })), next };
  }

  /** Whether a pull has begun and not reached the head. */
  isPulling(): boolean {
    return this.#pullFrom !== this.#state.meta.cursor;
  }

  // --- reads ---

  read(key: EntityKey): View | undefined {
    return this.#view.read(key);
  }

  /** As {@link read}, and also what waits here to be deleted. */
  version(key: EntityKey): Version | undefined {
    return this.#view.version(key);
  }

  /** The cloud's version at the cursor; undefined: there is none, or it is deleted. */
  confirmed(key: EntityKey): EntityVersion | undefined {
    return this.#state.store.readRecord(key);
  }

  /**
   * The entities of a type behind `after`, in the order of their ids. At most `limit`, and no more than
   * `LIMITS.listBytes` after the first; `next` is the id to go on behind, if there is more.
   */
  list(type: EntityType, after: string, limit: number): ViewPage {
    return this.#view.list(type, after, limit);
  }

  // --- writes ---

  /**
   * Writes locally: durable in the queue, visible at once, not yet known to the cloud.
   *
   * @param after what the writer has seen beside what this replica shows.
   * @param once remembers what the write did, for {@link written}.
   * @throws SyncError `not_found`, `precondition_failed`, `invalid_operation`, `invalid_data`, `too_large`,
   *   `too_deep`, `queue_full`. Nothing has changed then.
   */
  write(write: Write, after: CausalContext, once?: Once): Written {
    return this.#writes.write(write, after, once);
  }

  /**
   * Writes several entities at once: all of them are durable and visible, here and wherever they arrive, or none.
   *
   * @throws SyncError as {@link write}, with the place of the write at fault; `too_large` where they don't fit in one batch.
   */
  transact(writes: readonly Write[], after: CausalContext, once?: Once): Written[] {
    return this.#writes.transact(writes, after, once);
  }

  /** As {@link WriteKeys.written}. */
  written(once: Once | undefined): readonly Written[] | undefined {
    return this.#keys.written(once);
  }

  /** As {@link WriteKeys.isFree}. */
  isFree(once: Once | undefined): boolean {
    return this.#keys.isFree(once);
  }

  /** A strong write that was refused leaves its key to others. */
  leaveKey(once: Once | undefined): void {
    this.#keys.leave(once);
  }

  /**
   * Makes changes that somebody waits for, and that take effect together. They are not queued, and not visible before the
   * cloud has them. Until {@link endStrong} their counters are neither sent as void nor used again.
   *
   * @throws SyncError `invalid_data`, `too_large`, `too_deep`, `idempotency_key_reused`. Nothing has changed then.
   */
  beginStrong(writes: readonly Write[], after: CausalContext, once?: Once): Change[] {
    return this.#strong.begin(writes, after, once);
  }

  /** Nobody waits for the changes any more; if no answer came, their counters are void from now on. */
  endStrong(changes: readonly Change[]): void {
    this.#strong.end(changes);
  }

  /**
   * Sends a dead change again, as a new one on the old one's base; with its transaction, if it was in one.
   *
   * @param data the record that it shall make instead.
   * @throws SyncError `not_found`, `not_dead`, `queue_full`; for `data` as a write, or a transaction. Nothing has changed
   *   then.
   */
  retryDead(id: string, data?: JsonObject): string {
    return this.#dead.retry(id, data);
  }

  /** Gives a dead change up, with its transaction. @throws SyncError `not_found`, `not_dead` */
  discardDead(id: string): void {
    this.#dead.discard(id);
  }

  // --- sync ---

  saveSession(session: Session | null): void {
    this.#state.saveMeta({ session });
  }

  saveWait(wait: Wait | undefined): void {
    this.#state.saveMeta({ wait });
  }

  /** Whether this storage is of an owner; it becomes that of the first one who asks. */
  belongsTo(owner: string): boolean {
    if (this.#state.meta.owner === undefined) this.#state.saveMeta({ owner });
    return this.#state.meta.owner === owner;
  }

  /** The name of this storage; `fresh` from now on, if it has none yet. */
  lifeOr(fresh: string): string {
    const { life = fresh } = this.#state.meta;
    if (this.#state.meta.life === undefined) this.#state.saveMeta({ life });
    return life;
  }

  handshakeRequest(): HandshakeRequest {
    return {
      vectorClock: this.vectorClock(),
      cursor: this.#state.meta.cursor,
      epoch: this.#state.meta.epoch,
      lastSyncTimestamp: Math.max(0, Math.floor(this.#state.meta.lastSyncMs)),
      pendingChangesCount: this.pending,
      digest: digestTotal(this.#state.meta.digest),
    };
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
    const clockOffsetMs = Math.round(answer.serverTime - (sentAtMs + answeredAtMs) / 2);
    const { epoch: before, presumedEpoch } = this.#state.meta;
    const isOtherHistory = before !== answer.epoch;
    const isUnexpected = isOtherHistory && (before ?? presumedEpoch ?? answer.epoch) !== answer.epoch;
    const hasGoneBack = !isOtherHistory && (this.#isForked || this.#isAhead(answer.received));
    // A storage goes back once; what does so again and again is another node of this name.
    if (hasGoneBack && this.#hasGoneBack) {
      throw new SyncError(
        'node_forked',
        `a copy of ${this.nodeId} writes under its name; one of the two needs another`,
      );
    }
    this.#reported = answer.received;
    if (isOtherHistory) for (const { change } of this.#state.store.readQueue(0)) this.#view.note(entityKey(change));
    if (hasGoneBack) for (const { change } of this.#state.queue.all()) this.#view.note(entityKey(change));
    this.#state.store.transaction(() => {
      const former = before === null || hasGoneBack ? this.#goBehind(answer.received, before === null) : 0;
      if (isOtherHistory || answer.mode === 'snapshot') this.#beginAnew();
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

  /**
   * The next batch: what waits, in order, then the changes that somebody waits for, and the cursor to pull from. What it
   * takes of the queue is `syncing` until it is answered. A strong change goes behind all that waits for its entity, so
   * there may be no place for it yet.
   */
  nextBatch(batchId: string, bounds: BatchBounds, strong: readonly Change[]): Batch {
    // Half of the batch at most is kept free for those: a long queue mustn't let them wait, nor they the queue.
    const room = {
      maxChanges: bounds.maxChanges - Math.min(strong.length, Math.floor(bounds.maxChanges / 2)),
      maxBytes: strong.length === 0 ? bounds.maxBytes : bounds.maxBytes / 2,
    };
    const first = new Set(strong.flatMap((change) => this.#strong.placesOf(change)));
    const isHeld = this.#state.queue.isHeld;
    const beside = isHeld ? [] : this.#state.queue.select({ ...room, first, least: bounds.least, nowMs: this.nowMs() });
    // What could go now, and has to go together, goes by itself where there is no room for it beside the queue.
    const selected = this.#isRoomFor(strong, beside, bounds) ? beside : [];
    this.#noteSent(selected);
    this.#state.queue.markInFlight(selected.map(({ change }) => change.id));
    let left = bounds.maxBytes - selected.reduce((bytes, queued) => bytes + queued.bytes, 0);
    const waited: Change[] = [];
    const isAlone = selected.some(goesAlone);
    const maxWaited = isHeld || isAlone ? 0 : bounds.maxChanges - selected.length;
    for (const unit of unitsOf(strong)) {
      left -= unit.reduce((bytes, change) => bytes + changeBytes(change), 0);
      const isFirst = selected.length + waited.length === 0;
      if (maxWaited <= 0 || (!isFirst && (waited.length + unit.length > maxWaited || left < 0))) break;
      const places = unit.flatMap((change) => this.#strong.placesOf(change));
      if (places.some((key) => this.#state.queue.hasUnsettledOf(key))) continue;
      const ofNow = unit.map((change) => (dotOf(change).counter > this.#formerUpTo ? change : withoutHistory(change)));
      waited.push(...(this.#hasGoneBack ? ofNow.map((change) => ({ ...change, isDoubtful: true as const })) : ofNow));
    }
    const voids = this.#voids(new Set(selected)).slice(0, LIMITS.intervals);
    const changes = selected.map((queued) => onWire(bounds.deltas === false ? { ...queued, needsFull: true } : queued));
    const batch: Batch = {
      batchId,
      sourceNodeId: this.nodeId,
      targetNodeId: CLOUD,
      cursor: this.#pullFrom,
      since: this.#pullSince,
      ...(this.#pullSince === 0 && this.#snapshotHead !== undefined ? { snapshotHead: this.#snapshotHead } : {}),
      lastSyncTimestamp: Math.max(0, Math.floor(this.#state.meta.lastSyncMs)),
      changes: [...changes, ...waited],
      ...(voids.length === 0 ? {} : { void: voids }),
      pending: this.pending,
      newest: this.#state.counter,
    };
    const deltas = new Set(changes.filter((change) => !isWithdrawal(change) && isDelta(change)).map(({ id }) => id));
    const made = selected.filter(({ change }) => deltas.has(change.id)).map(({ change }) => versionMadeBy(change));
    const isTellable = made.length > 0 && !selected.some(({ isLoose }) => isLoose);
    const digest = isTellable ? { digest: digestTotal(digestOf(made)) } : {};
    return { ...batch, ...digest, checksum: batchChecksum(batch) };
  }

  /** What has left may be in the cloud, and stays as it is. That is known before it leaves, also after a crash. */
  #noteSent(selected: readonly QueuedChange[]): void {
    const last = selected.reduce((max, { order }) => Math.max(max, order), 0);
    const { sentTo = 0 } = this.#state.meta;
    if (last > sentTo || this.#state.meta.sentTo === undefined)
      this.#state.saveMeta({ sentTo: Math.max(last, sentTo) + SENT_AHEAD });
  }

  #isRoomFor(
    strong: readonly Change[],
    beside: readonly QueuedChange[],
    { maxChanges, maxBytes }: BatchBounds,
  ): boolean {
    const [unit = []] = unitsOf(strong);
    const hasToWait = unit.some((change) =>
      this.#strong.placesOf(change).some((key) => this.#state.queue.hasUnsettledOf(key)),
    );
    if (unit.length === 0 || hasToWait) return true;
    const bytes = beside.reduce((sum, queued) => sum + queued.bytes, 0);
    const own = unit.reduce((sum, change) => sum + changeBytes(change), 0);
    return beside.length + unit.length <= maxChanges && bytes + own <= maxBytes;
  }

  /** How many changes wait here. */
  get pending(): number {
    const { pending, failed } = this.queueStats();
    return pending + failed;
  }

  /**
   * The batch under way failed: what it took waits again.
   *
   * @param isRefused whether the cloud said that nothing of it has happened.
   */
  releaseBatch(isRefused = false): void {
    this.#state.queue.markInFlight([], isRefused);
    this.#state.queue.forgetKept();
  }

  /** A relay keeps the batch under way: what it took waits for the cloud, and goes no more before that was found again. */
  noteKept({ results }: BatchAnswer): void {
    this.#state.queue.markInFlight([]);
    this.#state.queue.markKept(results.map(({ id }) => id));
  }

  // --- what others wrote ---

  /** What others wrote, and is shown here beside what this node wrote. */
  get beside(): Beside {
    return this.#state.beside;
  }

  /**
   * Shows what others wrote, and spends a counter that stands for it.
   *
   * @param also is part of the same transaction. @returns the counter.
   */
  showBeside(changes: readonly Change[], also: (counter: number) => void): number {
    const counter = this.#state.counter + 1;
    for (const change of changes) this.#view.note(entityKey(change));
    this.#state.store.transaction(() => {
      this.#state.saveMeta({ counter });
      also(counter);
    });
    this.#state.skipTo(counter);
    this.beside.add(counter, changes);
    this.#view.tell();
    return counter;
  }

  /** Shows what was shown before the start. */
  showAgain(groups: Iterable<readonly [counter: number, changes: readonly Change[]]>): void {
    for (const [counter, changes] of groups) this.beside.add(counter, changes);
  }

  /** What others wrote is shown no more: it is confirmed, or never will be. Its counters are void from now on. */
  showNoMore(counters: readonly number[], also: () => void): void {
    for (const counter of counters) for (const key of this.beside.keysOf(counter)) this.#view.note(key);
    this.#state.store.transaction(also);
    for (const counter of counters) this.beside.remove(counter);
    this.#view.tell();
  }

  /** Counts a try of a change that the cloud could not take a batch for, and takes others. */
  noteFailure(id: string, failure: { readonly code: ErrorCode; readonly detail: string }): void {
    const queued = this.#state.queue.get(id);
    if (queued === undefined || queued.error !== null) return;
    const nextOnes = this.#state.queue.together(queued).map((each) => {
      return { ...afterFailure(each, failure, this.nowMs()), isBlamed: true };
    });
    this.#state.store.transaction(() => {
      for (const next of nextOnes) this.#state.store.writeQueued(next);
    });
    for (const next of nextOnes) this.#state.queue.put(next);
  }

  /**
   * Takes an answer. A page that isn't the last is only kept; with the last one all of them become visible, and what
   * was acknowledged leaves the queue, in one transaction.
   *
   * @param askedAtMs when the batch left, by {@link nowMs}: everything until then is here once the head is reached.
   */
  confirm(batch: Batch, answer: BatchAnswer, askedAtMs: number): Confirmation | undefined {
    this.#state.queue.forgetKept();
    if (!answer.more) return this.#reachHead({ batch, answer }, askedAtMs);
    assert(answer.cursor > batch.cursor, 'a page that is not the last goes forward');
    this.#state.store.transaction(() => this.#state.store.writeStaged(this.#stagedPages, { batch, answer }));
    this.#noteStaged(batch, answer);
    this.#state.queue.markInFlight([]);
    return undefined;
  }

  #noteStaged(batch: Batch, answer: BatchAnswer): void {
    this.#stagedPages += 1;
    this.#pullFrom = answer.cursor;
    if (batch.cursor === 0) this.#snapshotHead = entry(answer.vectorClock, CLOUD);
    this.#state.queue.markAnswered(answer.results);
    this.#frontier.noteUnshown(batch, answer);
  }

  /** Gives a change that met another one what its node's resolver made of the two; it goes out again. */
  resolveConflict(id: string, resolved: Resolved): void {
    const queued = this.#state.queue.get(id);
    if (queued === undefined) return;
    const next = resolvedBy(queued, resolved, this.#state.meta.cursor);
    this.#view.note(entityKey(next.change));
    this.#state.store.transaction(() => this.#state.store.writeQueued(next));
    this.#state.queue.put(next);
    this.#view.tell();
  }

  // --- the head ---

  #reachHead(last: StagedPage, askedAtMs: number): Confirmation {
    const head = this.#state.store.transaction(() => {
      const merged = mergePages(this.#pages(last), {
        store: this.#state.store,
        nodeId: this.nodeId,
        meta: this.#state.meta,
        hlc: this.#state.hlc,
        reported: this.#reported,
        nowMs: this.nowMs(),
        policyOf: (entity) => this.#state.policyOf(entity),
        note: (key, deletedBy) => this.#view.note(key, deletedBy),
      });
      const answers = settle(this.#state.queue, merged.answered, this.nowMs());
      const forked = this.#forked(answers.changed);
      this.#renumber(forked, this.#state.counter);
      const settled = { ...answers, changed: answers.changed.filter((queued) => !forked.includes(queued)) };
      for (const queued of [...settled.changed, ...settled.restamped]) this.#state.store.writeQueued(queued);
      const { digest, types } = last.answer;
      // The cloud gives more types than it gave for the first pages, or before: their past is missing.
      const isPartial = !admitsAll(merged.types, types);
      const isOther = digest !== undefined && !isPartial && digest !== digestTotal(merged.digest);
      const digestMismatch = merged.isBroken || isOther;
      const meta: ReplicaMeta = {
        ...this.#state.meta,
        cursor: last.answer.cursor,
        counter: this.#state.counter,
        ownFrom: undefined,
        received: merged.received,
        settled: merged.settled,
        settledAt: withSettled(this.#state.meta, merged.settled.upTo, this.nowMs()),
        digest: merged.digest,
        types: merged.types,
        hlc: merged.hlc,
        asOfMs: isPartial ? 0 : askedAtMs,
        lastSyncMs: this.nowMs(),
        digestMismatches: this.#state.meta.digestMismatches + (digestMismatch ? 1 : 0),
        deadTold: last.batch.report?.dead,
      };
      const isNews = merged.downloaded + merged.answered.length > 0 || meta.cursor !== this.#state.meta.cursor;
      const isWhole = this.#state.meta.asOfMs > 0 && !isPartial && !merged.isNarrowed;
      const isTold = meta.deadTold !== this.#state.meta.deadTold;
      if (isNews || isTold || digestMismatch || !isWhole || this.#stagedPages > 0) this.#state.store.writeMeta(meta);
      if (this.#stagedPages > 0) this.#state.store.clearStaged();
      return { ...merged, ...settled, readsAgain: digestMismatch || isPartial, meta };
    });

    for (const { change } of head.changed) this.#view.note(entityKey(change));
    // What the cloud has is not folded in any more; that it has it may be known without an answer, where that was lost.
    for (const { change } of this.#state.queue.all()) {
      if (has(head.received, dotOf(change).counter)) this.#view.note(entityKey(change));
    }
    this.#state.reachedHead(head.meta);
    this.#view.forgetFolds();
    this.#stagedPages = 0;
    for (const id of head.gone) this.#state.queue.remove(id);
    this.#strong.noteMoves(head.moves);
    for (const queued of head.changed) this.#state.queue.put(queued);
    this.#noteBarred(head.answered);
    this.#state.queue.markInFlight([]);
    this.#state.queue.forgetAnswered();
    this.#state.queue.markOvertaken(head.overtaken);
    this.#frontier.reachedHead();
    this.#reported = EMPTY_DOT_SET;
    this.#snapshotHead = undefined;
    // A state that isn't the cloud's, or not all of it, is mended by reading all of it again.
    this.#pullFrom = head.readsAgain ? 0 : head.meta.cursor;
    this.#pullSince = this.#pullFrom;
    this.#view.tell();
    const conflicts = head.answered
      .filter(({ result }) => result.status === 'conflict')
      .flatMap(({ change }) => this.#state.queue.get(change.id)?.change ?? []);
    return {
      downloaded: head.downloaded,
      readsAgain: head.readsAgain,
      changed: head.changed.length,
      conflicts,
    };
  }

  /** What the token of this node allows is known by what the cloud took, and what it didn't. */
  #noteBarred(answered: readonly Answered[]): void {
    for (const { change, result } of answered) {
      if (change.entityType === undefined) continue;
      if (isBarred(result)) this.#state.queue.markBarred(change.entityType, this.nowMs());
      else if (result.status !== 'deferred' && result.status !== 'duplicate')
        this.#state.queue.unbar(change.entityType);
    }
  }

  /**
   * What isn't wanted any more goes; what is wanted now, and wasn't, is read from the beginning, with all the rest. Not
   * while a batch is under way.
   */
  refilter(filter: TypeFilter<EntityType>): void {
    const before = this.#state.meta;
    const isWider = !admitsAll(before.filter, filter);
    if (!isWider && admitsAll(filter, before.filter)) return;
    const unwanted = [...keysOutside(this.#state.store, filter)];
    for (const key of unwanted) this.#view.note(key);
    this.#state.store.transaction(() => {
      this.#beginAnew();
      for (const key of unwanted) this.#state.store.removeRecord(key);
      const types = narrowed<string>(before.types, filter);
      const digest = digestWithin(before.digest, filter);
      this.#state.saveMeta({ filter, types, digest, session: null, asOfMs: isWider ? 0 : before.asOfMs });
    });
    // What has everything of fewer types goes on where it was.
    if (this.#state.meta.asOfMs > 0) this.#pullFrom = this.#state.meta.cursor;
    this.#pullSince = this.#pullFrom;
    this.#state.queue.markOvertaken(unwanted);
    this.#view.tell();
  }

  *#pages(last: StagedPage): Iterable<StagedPage> {
    if (this.#stagedPages > 0) yield* this.#state.store.readStaged();
    yield last;
  }

  /**
   * Another history may lack what the former one had of this node: all that is still here waits again, whole, for there
   * may be no record to apply operations to. Places of what the cloud had may have been given out again, so all get new
   * ones; and none of the rows is free any more.
   */
  #giveBack(): void {
    const waiting = [...this.#state.queue.all()].sort((a, b) => a.order - b.order);
    const had = this.#state.store.readQueue(0).filter(({ change }) => this.#state.queue.get(change.id) === undefined);
    had.sort((a, b) => dotOf(a.change).counter - dotOf(b.change).counter);
    const all = [...had, ...waiting];
    // Of a transaction some rows may have been used again: what is left of it can't be taken for all.
    const isPart = (unit: readonly Change[]) =>
      unit.some(({ transaction }) => transaction !== undefined && !isWhole(transaction, unit.map(dotOf)));
    const parts = new Set(
      unitsOf(all.map(({ change }) => change))
        .filter(isPart)
        .flat(),
    );
    const kept = all.map((queued, index) => {
      const { change } = queued;
      const left = parts.has(change) ? { ...queued, change: { ...change, transaction: undefined } } : queued;
      return givenBack(left, index + 1);
    });
    for (const queued of kept) this.#state.store.writeQueued(queued);
    this.#state.replaceQueue(kept);
    this.#state.saveMeta({ sentTo: Math.max(kept.length, this.#state.meta.sentTo ?? 0) });
  }

  /** The next pull reads everything; what is confirmed stays visible until it has. */
  #beginAnew(): void {
    this.#state.store.clearStaged();
    this.#stagedPages = 0;
    this.#snapshotHead = undefined;
    this.#pullFrom = 0;
    this.#pullSince = 0;
    this.#state.queue.forgetAnswered();
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
    const last = lastOf(received);
    if (last === 0) return 0;
    this.#state.skipTo(last);
    const waiting = [...this.#state.queue.all()].filter(({ error }) => isEmpty || error === null);
    const isNew = (queued: QueuedChange) =>
      isEmpty || (this.#state.isOfThisStart(queued) && !this.#state.queue.wasSent(queued));
    const own = waiting.filter(isNew);
    this.#renumber(own, last);
    for (const queued of waiting.filter((one) => !own.includes(one))) {
      const next = doubted(queued, received, last);
      this.#state.store.writeQueued(next);
      this.#state.queue.put(next);
    }
    return last;
  }

  /** Changes that the cloud has others for under their counters: nothing of them is there, so they go under new ones. */
  #forked(changed: readonly QueuedChange[]): QueuedChange[] {
    const isAlone = (queued: QueuedChange) => queued.since === undefined || this.#state.isOfThisStart(queued);
    const forked = changed.filter((queued) => queued.error?.code === 'node_forked' && isAlone(queued));
    const units = Map.groupBy(forked, ({ change }) => change.transaction ?? change.id);
    return [...units].flatMap(([name, unit]) =>
      isWhole(
        name,
        unit.map(({ change }) => dotOf(change)),
      )
        ? unit
        : [],
    );
  }

  /** Whether the cloud has counters of this node that this storage has not made, or has never sent. */
  #isAhead(received: DotSet): boolean {
    if (lastOf(received) > this.#state.counter) return true;
    return [...this.#state.queue.all()].some((queued) => {
      const isUnsent = this.#state.isOfThisStart(queued) || queued.order > this.#sentBefore;
      return isUnsent && queued.error === null && !this.#state.queue.wasSent(queued) && has(received, sinceOf(queued));
    });
  }

  /** Gives changes that the cloud has not, and the transactions that they are all of, new counters, in their order. */
  #renumber(waiting: readonly QueuedChange[], last: number): void {
    const inOrder = [...waiting].sort((a, b) => a.order - b.order);
    const changes = inOrder.map(({ change }): Change => {
      const counter = this.#state.counter + 1;
      this.#state.skipTo(counter);
      const base = { ...change.base, [this.nodeId]: counter - 1 };
      return { ...change, id: this.#state.dot(counter), base, ownFrom: last + 1 };
    });
    const renumbered = unitsOf(changes).flatMap(asTransaction);
    for (const { change } of inOrder) this.#state.queue.remove(change.id);
    for (const [index, queued] of inOrder.entries()) {
      const change = renumbered[index] ?? queued.change;
      const next = {
        ...queued,
        since: undefined,
        isDoubtful: undefined,
        error: null,
        change,
        bytes: utf8Bytes(JSON.stringify(change)),
      };
      this.#state.store.writeQueued(next);
      this.#state.queue.put(next);
    }
  }

  /**
   * Counters that were spent and stand for nothing that will be sent. What went into a change that waits is void when that
   * is sent and no sooner, for who asks for it by its counter must not be told that it is there.
   */
  #voids(sent: ReadonlySet<QueuedChange> = new Set()): (readonly [number, number])[] {
    const spent = [...this.#strong.awaited(), ...this.#state.beside.counters].map(
      (counter): Interval => [counter, counter],
    );
    for (const queued of this.#state.queue.all()) {
      const { counter } = dotOf(queued.change);
      spent.push([queued.error !== null || sent.has(queued) ? counter : sinceOf(queued), counter]);
    }
    return gaps(addAll(this.#state.meta.received, spent), this.#state.counter);
  }
}

/** Places that are taken for used in advance, so that not each batch costs a row: those behind them begin with the next start. */
const SENT_AHEAD = 100;

/** What a delta makes of the record that its writer has. */
function versionMadeBy({ entityType, entityId, id, data }: Change) {
  return { entityType, entityId, version: id, data: data ?? null };
}
