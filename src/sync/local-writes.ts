import type { CausalContext } from '../core/causal-context.ts';
import { type Change, dotOf } from '../core/change.ts';
import { coalesce } from '../core/coalesce.ts';
import { CLOUD, type EntityKey, entityKey } from '../core/ids.ts';
import { isMet, type Precondition } from '../core/precondition.ts';
import { asTransaction } from '../core/transaction.ts';
import { entry } from '../core/vector-clock.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { checkContent, utf8Bytes } from '../protocol/record.ts';
import type { Frontier } from './frontier.ts';
import { localContent } from './local-content.ts';
import { newChange } from './new-change.ts';
import type { QueuedChange } from './ports.ts';
import { changeBytes, sinceOf, transactionBytes } from './queued-change.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ReplicaView, View } from './replica-view.ts';
import type { Once, Write, WriteOptions, Written } from './write.ts';
import type { WriteKeys } from './write-keys.ts';

/**
 * Writes that count when they are durable here: each is a row in the queue, or goes into one that never left. Rows, and the
 * key that the writer may come again with, are one transaction; the queue is told of them behind it.
 */
export class LocalWrites {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #keys: WriteKeys;

  constructor(state: ReplicaState, view: ReplicaView, frontier: Frontier, keys: WriteKeys) {
    this.#state = state;
    this.#view = view;
    this.#frontier = frontier;
    this.#keys = keys;
  }

  /**
   * Writes locally: durable in the queue, visible at once, not yet known to the cloud.
   *
   * @param after what the writer has seen beside what this replica shows.
   * @param once remembers what the write did, for {@link WriteKeys.written}.
   * @throws SyncError `not_found`, `precondition_failed`, `invalid_operation`, `invalid_data`, `too_large`,
   *   `too_deep`, `queue_full`. Nothing has changed then.
   */
  write(write: Write, after: CausalContext, once: Once | undefined): Written {
    checkContent(write, LIMITS.changeDepth);
    const writer = this.#writer(after);
    const { change, written } = this.#make(write, this.#view.read(entityKey(write)), writer, this.#state.counter + 1);
    this.#enqueue(change, write, () => this.#keys.remember([written], once));
    return written;
  }

  /**
   * Writes several entities at once: all of them are durable and visible, here and wherever they arrive, or none.
   *
   * @throws SyncError as {@link write}, with the place of the write at fault; `too_large` where they don't fit in one batch.
   */
  transact(writes: readonly Write[], after: CausalContext, once: Once | undefined): Written[] {
    const writer = this.#writer(after);
    /** What the writes before have made. */
    const shown = new Map<EntityKey, Shown | undefined>();
    const made = writes.map((write, index) => {
      const key = entityKey(write);
      const before = shown.has(key) ? shown.get(key) : this.#view.read(key);
      const one = atWrite(index, () => {
        checkContent(write, LIMITS.changeDepth);
        return this.#make(write, before, writer, this.#state.counter + 1 + index);
      });
      const { data, version } = one.written;
      shown.set(key, data === null ? undefined : { data, version });
      return one;
    });
    const written = made.map((one) => one.written);
    const changes = asTransaction(made.map(({ change }) => change));
    this.#append(changes, () => this.#keys.remember(written, once));
    return written;
  }

  #writer(after: CausalContext): Writer {
    this.#frontier.presume(after);
    return { after, isCovered: this.#frontier.covers(after), nowMs: this.#state.nowMs() };
  }

