import { dotOf } from '../core/change.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityKey, type EntityType, entityKey } from '../core/ids.ts';
import type { Memo, MemoStore, QueuedChange, ReplicaMeta, ReplicaStore, StagedPage } from '../sync/ports.ts';
import { refusePromise } from './do-sqlite.ts';

/** A replica in memory. A new `Replica` over the same store is one that was started again. */
export class MemoryReplicaStore implements ReplicaStore {
  readonly #journal: Journal;
  readonly #meta: MemoryTable<1, ReplicaMeta>;
  readonly #records: MemoryTable<EntityKey, EntityVersion>;
  readonly #queue: MemoryTable<number, QueuedChange>;
  readonly #staged: MemoryTable<number, StagedPage>;
  readonly #memos: MemoryMemos;

  /** @param rows what it begins with. @param commit told what each transaction has written. */
  constructor(rows: Iterable<Row> = [], commit?: Commit) {
    const journal = new Journal(commit);
    const tables = Map.groupBy(rows, ({ table }) => table);
    this.#journal = journal;
    this.#meta = new MemoryTable(journal, 'meta', tables.get('meta'));
    this.#records = new MemoryTable(journal, 'records', tables.get('records'));
    this.#queue = new MemoryTable(journal, 'queue', tables.get('queue'));
    this.#staged = new MemoryTable(journal, 'staged', tables.get('staged'));
    this.#memos = new MemoryMemos(journal, tables.get('memos'));
  }

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
    return this.#records.size;
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

  constructor(journal: Journal, rows?: readonly Row[]) {
    this.#memos = new MemoryTable(journal, 'memos', rows);
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

/** A row as a transaction left it; without a text it is gone. */
export interface Row {
  readonly table: string;
  readonly key: string | number;
  readonly text: string | undefined;
}

/** Is told of each transaction that wrote something, at its end; where it throws, the transaction is taken back. */
export type Commit = (rows: readonly Row[]) => void;

/** What the transactions under way have done, newest last, and how to take it back. */
export class Journal {
  readonly #done: { readonly row: Row; readonly undo: () => void }[] = [];
  readonly #commit: Commit | undefined;
  #depth = 0;

  constructor(commit?: Commit) {
    this.#commit = commit;
  }

  transaction<T>(body: () => T): T {
    const start = this.#done.length;
    this.#depth += 1;
    try {
      const result = refusePromise(body());
      if (this.#depth === 1 && this.#done.length > 0) this.#commit?.(this.#done.map(({ row }) => row));
      return result;
    } catch (error) {
      for (const { undo } of this.#done.splice(start).reverse()) undo();
      throw error;
    } finally {
      this.#depth -= 1;
      if (this.#depth === 0) this.#done.length = 0;
    }
  }

  /** A write; outside of a transaction it is one by itself. */
  write(row: Row, act: () => void, undo: () => void): void {
    this.transaction(() => {
      act();
      this.#done.push({ row, undo });
    });
  }
}

/** Values by key, kept as JSON texts as SQLite keeps them: what goes in or comes out is nobody else's. */
export class MemoryTable<Key extends string | number, Value> {
  readonly #rows = new Map<Key, string>();
  readonly #journal: Journal;
  readonly #name: string;

  /** @param name of its rows, for who is told of them. @param rows what it begins with. */
  constructor(journal: Journal, name = '', rows: readonly Row[] = []) {
    this.#journal = journal;
    this.#name = name;
    for (const { key, text } of rows) if (text !== undefined) this.#rows.set(key as Key, text);
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

  get size(): number {
    return this.#rows.size;
  }

  set(key: Key, value: Value): void {
    this.#put(key, JSON.stringify(value));
  }

  delete(key: Key): void {
    if (this.#rows.has(key)) this.#put(key, undefined);
  }

  #put(key: Key, text: string | undefined): void {
    const before = this.#rows.get(key);
    this.#journal.write(
      { table: this.#name, key, text },
      () => this.#replace(key, text),
      () => this.#replace(key, before),
    );
  }

  #replace(key: Key, text: string | undefined): void {
    if (text === undefined) this.#rows.delete(key);
    else this.#rows.set(key, text);
  }
}
