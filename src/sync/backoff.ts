import { LIMITS } from '../protocol/limits.ts';

/**
 * How long to wait after the `failures`-th failure in a row: exponential with full jitter (Brooker, "Exponential
 * Backoff and Jitter", AWS 2015), so that nodes which lost the cloud together don't come back together.
 *
 * @param fraction uniform in [0, 1).
 * @returns ms, 0 to `LIMITS.backoffMs`.
 */
export function backoffMs(failures: number, fraction: number): number {
  return Math.floor(fraction * Math.min(FIRST_MS * 2 ** Math.max(0, failures - 1), LIMITS.backoffMs));
}

const FIRST_MS = 1_000;
