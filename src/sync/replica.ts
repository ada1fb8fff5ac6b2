import type { CausalContext } from '../core/causal-context.ts';
import type { Change, Priority } from '../core/change.ts';
import { digestTotal } from '../core/digest.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityKey, type EntityType, entityKey, type NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { admits, type TypeFilter } from '../core/type-filter.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { Batch, BatchAnswer, HandshakeAnswer, HandshakeRequest } from '../protocol/messages.ts';
import type { Beside } from './beside.ts';
import { DeadLetters, type Fate } from './dead-letters.ts';
import { Frontier } from './frontier.ts';
import { LocalWrites } from './local-writes.ts';
import type { Memos } from './memos.ts';
import { type BatchBounds, NextBatch } from './next-batch.ts';
import type { OfflineQueue, QueueStats, QueueStatus } from './offline-queue.ts';
import type { QueuedChange, ReplicaMeta, Session } from './ports.ts';
import { type Confirmation, Pull } from './pull.ts';
import { afterFailure, type Resolved, resolvedBy } from './queued-change.ts';
import { ReplicaHistory } from './replica-history.ts';
import { ReplicaState, type StateOptions } from './replica-state.ts';
import { ReplicaView, type Source, type Version, type View, type ViewPage } from './replica-view.ts';
import { StrongWrites } from './strong-writes.ts';
import type { Watcher } from './visible-changes.ts';
import type { Wait } from './wait.ts';
import type { Once, Write, Written } from './write.ts';
import { WriteKeys } from './write-keys.ts';

export interface ReplicaOptions extends StateOptions {
  /** Told of every change of what this replica shows. */
  readonly watcher?: Watcher | undefined;
}

/**
 * A replica: `visible = fold(confirmed, pending)`. `confirmed` is the cloud's history up to the cursor and nothing
 * else; `pending` is the queue. A write is one row in the queue, so the record and the queue can't part.
 * `design.md`, section 1. What is done and how, is in its parts; all of them work on one state.
 */
export class Replica {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #keys: WriteKeys;
  readonly #writes: LocalWrites;
  readonly #strong: StrongWrites;
  readonly #dead: DeadLetters;
  readonly #pull: Pull;
  readonly #history: ReplicaHistory;
  readonly #next: NextBatch;

