import { LIMITS } from '../protocol/limits.ts';
import type { Clock, Memo, MemoStore } from './ports.ts';

/** What is remembered for a day. What is older is not there, and goes now and then. */
export class Memos {
  readonly #store: MemoStore;
  readonly #clock: Clock;
  #sweptAtMs = 0;

  constructor(store: MemoStore, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  get<Kind extends Memo['kind']>(kind: Kind, key: string): Extract<Memo, { kind: Kind }> | undefined {
    const memo = this.#store.readMemo(`${kind}/${key}`);
    if (memo === undefined || this.#clock.nowMs() - memo.atMs > LIMITS.memoMs) return undefined;
    return isOf(kind, memo) ? memo : undefined;
  }

  put(key: string, memo: Memo): void {
    const nowMs = this.#clock.nowMs();
    if (Math.abs(nowMs - this.#sweptAtMs) > SWEEP_MS) {
      this.#sweptAtMs = nowMs;
      this.#store.forgetMemos(nowMs - LIMITS.memoMs);
    }
    this.#store.writeMemo(`${memo.kind}/${key}`, memo);
  }

  /** It is as one that is too old. */
  forget(key: string, memo: Memo): void {
    this.#store.writeMemo(`${memo.kind}/${key}`, { ...memo, atMs: 0 });
  }
}

/** Why a write by a known key is refused that is another one than the first. */
export const KEY_REUSED = {
  code: 'idempotency_key_reused',
  detail: 'another write had this Idempotency-Key; each needs its own',
} as const;

function isOf<Kind extends Memo['kind']>(kind: Kind, memo: Memo): memo is Extract<Memo, { kind: Kind }> {
  return memo.kind === kind;
}

/** A scan of all that is remembered; seldom enough. */
const SWEEP_MS = 3_600_000;
