import { LIMITS } from '../protocol/limits.ts';
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

/**
 * Tries of what may come about within `waitMs`, with longer and longer pauses between them. Each is told how long it may
 * take, ms; the first one is there in any case, and gets `LIMITS.askMs` at least.
 */
export async function* tries(clock: Clock, waitMs: number): AsyncGenerator<number, void, void> {
  const deadlineMs = clock.nowMs() + waitMs;
  yield Math.max(waitMs, LIMITS.askMs);
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    await clock.sleep(Math.min(pauseMs, Math.max(0, deadlineMs - clock.nowMs())));
    const leftMs = deadlineMs - clock.nowMs();
    // By a clock that was put back the wait would not end.
    if (leftMs <= 0 || leftMs > waitMs) return;
    yield leftMs;
  }
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
