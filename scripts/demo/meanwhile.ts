import { setTimeout as sleep } from 'node:timers/promises';

/** Looks again and again while `body` runs. A look that fails is no failure of what is looked at: that tells by itself. */
export async function meanwhile<T>(everyMs: number, look: () => Promise<void>, body: () => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const looking = lookUntil(ended.signal, everyMs, look);
  try {
    return await body();
  } finally {
    ended.abort();
    await looking;
  }
}

async function lookUntil(ended: AbortSignal, everyMs: number, look: () => Promise<void>): Promise<void> {
  while (!ended.aborted) {
    await look().catch(() => {});
    await sleep(everyMs, undefined, { signal: ended }).catch(() => {});
  }
}
