import { ERRORS, type ErrorCode, type SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { backoffMs } from './backoff.ts';

/** For how long, and why, a node leaves the cloud alone after a sync that failed. Times are of its own clock, ms since 1970. */
export interface Wait {
  readonly sinceMs: number;
  /** By its own prudence: who needs the cloud now may end that. */
  readonly ownUntilMs: number;
  /** Because the cloud asked for it, or refuses whatever comes: that holds for all. */
  readonly askedUntilMs: number;
  readonly error: { readonly code: ErrorCode; readonly detail: string } | null;
}

/** What a node is paused for: somebody has to see to it. */
export type Paused = 'needs-auth' | 'needs-upgrade';

/** @param failures in a row, this one counted. @param fraction uniform in [0, 1). */
export function waitAfter(error: SyncError | undefined, failures: number, sinceMs: number, fraction: number): Wait {
  const pauseMs = pausedBy(error) === null ? 0 : Math.floor(LIMITS.pauseMs * (1 - fraction / 2));
  const toldMs = Math.max(0, Math.min(error?.details.retryAfterMs ?? 0, LIMITS.retryAfterMs));
  return {
    sinceMs,
    ownUntilMs: sinceMs + backoffMs(failures, fraction),
    askedUntilMs: sinceMs + Math.max(pauseMs, toldMs),
    error: error === undefined ? null : { code: error.code, detail: error.message.slice(0, LIMITS.reasonChars) },
  };
}

/** What is left of a wait when somebody says that the link is another one, or the token: what the cloud asked for. */
export function withoutOwn(wait: Wait | null): Wait | null {
  const isLeft = wait !== null && wait.askedUntilMs > wait.sinceMs && pausedBy(wait.error) === null;
  return isLeft ? { ...wait, ownUntilMs: wait.sinceMs } : null;
}

export function pausedBy(error: { readonly code: ErrorCode } | null | undefined): Paused | null {
  const retry = error && ERRORS[error.code].retry;
  if (retry === 'auth') return 'needs-auth';
  return retry === 'upgrade' ? 'needs-upgrade' : null;
}

/** Whether it is longer than any of a node's own: it is kept over its end, so that what asked for it is left alone. */
export function isLong({ sinceMs, askedUntilMs }: Wait): boolean {
  return askedUntilMs - sinceMs > LIMITS.backoffMs;
}
