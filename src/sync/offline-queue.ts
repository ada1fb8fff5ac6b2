import { type Change, PRIORITIES, type Priority } from '../core/change.ts';
import { type EntityKey, type EntityType, entityKey, splitKey } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ChangeResult, isFinal } from '../protocol/messages.ts';
import type { QueuedChange } from './ports.ts';
import { goesAlone, hasFailed, isGivenUp, msUntilRetry, wasBarred } from './queued-change.ts';

export const QUEUE_STATUSES = ['pending', 'syncing', 'failed', 'dead'] as const;
export type QueueStatus = (typeof QUEUE_STATUSES)[number];

export interface QueueStats {
  readonly pending: number;
  readonly syncing: number;
  readonly failed: number;
  readonly dead: number;
  readonly total: number;
  readonly bytes: number;
  /** Age of the oldest change that isn't dead, ms; null: none waits. */
  readonly oldestMs: number | null;
  /** Of those that aren't dead. */
  readonly byPriority: Readonly<Record<Priority, number>>;
}

export interface Backlog {
  readonly byPriority: Readonly<Record<Priority, number>>;
  /** Age of the oldest, ms; 0: nothing waits. */
  readonly oldestMs: number;
}

/** What may go with the next batch. */
export interface SelectBounds {
  readonly maxChanges: number;
  readonly maxBytes: number;
  /** Entities whose changes go before all others. */
  readonly first: ReadonlySet<EntityKey>;
  /** The least pressing priority that may go; what has waited for `LIMITS.maxQueueAgeMs` always may. */
  readonly least: Priority;
  readonly nowMs: number;
}

/**
 * What this node wrote and has not heard of yet, as it is in the store, in the order in which it was written. It holds
 * no truth: it is read from the store at start, and told of each row after the transaction that wrote it. A status is
 * derived; only a failure is written. `design.md`, section 6.
 */