  constructor(options: ReplicaOptions) {
    this.#state = new ReplicaState(options);
    this.#view = new ReplicaView(this.#state, options.watcher);
    this.#frontier = new Frontier(this.#state);
    this.#dead = new DeadLetters(this.#state, this.#view);
    this.#keys = new WriteKeys(this.#state.memos, options.clock, this.#dead);
    this.#writes = new LocalWrites(this.#state, this.#view, this.#frontier, this.#keys);
    this.#strong = new StrongWrites(this.#state, this.#view, this.#frontier, this.#keys);
    this.#pull = new Pull({ state: this.#state, view: this.#view, frontier: this.#frontier, strong: this.#strong });
    this.#history = new ReplicaHistory(this.#state, this.#view, this.#frontier, this.#pull);
    this.#next = new NextBatch({ state: this.#state, strong: this.#strong, pull: this.#pull, history: this.#history });
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

  /** As {@link ReplicaState.nowMs}. */
  nowMs(): number {
    return this.#state.nowMs();
  }

  /** For how long there may be news that this replica hasn't got, ms; null: it never had everything. */
  stalenessMs(): number | null {
    const { asOfMs } = this.#state.meta;
    return asOfMs === 0 ? null : Math.max(0, this.nowMs() - asOfMs);
  }

  /** As {@link Frontier.vectorClock}. */
  vectorClock(): VectorClock {
    return this.#frontier.vectorClock();
  }

  /** As {@link Frontier.causalContext}. */
  causalContext(after: CausalContext = {}): CausalContext {
    return this.#frontier.causalContext(after);
  }

  /** As {@link Frontier.covers}. */
  covers(seen: CausalContext): boolean {
    return this.#frontier.covers(seen);
  }

  /** As {@link Frontier.noteArrived}. */
  noteArrived(clock: VectorClock): void {
    this.#frontier.noteArrived(clock);
  }

  queueStats(): QueueStats {
    return this.#state.queue.stats(this.nowMs());
  }

  queued(): Iterable<QueuedChange> {
    return this.#state.queue.all();
  }

  /** As {@link NextBatch.isThere}. */
  hasUnsent(least: Priority): boolean {
    return this.#next.isThere(least);
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

  /** As {@link Pull.isUnderWay}. */
  isPulling(): boolean {
    return this.#pull.isUnderWay;
  }

  // --- reads ---

  /** Whether records of a type are here, as far as is known: it is asked for, and the token of this node may read it. */
  holds(type: EntityType): boolean {
    return admits(this.#state.meta.filter, type) && admits(this.#state.meta.types, type);
  }

  /** As {@link ReplicaView.read}. */
  read(key: EntityKey, source?: Source): View | undefined {
    return this.#view.read(key, source);
  }

  /** As {@link ReplicaView.version}. */
  version(key: EntityKey): Version | undefined {
    return this.#view.version(key);
  }

  /** The cloud's version at the cursor; undefined: there is none, or it is deleted. */
  confirmed(key: EntityKey): EntityVersion | undefined {
    return this.#state.store.readRecord(key);
  }

  /** As {@link ReplicaView.list}. */
  list(type: EntityType, after: string, limit: number, source?: Source): ViewPage {
    return this.#view.list(type, after, limit, source);
  }

  // --- writes ---

  /** As {@link LocalWrites.write}. */
  write(write: Write, after: CausalContext, once?: Once): Written {
    return this.#writes.write(write, after, once);
  }

  /** As {@link LocalWrites.transact}. */
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

  /** As {@link WriteKeys.leave}. */
  leaveKey(once: Once | undefined): void {
    this.#keys.leave(once);
  }

  /** As {@link StrongWrites.begin}. */
  beginStrong(writes: readonly Write[], after: CausalContext, once?: Once): Change[] {
    return this.#strong.begin(writes, after, once);
  }

  /** As {@link StrongWrites.end}. */
  endStrong(changes: readonly Change[]): void {
    this.#strong.end(changes);
  }

  /** As {@link DeadLetters.retry}. */
  retryDead(id: string, data?: JsonObject, once?: Once): string {
    return this.#dead.retry(id, data, once);
  }

  /** As {@link DeadLetters.discard}. */
  discardDead(id: string, once?: Once): void {
    this.#dead.discard(id, once);
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

  /** As {@link ReplicaHistory.noteFork}. */
  noteFork(): void {
    this.#history.noteFork();
  }

  /** As {@link ReplicaHistory.adopt}. */
  adopt(answer: HandshakeAnswer, sentAtMs: number, answeredAtMs: number): void {
    this.#history.adopt(answer, sentAtMs, answeredAtMs);
  }

  /** As {@link NextBatch.take}. */
  nextBatch(batchId: string, bounds: BatchBounds, strong: readonly Change[]): Batch {
    return this.#next.take(batchId, bounds, strong);
  }

  /** How many changes wait here. */
  get pending(): number {
    return this.#state.pending;
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
  noteKept({ batchId, results }: BatchAnswer): void {
    this.#state.queue.markInFlight([]);
    this.#state.queue.markKept(
      batchId,
      results.map(({ id }) => id),
    );
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
    this.#state.saw(changes);
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
    for (const [counter, changes] of groups) {
      this.#state.saw(changes);
      this.beside.add(counter, changes);
    }
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
    this.#state.rewrite(nextOnes);
  }

  /** As {@link Pull.confirm}. */
  confirm(batch: Batch, answer: BatchAnswer, askedAtMs: number): Confirmation | undefined {
    this.#state.queue.forgetKept();
    // Of what was for a relay the cloud has said nothing: it goes again, behind what goes before it.
    const said = batch.behind !== undefined ? { ...answer, results: [] } : answer;
    return this.#pull.confirm(batch, said, askedAtMs);
  }

  /** Gives a change that met another one what its node's resolver made of the two; it goes out again. */
  resolveConflict(id: string, resolved: Resolved): void {
    const queued = this.#state.queue.get(id);
    if (queued === undefined) return;
    const next = resolvedBy(queued, resolved, this.#state.meta.cursor);
    this.#view.note(entityKey(next.change));
    this.#state.rewrite([next]);
    this.#view.tell();
  }

  /** As {@link Pull.refilter}. */
  refilter(filter: TypeFilter<EntityType>): void {
    this.#pull.refilter(filter);
  }
}
