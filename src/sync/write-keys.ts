import { SyncError } from '../protocol/errors.ts';
import { KEY_REUSED, type Memos } from './memos.ts';
import type { Clock } from './ports.ts';
import type { Once, Written } from './write.ts';

/** By which keys this node has written, and what: a write that its caller repeats does nothing, and is told the same. */
export class WriteKeys {
  readonly #memos: Memos;
  readonly #clock: Clock;

  constructor(memos: Memos, clock: Clock) {
    this.#memos = memos;
    this.#clock = clock;
  }

  /** What an earlier write did by the same key; undefined: there was none. @throws SyncError `idempotency_key_reused` */
  written(once: Once | undefined): readonly Written[] | undefined {
    const written = this.#find(once);
    if (written === null) throw keyReused();
    return written;
  }

  /** Whether no strong write of this node had the key. @throws SyncError `idempotency_key_reused` where another one had. */
  isFree(once: Once | undefined): boolean {
    const written = this.#find(once);
    if (written) throw keyReused();
    return written === undefined;
  }

  /** Is part of the transaction of the write. @param written null: a strong one, of which the cloud knows. */
  remember(written: readonly Written[] | null, once: Once | undefined): void {
    if (once === undefined) return;
    this.#memos.put(once.key, { kind: 'written', atMs: this.#clock.nowMs(), hash: once.hash, written });
  }

  /** A strong write that was refused leaves its key to others. */
  leave(once: Once | undefined): void {
    if (once !== undefined) this.#memos.forget(once.key, { kind: 'written', atMs: 0, hash: once.hash, written: null });
  }

  #find(once: Once | undefined): readonly Written[] | null | undefined {
    const memo = once && this.#memos.get('written', once.key);
    if (memo !== undefined && memo.hash !== once?.hash) throw keyReused();
    return memo?.written;
  }
}

function keyReused(): SyncError {
  return new SyncError(KEY_REUSED.code, KEY_REUSED.detail);
}