export class OfflineQueue {
  readonly #changes = new Map<string, QueuedChange>();
  readonly #byEntity = new Map<EntityKey, QueuedChange[]>();
  readonly #byTransaction = new Map<string, QueuedChange[]>();
  /** Those that aren't dead, by priority and `order`. */
  readonly #waiting: Readonly<Record<Priority, Map<number, QueuedChange>>> = {
    critical: new Map(),
    high: new Map(),
    normal: new Map(),
  };
  /** In the batch that is under way. */
  #inFlight: ReadonlySet<string> = new Set();
  /** What the cloud said; its effect becomes visible at the head. */
  readonly #answered = new Map<string, ChangeResult>();
  /** Of those a relay has a copy, for as long as this sync finds that the cloud is away. */
  readonly #kept = new Set<string>();
  #keptBatch: string | undefined;
  /** Those of the waiting ones that the cloud has failed at. */
  readonly #failed = new Map<string, QueuedChange>();
  /** Were in a batch since the start that the cloud may have taken. */
  readonly #sent = new Set<string>();
  /** Made on what is still confirmed, and never in a batch: nobody else can have seen them. */
  readonly #fresh = new Set<string>();
  /** Types of which the token of this node allows no change, and when the cloud last said so, ms. */
  readonly #barred = new Map<EntityType, number>();
  #waitingBytes = 0;
  #deadBytes = 0;
  #dead = 0;
  #nextOrder: number;

  /**
   * @param behind the places up to here are taken.
   * @param isFresh whether a stored one may yet change.
   */
  constructor(stored: readonly QueuedChange[], behind = 0, isFresh: (queued: QueuedChange) => boolean = () => false) {
    this.#nextOrder = behind + 1;
    for (const queued of stored) {
      this.put(queued);
      if (isFresh(queued)) this.#fresh.add(queued.change.id);
      const { entityType } = queued.change;
      const atMs = Math.max(queued.lastAttemptMs ?? 0, this.#barred.get(entityType) ?? 0);
      if (wasBarred(queued)) this.markBarred(entityType, atMs);
    }
  }

  /** The place behind all that is here. */
  get nextOrder(): number {
    return this.#nextOrder;
  }

  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  get deadBytes(): number {
    return this.#deadBytes;
  }

  get dead(): number {
    return this.#dead;
  }

  get(id: string): QueuedChange | undefined {
    return this.#changes.get(id);
  }

  all(): Iterable<QueuedChange> {
    return this.#changes.values();
  }

  /**
   * Changes of a status (undefined: all) in their order, behind the place `after`; at most `limit`, and no more than
   * `LIMITS.listBytes` after the first. `next` is the place to go on behind, which stays when a change goes; null: these
   * were the last.
   */
  list(status: QueueStatus | undefined, after: number, limit: number): { items: QueuedChange[]; next: number | null } {
    const rest = [...this.#changes.values()]
      .filter((queued) => queued.order > after && (status === undefined || this.statusOf(queued) === status))
      .sort((a, b) => a.order - b.order);
    let bytes = 0;
    const end = rest.findIndex((queued, index) => {
      bytes += queued.bytes;
      return index === limit || (index > 0 && bytes > LIMITS.listBytes);
    });
    return end === -1
      ? { items: rest, next: null }
      : { items: rest.slice(0, end), next: rest[end - 1]?.order ?? after };
  }

  /** The changes of one entity, oldest first, dead ones left out. */
  of(key: EntityKey): readonly QueuedChange[] {
    return (this.#byEntity.get(key) ?? []).filter((queued) => queued.error === null);
  }

  /** The changes that a change takes effect together with, itself among them, in their order; dead ones only with a dead one. */
  together(queued: QueuedChange): readonly QueuedChange[] {
    const { transaction } = queued.change;
    if (transaction === undefined) return [queued];
    const isDead = queued.error !== null;
    return (this.#byTransaction.get(transaction) ?? []).filter((other) => (other.error !== null) === isDead);
  }

  /** The dead changes of one entity, oldest first. */
  deadOf(key: EntityKey): readonly QueuedChange[] {
    return (this.#byEntity.get(key) ?? []).filter((queued) => queued.error !== null);
  }

  /** Ids, in order, of the entities of a type that have changes here. */
  idsOf(type: EntityType): string[] {
    const ids: string[] = [];
    for (const key of this.#byEntity.keys()) {
      const { entityType, entityId } = splitKey(key);
      if (entityType === type) ids.push(entityId);
    }
    return ids.sort();
  }

  /** The last change of an entity, if it never left this node and nothing new has been confirmed since: it may yet change. */
  lastFresh(key: EntityKey): QueuedChange | undefined {
    const last = this.#byEntity.get(key)?.at(-1);
    return last !== undefined && last.error === null && this.#fresh.has(last.change.id) ? last : undefined;
  }

  /** Adds a change that was just made; in the place of the one that it stands for as well, if there is one. */
  add(queued: QueuedChange, replaced?: QueuedChange | undefined): void {
    if (replaced !== undefined) this.#forget(replaced);
    this.put(queued);
    this.#fresh.add(queued.change.id);
  }

  /** Adds a change, or puts a new state of it in its place. */
  put(queued: QueuedChange): void {
    const { id } = queued.change;
    const before = this.#changes.get(id);
    if (before !== undefined) this.#unlink(before);
    this.#changes.set(id, queued);
    this.#link(queued);
    if (hasFailed(queued)) this.#failed.set(id, queued);
    else this.#failed.delete(id);
    const priority = priorityOf(queued.change);
    if (queued.error === null) this.#wait(priority, queued);
    this.#nextOrder = Math.max(this.#nextOrder, queued.order + 1);
    for (const other of PRIORITIES) {
      if (other !== priority || queued.error !== null) this.#waiting[other].delete(queued.order);
    }
  }

  /** A Map keeps the place of a key that it has; one that presses more than before comes between others. */
  #wait(priority: Priority, queued: QueuedChange): void {
    const waiting = this.#waiting[priority];
    const isBetween = queued.order < this.#nextOrder && !waiting.has(queued.order);
    waiting.set(queued.order, queued);
    if (!isBetween) return;
    const inOrder = [...waiting].sort(([a], [b]) => a - b);
    waiting.clear();
    for (const [order, one] of inOrder) waiting.set(order, one);
  }

  remove(id: string): void {
    const queued = this.#changes.get(id);
    if (queued === undefined) return;
    this.#forget(queued);
    this.#waiting[priorityOf(queued.change)].delete(queued.order);
  }

  /**
   * These are in the batch under way; what was in the one before waits again.
   *
   * @param isRefused whether nothing of that one has happened, for certain.
   */
  markInFlight(ids: Iterable<string>, isRefused = false): void {
    if (!isRefused) for (const id of this.#inFlight) this.#sent.add(id);
    this.#inFlight = new Set(ids);
    for (const id of this.#inFlight) this.#fresh.delete(id);
  }

  /** Another state of these entities, or of all, is confirmed: what waits was made on the former one, and stays as it is. */
  markOvertaken(keys: Iterable<EntityKey> | 'all'): void {
    if (keys === 'all') this.#fresh.clear();
    else for (const key of keys) for (const { change } of this.#byEntity.get(key) ?? []) this.#fresh.delete(change.id);
  }

  /** The token of this node allows no changes of the type: one of them asks again after a pause, and the rest waits for that. */
  markBarred(type: EntityType, atMs: number): void {
    this.#barred.set(type, atMs);
  }

  /** It allows them. */
  unbar(type: EntityType): void {
    this.#barred.delete(type);
  }

  /** Somebody asks, or has made sure: no pause is waited for. */
  askAgain(): void {
    for (const type of this.#barred.keys()) this.#barred.set(type, 0);
  }

  /** Whether something waits for another token. */
  get isBarred(): boolean {
    return this.#barredTypes().length > 0;
  }

  #barredTypes(): EntityType[] {
    return [...this.#barred.keys()].filter((type) => PRIORITIES.some((each) => this.#hasWaiting(each, type)));
  }

  #hasWaiting(priority: Priority, type: EntityType): boolean {
    for (const { change } of this.#waiting[priority].values()) if (change.entityType === type) return true;
    return false;
  }

  markAnswered(results: Iterable<ChangeResult>): void {
    for (const result of results) this.#answered.set(result.id, result);
  }

  forgetAnswered(): void {
    this.#answered.clear();
  }

  /** A relay keeps these: they wait for the cloud, and need not go to the relay again. */
  markKept(batchId: string, ids: Iterable<string>): void {
    this.#keptBatch = batchId;
    for (const id of ids) this.#kept.add(id);
  }

  /** The last batch of this sync that a relay keeps, for it finds the cloud away; undefined: there is none. */
  get keptBatch(): string | undefined {
    return this.#keptBatch;
  }

  forgetKept(): void {
    this.#keptBatch = undefined;
    this.#kept.clear();
  }

  /** Whether a change was in a batch since the start that the cloud may have taken. */
  wasSent({ change: { id } }: QueuedChange): boolean {
    return this.#sent.has(id) || this.#inFlight.has(id);
  }

  /** Whether anything waits for the cloud's last word. */
  get isWaiting(): boolean {
    return PRIORITIES.some((priority) => this.#waiting[priority].size > 0);
  }

  /** Whether there is something that a batch could take. */
  hasUnsent(least: Priority, nowMs: number): boolean {
    for (const _ of this.#ready(least, nowMs).all()) return true;
    return false;
  }

  /**
   * How long until time alone makes something ready to be sent: it is old enough to go by any plan, or to be tried once
   * more, ms; null: nothing waits for that.
   */
  msUntilReady(nowMs: number): number | null {
    const waits = [...this.#failed.values()].map((queued) => msUntilRetry(queued, nowMs)).filter((ms) => ms > 0);
    waits.push(...this.#barredTypes().map((type) => this.#msUntilAsked(type, nowMs)));
    const resting = this.#resting(nowMs);
    for (const priority of PRIORITIES) {
      for (const { queuedAtMs } of this.#waitingOf(priority, resting)) {
        waits.push(Math.max(0, queuedAtMs + LIMITS.maxQueueAgeMs - nowMs));
        break;
      }
    }
    return waits.length === 0 ? null : Math.min(...waits);
  }

  /** Whether a change has to be sent once more, and can't before the head: what was written after it waits until then. */
  get isHeld(): boolean {
    return [...this.#answered.values()].some(({ status }) => status === 'needs-full' || status === 'conflict');
  }

  /** Whether a change of the entity waits that is neither in the batch under way nor answered for good. */
  hasUnsettledOf(key: EntityKey): boolean {
    return this.of(key).some(({ change: { id } }) => !this.#inFlight.has(id) && !this.#hasLastWord(id));
  }

  /**
   * The next changes for a batch: those of the entities `first`, then by priority, each in the order in which they were
   * written and behind the earlier changes of the same entity; and a transaction as a whole, however many changes a batch
   * may have. What has waited too long goes right behind what is critical, and has a quarter of the batch even before
   * that. What the cloud has failed at goes behind all others; and where it failed at the whole batch for it, alone, so
   * that no other one fails with it. What follows it at its entity waits.
   */
  select(bounds: SelectBounds): QueuedChange[] {
    const ready = this.#ready(bounds.least, bounds.nowMs);
    const selected = new Set<QueuedChange>();
    const { maxChanges, maxBytes } = bounds;
    const kept = countUpTo(ready.old(), Math.floor(maxChanges / 4));
    const beside = kept === 0 ? bounds : { maxChanges: maxChanges - kept, maxBytes: maxBytes * 0.75 };
    this.#fill(selected, this.#firstOf(bounds), bounds);
    this.#fill(selected, ready.critical(), beside);
    for (const more of [ready.old, ready.critical, ready.others, ready.failed]) this.#fill(selected, more(), bounds);
    return selected.size > 0 || maxChanges === 0 ? [...selected] : this.#alone(ready.all());
  }

  /** Adds candidates, with what they need, for as long as the batch has room. */
  #fill(
    selected: Set<QueuedChange>,
    candidates: Iterable<QueuedChange>,
    { maxChanges, maxBytes }: Pick<SelectBounds, 'maxChanges' | 'maxBytes'>,
  ): void {
    let bytes = bytesOf(selected);
    const givenUp = this.#givenUp();
    for (const candidate of candidates) {
      if (selected.has(candidate)) continue;
      const units = this.#unitsUpTo(candidate, selected);
      for (const unit of units) {
        if (unit.some(goesAlone) || unit.some(({ change, order }) => order > (givenUp.get(entityKey(change)) ?? order)))
          break;
        // The first one goes whatever its size: what is too large for the cloud has to be told so.
        const isFirst = selected.size === 0;
        const isTooMuch = selected.size + unit.length > maxChanges || bytes + bytesOf(unit) > maxBytes;
        if (maxChanges === 0 || (isTooMuch && !isFirst)) return;
        for (const queued of unit) selected.add(queued);
        bytes += bytesOf(unit);
      }
    }
  }

  /** From where on nothing of an entity goes: what comes of one that is given up has to be known first, for it is in their records. */
  #givenUp(): ReadonlyMap<EntityKey, number> {
    const all = [...this.#failed.values()].filter(isGivenUp);
    return new Map(all.map(({ change, order }) => [entityKey(change), order]));
  }

  /** The first of what has to go alone. */
  #alone(candidates: Iterable<QueuedChange>): QueuedChange[] {
    for (const candidate of candidates) {
      const [unit = []] = this.#unitsUpTo(candidate, new Set());
      if (unit.some(goesAlone)) return [...unit];
    }
    return [];
  }

  /** A change, with all that has to go before or with it, in order; each unit goes as a whole. */
  #unitsUpTo(candidate: QueuedChange, selected: ReadonlySet<QueuedChange>): (readonly QueuedChange[])[] {
    const needed = new Set<QueuedChange>();
    /** Up to where each entity has been looked at. */
    const lookedTo = new Map<EntityKey, number>();
    const todo = [candidate];
    for (const { change, order } of todo) {
      const key = entityKey(change);
      const from = lookedTo.get(key) ?? 0;
      if (order <= from) continue;
      lookedTo.set(key, order);
      for (const queued of this.of(key)) {
        if (queued.order <= from || queued.order > order || !this.#isUnsent(queued) || selected.has(queued)) continue;
        needed.add(queued);
        if (queued.change.transaction !== undefined) todo.push(...this.together(queued));
      }
    }
    const units: QueuedChange[][] = [];
    for (const queued of [...needed].sort((a, b) => a.order - b.order)) {
      const { transaction } = queued.change;
      const unit = units.at(-1);
      if (transaction !== undefined && unit?.[0]?.change.transaction === transaction) unit.push(queued);
      else units.push([queued]);
    }
    return units;
  }

  statusOf(queued: QueuedChange): QueueStatus {
    if (queued.error !== null) return 'dead';
    if (!this.#isUnsent(queued)) return 'syncing';
    return hasFailed(queued) || wasBarred(queued) ? 'failed' : 'pending';
  }

  stats(nowMs: number): QueueStats {
    const counts = { pending: 0, syncing: 0, failed: 0, dead: 0 };
    let oldestMs: number | null = null;
    for (const queued of this.#changes.values()) {
      counts[this.statusOf(queued)] += 1;
      if (queued.error === null) oldestMs = Math.max(oldestMs ?? 0, nowMs - queued.queuedAtMs);
    }
    const { critical, high, normal } = this.#waiting;
    const byPriority = { critical: critical.size, high: high.size, normal: normal.size };
    return { ...counts, total: this.#changes.size, bytes: this.#waitingBytes + this.#deadBytes, oldestMs, byPriority };
  }

  /** What waits beside the batch under way. */
  backlog(nowMs: number): Backlog {
    const byPriority = { critical: 0, high: 0, normal: 0 };
    let oldestMs = 0;
    for (const priority of PRIORITIES) {
      for (const queued of this.#waiting[priority].values()) {
        if (!this.#isUnsent(queued)) continue;
        byPriority[priority] += 1;
        oldestMs = Math.max(oldestMs, nowMs - queued.queuedAtMs);
      }
    }
    return { byPriority, oldestMs };
  }

  *#firstOf({ first, nowMs }: SelectBounds): Generator<QueuedChange> {
    const resting = this.#resting(nowMs);
    for (const key of first) {
      if (!resting.has(key)) yield* this.of(key).filter((queued) => this.#isUnsent(queued));
    }
  }

  /** What a batch could take, in parts; each oldest first. What has failed is in none but the last. */
  #ready(least: Priority, nowMs: number) {
    // What was queued by a clock that was far ahead has waited too: how long, nobody can tell.
    const isOld = ({ queuedAtMs }: QueuedChange) => Math.abs(nowMs - queuedAtMs) >= LIMITS.maxQueueAgeMs;
    const resting = this.#resting(nowMs);
    /** Of each type that is barred the one change that asks. */
    const asking = new Map<EntityType, QueuedChange>();
    const mayAsk = (queued: QueuedChange): boolean => {
      const barred =
        this.#barred.size > 0 && this.together(queued).find(({ change }) => this.#barred.has(change.entityType));
      if (!barred) return true;
      const { entityType } = barred.change;
      const first = asking.get(entityType) ?? queued;
      asking.set(entityType, first);
      return first === queued;
    };
    const mayGo = PRIORITIES.slice(0, PRIORITIES.indexOf(least) + 1);
    const waiting = (priority: Priority) => this.#waitingOf(priority, resting);
    const [failures, isUnsent] = [this.#failed, (queued: QueuedChange) => this.#isUnsent(queued)];
    function* of(...priorities: readonly Priority[]) {
      for (const priority of priorities)
        for (const queued of waiting(priority)) if (!hasFailed(queued) && mayAsk(queued)) yield queued;
    }
    function* old() {
      for (const priority of ['high', 'normal'] as const) {
        for (const queued of of(priority)) {
          if (!isOld(queued)) break;
          yield queued;
        }
      }
    }
    function* failed() {
      for (const queued of failures.values()) {
        const isReady = isUnsent(queued) && !resting.has(entityKey(queued.change));
        if (isReady && (isOld(queued) || mayGo.includes(priorityOf(queued.change))) && mayAsk(queued)) yield queued;
      }
    }
    function* all() {
      yield* old();
      yield* of(...mayGo);
      yield* failed();
    }
    return { critical: () => of('critical'), old, others: () => of(...mayGo), failed, all };
  }

  /** How long nothing of a type is sent, ms. By a clock that was put back nobody can tell: no longer. */
  #msUntilAsked(type: EntityType, nowMs: number): number {
    const atMs = this.#barred.get(type) ?? 0;
    return nowMs < atMs ? 0 : Math.max(0, atMs + LIMITS.pauseMs - nowMs);
  }

  /** Unsent changes of a priority, oldest first, but for those of the entities `resting`. */
  *#waitingOf(priority: Priority, resting: ReadonlySet<EntityKey>): Generator<QueuedChange> {
    for (const queued of this.#waiting[priority].values()) {
      if (this.#isUnsent(queued) && !resting.has(entityKey(queued.change))) yield queued;
    }
  }

  /** Entities with a change that waits for its next try, or for the head to be sent once more: nothing of theirs goes before it. */
  #resting(nowMs: number): ReadonlySet<EntityKey> {
    const failed = [...this.#failed.values()].filter((queued) => msUntilRetry(queued, nowMs) > 0);
    const answered = [...this.#answered].flatMap(([id, result]) =>
      isFinal(result) ? [] : (this.#changes.get(id) ?? []),
    );
    const resting = new Set([...failed, ...answered, ...this.#barredFor(nowMs)].map(({ change }) => entityKey(change)));
    // What goes together waits together.
    for (const key of resting) {
      for (const queued of this.#byTransaction.size === 0 ? [] : this.of(key)) {
        if (queued.change.transaction === undefined) continue;
        for (const { change } of this.together(queued)) resting.add(entityKey(change));
      }
    }
    return resting;
  }

  /** What the token doesn't allow, and isn't to be asked for yet. */
  #barredFor(nowMs: number): QueuedChange[] {
    const types = new Set([...this.#barred.keys()].filter((type) => this.#msUntilAsked(type, nowMs) > 0));
    if (types.size === 0) return [];
    return [...this.#changes.values()].filter(({ change, error }) => error === null && types.has(change.entityType));
  }

  #hasLastWord(id: string): boolean {
    const result = this.#answered.get(id);
    return result !== undefined && isFinal(result);
  }

  #forget(queued: QueuedChange): void {
    this.#changes.delete(queued.change.id);
    this.#failed.delete(queued.change.id);
    this.#fresh.delete(queued.change.id);
    this.#sent.delete(queued.change.id);
    this.#unlink(queued);
  }

  #link(queued: QueuedChange): void {
    const key = entityKey(queued.change);
    this.#byEntity.set(
      key,
      [...(this.#byEntity.get(key) ?? []), queued].sort((a, b) => a.order - b.order),
    );
    this.#count(queued, 1);
    const { transaction } = queued.change;
    if (transaction === undefined) return;
    const members = [...(this.#byTransaction.get(transaction) ?? []), queued].sort((a, b) => a.order - b.order);
    this.#byTransaction.set(transaction, members);
  }

  #unlink(queued: QueuedChange): void {
    const key = entityKey(queued.change);
    const siblings = (this.#byEntity.get(key) ?? []).filter((other) => other !== queued);
    if (siblings.length > 0) this.#byEntity.set(key, siblings);
    else this.#byEntity.delete(key);
    this.#count(queued, -1);
    const { transaction } = queued.change;
    if (transaction === undefined) return;
    const members = (this.#byTransaction.get(transaction) ?? []).filter((other) => other !== queued);
    if (members.length > 0) this.#byTransaction.set(transaction, members);
    else this.#byTransaction.delete(transaction);
  }

  #count({ error, bytes }: QueuedChange, times: 1 | -1): void {
    if (error === null) this.#waitingBytes += times * bytes;
    else {
      this.#deadBytes += times * bytes;
      this.#dead += times;
    }
  }

  #isUnsent(queued: QueuedChange): boolean {
    const { id } = queued.change;
    return queued.error === null && !this.#inFlight.has(id) && !this.#answered.has(id) && !this.#kept.has(id);
  }
}

function countUpTo(all: Iterable<unknown>, most: number): number {
  let count = 0;
  if (most === 0) return count;
  for (const _ of all) {
    count += 1;
    if (count === most) break;
  }
  return count;
}

function bytesOf(changes: Iterable<QueuedChange>): number {
  let sum = 0;
  for (const { bytes } of changes) sum += bytes;
  return sum;
}

function priorityOf({ priority = 'normal' }: Change): Priority {
  return priority;
}
