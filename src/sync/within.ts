import type { Clock } from './ports.ts';

/** Tells how much of a wait is left, ms: of one that several steps share. By a clock that was put back it is no longer than it was. */
export function leftOf(clock: Pick<Clock, 'nowMs'>, waitMs: number): () => number {
  const deadlineMs = clock.nowMs() + waitMs;
  return () => Math.max(0, Math.min(waitMs, deadlineMs - clock.nowMs()));
}

/** What a promise comes to, or undefined where that takes longer than `waitMs`. The wait ends with whichever is first. */
export async function within<T>(clock: Clock, waitMs: number, promise: PromiseLike<T>): Promise<T | undefined> {
  const patience = new AbortController();
  try {
    return await Promise.race([promise, clock.sleep(waitMs, patience.signal).then(() => undefined)]);
  } finally {
    patience.abort();
  }
}