  #make(write: Write, before: Shown | undefined, { after, isCovered, nowMs }: Writer, counter: number): Made {
    checkPrecondition(before, write);
    // A record that was made from an older state than the caller has seen must not pass for a successor of that; and what
    // the caller has seen is not what the operations to a whole record would begin with.
    const isMadeHere = write.kind === 'patch' || write.kind === 'merge-patch';
    const seen = isMadeHere && !isCovered ? { atMs: after.atMs } : after;
    const content = localContent(write, before?.data, this.#state.policyOf(write), isMadeHere || isCovered);
    const change = newChange(this.#state, this.#frontier, write, content, { counter, after: seen, nowMs });
    const { id, data = null } = change;
    return { change, written: { changeId: id, version: id, created: before === undefined, data } };
  }

  /**
   * Makes a change durable: in a row of its own, or in that of one which it goes into.
   *
   * @param also is part of the same transaction.
   */
  #enqueue(change: Change, options: WriteOptions, also: () => void): void {
    const earlier = this.#openTo(change, options);
    const both = earlier && coalesce(earlier.change, change, this.#state.policyOf(change).conflict === 'merge');
    if (earlier === undefined || both === undefined) this.#append([change], also);
    else if (both === 'nothing') this.#cancel(earlier, change, also);
    // What the two are together must not be more than one batch takes.
    else if (utf8Bytes(JSON.stringify(both)) > LIMITS.changeBytes) this.#append([change], also);
    else this.#replace(earlier, both, change, also);
  }

  /** The last change of the record, if another one may go into it. */
  #openTo(change: Change, { coalesce: isWanted = true }: WriteOptions): QueuedChange | undefined {
    if (!isWanted || !this.#state.policyOf(change).coalesce) return undefined;
    const last = this.#state.queue.lastFresh(entityKey(change));
    return last === undefined || this.#hasSeenMore(change, last.change) ? undefined : last;
  }

  /** Whether the writer of the later change had seen what this replica hasn't got, and that of the earlier one had not. */
  #hasSeenMore(later: Change, earlier: Change): boolean {
    const { nodeId, meta } = this.#state;
    return Object.entries(later.base).some(([node, counter]) => {
      if (node === CLOUD) return counter > Math.max(meta.cursor, entry(earlier.base, CLOUD));
      return node !== nodeId && counter > entry(earlier.base, node);
    });
  }

  /** Each in a row of its own, in one go. */
  #append(changes: readonly Change[], also: () => void): void {
    const { store, queue } = this.#state;
    for (const change of changes) this.#note(change);
    const sized = changes.map((change) => ({ change, bytes: changeBytes(change) }));
    this.#state.checkRoom(transactionBytes(sized.map(({ bytes }) => bytes)));
    const first = queue.nextOrder;
    const rows: QueuedChange[] = [];
    store.transaction(() => {
      for (const [index, { change, bytes }] of sized.entries()) {
        // One by one: what is free for the next one is looked up in the store.
        const row = { ...this.#state.newRow(change, bytes), order: first + index };
        store.writeQueued(row);
        rows.push(row);
      }
      also();
    });
    for (const row of rows) {
      this.#state.took(row.change);
      queue.add(row);
    }
    this.#view.tell();
  }

  /** Both in the row of the earlier one. */
  #replace(earlier: QueuedChange, both: Change, later: Change, also: () => void): void {
    this.#note(later);
    const bytes = changeBytes(both);
    this.#state.checkRoom(bytes - earlier.bytes);
    const row = { ...earlier, change: both, since: sinceOf(earlier), bytes };
    this.#state.store.transaction(() => {
      this.#state.store.writeQueued(row);
      also();
    });
    this.#state.took(later);
    this.#state.queue.add(row, earlier);
    this.#view.tell();
  }

  /** Made and deleted again: neither will be sent. */
  #cancel(made: QueuedChange, deletion: Change, also: () => void): void {
    this.#note(deletion);
    this.#state.store.transaction(() => {
      this.#state.store.removeQueued(made.slot);
      // Their counters are in no row any more, and must not be used again.
      this.#state.saveMeta({ counter: dotOf(deletion).counter });
      also();
    });
    this.#state.took(deletion);
    this.#state.removed(made);
    this.#view.tell();
  }

  #note(change: Change): void {
    this.#view.note(entityKey(change), change.operation === 'delete' ? change.id : undefined);
  }
}

interface Writer {
  readonly after: CausalContext;
  /** Whether all that he has seen is here. */
  readonly isCovered: boolean;
  readonly nowMs: number;
}

interface Made {
  readonly change: Change;
  readonly written: Written;
}

/** Of a record that a transaction has changed, and of one that it has not. */
type Shown = Pick<View, 'data' | 'version'>;

/** Says of a refusal which write it was. */
function atWrite<T>(index: number, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof SyncError)) throw error;
    throw new SyncError(error.code, `change ${index}: ${error.message}`, { ...error.details, index });
  }
}

function checkPrecondition(before: Shown | undefined, precondition: Precondition): void {
  if (isMet(precondition, before?.version)) return;
  const current = before?.version;
  throw new SyncError('precondition_failed', `the current version is ${current ?? 'none'}`, { current });
}
