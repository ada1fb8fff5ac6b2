import { dotOf } from '../core/change.ts';
import { type EntityKey, type EntityType, entityKey, splitKey } from '../core/ids.ts';
import { type ChangeResult, isFinal } from '../protocol/messages.ts';
import type { QueuedChange } from './ports.ts';

export interface QueueStats {
  readonly pending: number;
  readonly syncing: number;
  readonly failed: number;
  readonly dead: number;
  readonly total: number;
  readonly bytes: number;
  /** Age of the oldest change that isn't dead, ms; null: none waits. */
  readonly oldestMs: number | null;
}

/**
 * What this node wrote and has not heard of yet, as it is in the store, in order of counters. It holds no truth: it is
 * read from the store at start, and told of each row after the transaction that wrote it.
 */
export class OfflineQueue {
  readonly #changes = new Map<string, QueuedChange>();
  readonly #byEntity = new Map<EntityKey, QueuedChange[]>();
  /** In the batch that is under way. */
  #inFlight: ReadonlySet<string> = new Set();
  /** The cloud's word has come, and whether it was the last one; its effect becomes visible at the head. */
  readonly #answered = new Map<string, boolean>();
  #bytes = 0;

  constructor(stored: readonly QueuedChange[]) {
    for (const queued of stored) this.put(queued);
  }

  get bytes(): number {
    return this.#bytes;
  }

  get(id: string): QueuedChange | undefined {
    return this.#changes.get(id);
  }

  all(): Iterable<QueuedChange> {
    return this.#changes.values();
  }

  /** The changes of one entity, oldest first, dead ones left out. */
  of(key: EntityKey): readonly QueuedChange[] {
    return (this.#byEntity.get(key) ?? []).filter((queued) => queued.error === null);
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

  /** Adds a change, or puts a new state of it in its place: those of one entity stay in the order of their counters. */
  put(queued: QueuedChange): void {
    const { id } = queued.change;
    const before = this.#changes.get(id);
    if (before !== undefined) this.#leave(before);
    const key = entityKey(queued.change);
    const siblings = [...(this.#byEntity.get(key) ?? []), queued];
    this.#byEntity.set(
      key,
      siblings.sort((a, b) => dotOf(a.change).counter - dotOf(b.change).counter),
    );
    this.#changes.set(id, queued);
    this.#bytes += queued.bytes;
  }

  remove(id: string): void {
    const queued = this.#changes.get(id);
    if (queued === undefined) return;
    this.#changes.delete(id);
    this.#leave(queued);
  }

  #leave(queued: QueuedChange): void {
    this.#bytes -= queued.bytes;
    const key = entityKey(queued.change);
    const siblings = (this.#byEntity.get(key) ?? []).filter((other) => other !== queued);
    if (siblings.length > 0) this.#byEntity.set(key, siblings);
    else this.#byEntity.delete(key);
  }

  markInFlight(ids: Iterable<string>): void {
    this.#inFlight = new Set(ids);
  }

  markAnswered(results: Iterable<ChangeResult>): void {
    for (const result of results) this.#answered.set(result.id, isFinal(result));
  }

  forgetAnswered(): void {
    this.#answered.clear();
  }

  /** Whether there is something that a batch could take. */
  hasUnsent(): boolean {
    for (const queued of this.#changes.values()) if (this.#isUnsent(queued)) return true;
    return false;
  }

  /** Whether a change of the entity waits that is neither in the batch under way nor answered for good. */
  hasUnsettledOf(key: EntityKey): boolean {
    return this.of(key).some(({ change: { id } }) => !this.#inFlight.has(id) && this.#answered.get(id) !== true);
  }

  /** The next changes for a batch, oldest first; those of the entities `first` before all others. */
  select(bounds: { maxChanges: number; maxBytes: number; first: ReadonlySet<EntityKey> }): QueuedChange[] {
    const preferred = [...bounds.first].flatMap((key) => this.of(key));
    const selected: QueuedChange[] = [];
    let bytes = 0;
    for (const queued of new Set([...preferred, ...this.#changes.values()])) {
      if (!this.#isUnsent(queued)) continue;
      // The first one goes whatever its size: a change that is too large for the cloud has to be told so.
      if (selected.length > 0 && bytes + queued.bytes > bounds.maxBytes) break;
      if (selected.length >= bounds.maxChanges) break;
      selected.push(queued);
      bytes += queued.bytes;
    }
    return selected;
  }

  stats(nowMs: number): QueueStats {
    let pending = 0;
    let syncing = 0;
    let failed = 0;
    let dead = 0;
    let oldestMs: number | null = null;
    for (const queued of this.#changes.values()) {
      if (queued.error !== null) {
        dead += 1;
        continue;
      }
      oldestMs ??= Math.max(0, nowMs - queued.queuedAtMs);
      if (!this.#isUnsent(queued)) syncing += 1;
      else if (queued.retryCount > 0) failed += 1;
      else pending += 1;
    }
    return { pending, syncing, failed, dead, total: this.#changes.size, bytes: this.#bytes, oldestMs };
  }

  #isUnsent(queued: QueuedChange): boolean {
    const { id } = queued.change;
    return queued.error === null && !this.#inFlight.has(id) && !this.#answered.has(id);
  }
}
