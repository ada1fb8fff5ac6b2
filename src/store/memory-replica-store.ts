import { dotOf } from '../core/change.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityKey, type EntityType, entityKey } from '../core/ids.ts';
import type { Memo, MemoStore, QueuedChange, ReplicaMeta, ReplicaStore, StagedPage } from '../sync/ports.ts';
import { refusePromise } from './do-sqlite.ts';

/** A replica in memory. A new `Replica` over the same store is one that was started again. */
export class MemoryReplicaStore implements ReplicaStore {
  readonly #journal = new Journal();
  readonly #meta = new MemoryTable<1, ReplicaMeta>(this.#journal);
  readonly #records = new MemoryTable<EntityKey, EntityVersion>(this.#journal);
  readonly #queue = new MemoryTable<number, QueuedChange>(this.#journal);
  readonly #staged = new MemoryTable<number, StagedPage>(this.#journal);
  readonly #memos = new MemoryMemos(this.#journal);

  transaction<T>(body: () => T): T {
    return this.#journal.transaction(body);
  }

  readMeta(): ReplicaMeta | undefined {
    return this.#meta.get(1);
  }

  writeMeta(meta: ReplicaMeta): void {
    this.#meta.set(1, meta);
  }

  readRecord(key: EntityKey): EntityVersion | undefined {
    return this.#records.get(key);
  }

  listRecords(type: EntityType, after: string, limit: number): EntityVersion[] {
    // Keys of one type sort as its ids do, since all of them begin alike.
    const prefix = `${type}/`;
    const keys = this.#records.keys().filter((key) => key.startsWith(prefix) && key.slice(prefix.length) > after);
    return this.#records.getAll(keys.sort().slice(0, limit));
  }

  recordKeys(): EntityKey[] {
    return this.#records.keys();
  }

  countRecords(): number {
    return this.#records.keys().length;
  }

  writeRecord(record: EntityVersion): void {
    this.#records.set(entityKey(record), record);
  }

  removeRecord(key: EntityKey): void {
    this.#records.delete(key);
  }

  readQueue(settledUpTo: number): QueuedChange[] {
    const rows = this.#queue.getAll(this.#queue.keys()).filter((queued) => !isSettled(queued, settledUpTo));
    return rows.sort((a, b) => a.order - b.order);
  }

  writeQueued(queued: QueuedChange): void {
    this.#queue.set(queued.slot, queued);
  }

  removeQueued(slot: number): void {
    this.#queue.delete(slot);
  }

  settledSlots(settledUpTo: number, after: number, limit: number): number[] {
    const slots = this.#queue.keys().filter((slot) => slot > after);
    const settled = this.#queue.getAll(slots).filter((queued) => isSettled(queued, settledUpTo));
    return settled
      .map(({ slot }) => slot)
      .sort((a, b) => a - b)
      .slice(0, limit);
  }

  lastSlot(): number {
    return this.#queue.keys().reduce((last, slot) => Math.max(last, slot), 0);
  }

  *readStaged(): Generator<StagedPage> {
    for (let index = 0; ; index += 1) {
      const page = this.#staged.get(index);
      if (page === undefined) return;
      yield page;
    }
  }

  writeStaged(index: number, page: StagedPage): void {
    if (this.#staged.get(index) !== undefined) throw new Error(`invariant broken: page ${index} is staged already`);
    this.#staged.set(index, page);
  }

  clearStaged(): void {
    for (const index of this.#staged.keys()) this.#staged.delete(index);
  }

  readMemo(key: string): Memo | undefined {
    return this.#memos.readMemo(key);
  }

  writeMemo(key: string, memo: Memo): void {
    this.#memos.writeMemo(key, memo);
  }

  forgetMemos(beforeMs: number): void {
    this.#memos.forgetMemos(beforeMs);
  }
}

export class MemoryMemos implements MemoStore {
  readonly #memos: MemoryTable<string, Memo>;

  constructor(journal: Journal) {
    this.#memos = new MemoryTable(journal);
  }

  readMemo(key: string): Memo | undefined {
    return this.#memos.get(key);
  }

  writeMemo(key: string, memo: Memo): void {
    this.#memos.set(key, memo);
  }

  forgetMemos(beforeMs: number): void {
    for (const key of this.#memos.keys()) if ((this.#memos.get(key)?.atMs ?? 0) < beforeMs) this.#memos.delete(key);
  }
}

function isSettled({ change, error }: QueuedChange, upTo: number): boolean {
  return error === null && dotOf(change).counter <= upTo;
}

/** How to take back what the transactions under way have done, newest last. */
export class Journal {
  readonly #undo: (() => void)[] = [];
  #depth = 0;

  transaction<T>(body: () => T): T {
    const start = this.#undo.length;
    this.#depth += 1;
    try {
      return refusePromise(body());
    } catch (error) {
      for (const undo of this.#undo.splice(start).reverse()) undo();
      throw error;
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#undo.length = 0;
    }
  }

  record(undo: () => void): void {
    if (this.#depth > 0) this.#undo.push(undo);
  }
}

/** Values by key, kept as JSON texts as SQLite keeps them: what goes in or comes out is nobody else's. */
export class MemoryTable<Key, Value> {
  readonly #rows = new Map<Key, string>();
  readonly #journal: Journal;

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  get(key: Key): Value | undefined {
    const text = this.#rows.get(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  getAll(keys: readonly Key[]): Value[] {
    return keys.flatMap((key) => this.get(key) ?? []);
  }

  /** A copy: rows may come and go while a caller walks through it. */
  keys(): Key[] {
    return [...this.#rows.keys()];
  }

  set(key: Key, value: Value): void {
    this.#put(key, JSON.stringify(value));
  }

  delete(key: Key): void {
    this.#put(key, undefined);
  }

  #put(key: Key, text: string | undefined): void {
    const before = this.#rows.get(key);
    this.#journal.record(() => this.#replace(key, before));
    this.#replace(key, text);
  }

  #replace(key: Key, text: string | undefined): void {
    if (text === undefined) this.#rows.delete(key);
    else this.#rows.set(key, text);
  }
}
