import { ERRORS, SyncError } from '../protocol/errors.ts';

/** A failure as RFC 9457 `application/problem+json`. What isn't a `SyncError` is told to the log, and not to the caller. */
export function problemResponse(error: unknown): Response {
  const failure = error instanceof SyncError ? error : internal(error);
  const { status, title } = ERRORS[failure.code];
  const { retryAfterMs, ...details } = failure.details;
  // Null: there is no record.
  const current = failure.code === 'precondition_failed' ? { current: details.current ?? null } : {};
  const headers = new Headers({ 'Content-Type': 'application/problem+json', 'Cache-Control': 'no-store' });
  if (retryAfterMs !== undefined) headers.set('Retry-After', String(Math.ceil(retryAfterMs / 1000)));
  if (failure.code === 'unauthenticated') headers.set('WWW-Authenticate', 'Bearer');
  const body = {
    type: `urn:causeway:problem:${failure.code}`,
    title,
    status,
    detail: failure.message,
    code: failure.code,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...details,
    ...current,
  };
  return new Response(JSON.stringify(body), { status, headers });
}

/** An object that was reset or is swamped says so by these marks; anything else is a bug. */
function internal(error: unknown): SyncError {
  if (typeof error === 'object' && error !== null) {
    if ('overloaded' in error && error.overloaded === true) {
      return new SyncError('overloaded', 'the object is busy', { retryAfterMs: 1_000 });
    }
    if ('retryable' in error && error.retryable === true) {
      return new SyncError('cloud_unavailable', 'the object was restarted; nothing is known of the effect', {
        retryAfterMs: 1_000,
      });
    }
  }
  console.error(
    JSON.stringify({ event: 'internal_error', error: error instanceof Error ? error.stack : String(error) }),
  );
  return new SyncError('internal', 'the request failed here; nothing is known of its effect');
}
