import type { Clock } from './ports.ts';

/** What a promise comes to, or undefined where that takes longer than `waitMs`. The wait ends with whichever is first. */
export async function within<T>(clock: Clock, waitMs: number, promise: PromiseLike<T>): Promise<T | undefined> {
  const patience = new AbortController();
  try {
    return await Promise.race([promise, clock.sleep(waitMs, patience.signal).then(() => undefined)]);
  } finally {
    patience.abort();
  }
}
