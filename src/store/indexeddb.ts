import { type IDBPDatabase, openDB } from 'idb';
import { SyncError } from '../protocol/errors.ts';
import { MemoryReplicaStore, type Row } from './memory-replica-store.ts';

/** Who is told of what comes later. */
interface Told {
  /** All transactions up to this one are on disk. */
  readonly onDurable?: (commit: number) => void;
  /** Nothing more will be. */
  readonly onFailed?: (error: SyncError) => void;
}

type RowKey = [table: string, key: string | number];

/**
 * A replica's storage in IndexedDB. It is read once, and kept in memory, since a `ReplicaStore` is synchronous; what a
 * transaction wrote goes to disk behind it, in order, each transaction whole. Where that fails, what is in memory is ahead
 * of the disk: so nothing is written from then on, {@link durable} throws, and it has to be opened again.
 */
export class IndexedDbStorage {
  readonly store: MemoryReplicaStore;
  readonly #db: IDBPDatabase;
  readonly #told: Told;
  /** The transactions of all times, counted: as written here, and as they are on disk. */
  #written: number;
  #onDisk: number;
  /** What is not on its way to disk yet, by row. */
  #waiting = new Map<string, Row>();
  #writing: Promise<void> | undefined;
  #failure: SyncError | undefined;

  /** @throws SyncError `storage_unavailable`, `storage_full` */
  static async open(name: string, told: Told = {}): Promise<IndexedDbStorage> {
    let opened: IndexedDbStorage | undefined;
    let lost: string | undefined;
    const end = (why: string) => {
      lost = why;
      if (opened !== undefined) opened.#fail(new SyncError('storage_unavailable', why));
    };
    try {
      if (typeof indexedDB === 'undefined') throw new Error('there is no IndexedDB here');
      const db = await openDatabase(name, end);
      const { rows, commit } = await readAll(db);
      opened = new IndexedDbStorage(db, rows, commit, told);
      if (lost !== undefined) end(lost);
      return opened;
    } catch (error) {
      throw asSyncError(error);
    }
  }

  private constructor(db: IDBPDatabase, rows: Iterable<Row>, commit: number, told: Told) {
    this.#db = db;
    this.#written = commit;
    this.#onDisk = commit;
    this.#told = told;
    this.store = new MemoryReplicaStore(rows, (written) => this.#append(written));
  }

  /** The number of the last transaction; it goes on where it was when the storage was opened before. */
  get commit(): number {
    return this.#written;
  }

  /** The number of the last transaction that is on disk. */
  get durableCommit(): number {
    return this.#onDisk;
  }

  /** Ends when all that was written before is on disk. @throws SyncError when it never will be. */
  async durable(): Promise<void> {
    const commit = this.#written;
    while (this.#failure === undefined && this.#onDisk < commit) await this.#writing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Writes what is left, and lets the database go. Never throws: who has to know has asked for {@link durable}. */
  async close(): Promise<void> {
    await this.#writing;
    this.#failure ??= new SyncError('storage_unavailable', 'the storage is closed');
    this.#db.close();
  }

  #append(rows: readonly Row[]): void {
    if (this.#failure !== undefined) throw this.#failure;
    for (const row of rows) this.#waiting.set(`${row.table}/${row.key}`, row);
    this.#written += 1;
    this.#writing ??= this.#write();
  }

  /** Transactions that come while others are written go to disk together. */
  async #write(): Promise<void> {
    try {
      // Behind what is done at once: so that who is told of a transaction has heard of it before it is on disk.
      await Promise.resolve();
      while (this.#waiting.size > 0 && this.#failure === undefined) {
        const rows = [...this.#waiting.values(), commitRow(this.#written)];
        const commit = this.#written;
        this.#waiting = new Map();
        await this.#put(rows);
        this.#onDisk = commit;
        this.#told.onDurable?.(commit);
      }
    } catch (error) {
      this.#fail(asSyncError(error));
    } finally {
      this.#writing = undefined;
    }
  }

  async #put(rows: readonly Row[]): Promise<void> {
    // Strict: a phone that is switched off has kept what was acknowledged.
    const { store, done } = this.#db.transaction(ROWS, 'readwrite', { durability: 'strict' });
    for (const { table, key, text } of rows) {
      const at: RowKey = [table, key];
      // Why it failed, the transaction tells best.
      (text === undefined ? store.delete(at) : store.put(text, at)).catch(() => undefined);
    }
    await done;
  }

  #fail(error: SyncError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#db.close();
    this.#told.onFailed?.(error);
  }
}

const VERSION = 1;
const ROWS = 'rows';
const COMMIT = 'commit';

function commitRow(commit: number): Row {
  return { table: COMMIT, key: 0, text: String(commit) };
}

/** @param onLost told why the database can't be used any more. */
function openDatabase(name: string, onLost: (why: string) => void): Promise<IDBPDatabase> {
  return new Promise((resolve, reject) => {
    openDB(name, VERSION, {
      upgrade: (db) => void db.createObjectStore(ROWS),
      // It may never get its turn; who waits for it is told.
      blocked: () => reject(new Error('an older version of this program has the storage open')),
      blocking: () => onLost('another version of this program, or somebody who deletes it, needs the storage'),
      terminated: () => onLost('the browser has closed the storage'),
    }).then(resolve, reject);
  });
}

async function readAll(db: IDBPDatabase): Promise<{ rows: Row[]; commit: number }> {
  const { store } = db.transaction(ROWS);
  const [keys, texts] = await Promise.all([store.getAllKeys(), store.getAll()]);
  const rows = keys.map((at, index): Row => {
    const [table, key] = at as RowKey;
    return { table, key, text: texts[index] };
  });
  const commit = Number(rows.find(({ table }) => table === COMMIT)?.text ?? 0);
  return { rows, commit };
}

function asSyncError(error: unknown): SyncError {
  if (error instanceof SyncError) return error;
  const { name = '', message = '' } = error instanceof Error ? error : {};
  if (name === 'QuotaExceededError') {
    return new SyncError('storage_full', 'the browser gives this site no more space; nothing of it was written');
  }
  return new SyncError('storage_unavailable', `the storage of this browser can't be used: ${message || name}`);
}
