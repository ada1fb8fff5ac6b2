/**
 * The one table of operational failures: each code with its HTTP status, its title, and what a sync does about it.
 * Codes are stable (`http.md`, section 1).
 *
 * `retry`: `same` = the same request may be sent again later; `session` = after a new session; `auth` = after a new
 * token; `upgrade` = after another version of either side; `never` = it will fail again.
 */
export const ERRORS = {
  bad_request: { status: 400, title: 'The request is malformed', retry: 'never' },
  bad_json: { status: 400, title: 'The body is not valid JSON', retry: 'never' },
  bad_name: { status: 400, title: 'A name has characters or a length that names may not have', retry: 'never' },
  bad_consistency: { status: 400, title: 'There is no such consistency level', retry: 'never' },
  bad_token: { status: 400, title: 'The causal token is not one of this space', retry: 'never' },
  unauthenticated: { status: 401, title: 'A valid bearer token is needed', retry: 'auth' },
  forbidden: { status: 403, title: 'The token does not allow this', retry: 'auth' },
  not_found: { status: 404, title: 'There is no such thing', retry: 'never' },
  method_not_allowed: { status: 405, title: 'There is such a path, for other methods', retry: 'never' },
  session_mismatch: { status: 409, title: 'The session belongs to another node', retry: 'session' },
  node_forked: { status: 409, title: 'This change id stands for another change', retry: 'session' },
  batch_reused: { status: 409, title: 'This batch id stands for another batch', retry: 'never' },
  not_dead: { status: 409, title: 'The change is not dead', retry: 'never' },
  session_expired: { status: 410, title: 'The session has ended', retry: 'session' },
  precondition_failed: { status: 412, title: 'The record has another version', retry: 'never' },
  too_large: { status: 413, title: 'That is too large', retry: 'never' },
  not_held: { status: 421, title: 'This node does not hold records of that type', retry: 'never' },
  unsupported_encoding: { status: 415, title: 'The content type or encoding is not supported', retry: 'never' },
  invalid_data: { status: 422, title: "The record does not fit its type's schema", retry: 'never' },
  invalid_operation: { status: 422, title: 'The operation does not fit the record', retry: 'never' },
  idempotency_key_reused: { status: 422, title: 'This Idempotency-Key stands for another write', retry: 'never' },
  transaction_refused: { status: 422, title: 'Another change of the transaction was refused', retry: 'never' },
  too_deep: { status: 422, title: 'The record is nested too deeply', retry: 'never' },
  protocol_unsupported: { status: 426, title: 'This protocol version is not spoken here', retry: 'upgrade' },
  rate_limited: { status: 429, title: 'Too many requests', retry: 'same' },
  internal: { status: 500, title: 'Something went wrong here', retry: 'same' },
  cloud_unavailable: { status: 503, title: 'The cloud is out of reach', retry: 'same' },
  not_configured: { status: 503, title: 'The server has no secret', retry: 'same' },
  overloaded: { status: 503, title: 'Too busy', retry: 'same' },
  causality_timeout: { status: 504, title: 'What the token has seen did not arrive in time', retry: 'same' },
  quorum_timeout: { status: 504, title: 'Too few replicas answered in time', retry: 'same' },
  outcome_unknown: { status: 504, title: 'The cloud did not answer in time', retry: 'same' },
  queue_full: { status: 507, title: "The node's queue is full", retry: 'same' },
  // A client's own, which no server answers with.
  storage_full: { status: 507, title: 'The storage of this device is full', retry: 'same' },
  storage_unavailable: { status: 503, title: 'The storage of this device cannot be used', retry: 'same' },
} as const satisfies Record<
  string,
  { status: number; title: string; retry: 'same' | 'session' | 'auth' | 'upgrade' | 'never' }
>;

export type ErrorCode = keyof typeof ERRORS;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}

/** What a failure says beside its code: fields of the problem document. */
export interface ErrorDetails {
  readonly retryAfterMs?: number | undefined;
  readonly issues?: readonly { readonly path: string; readonly message: string }[] | undefined;
  readonly current?: string | undefined;
  /** Of an import, what was taken before. */
  readonly imported?: number | undefined;
  readonly unchanged?: number | undefined;
  /** How many replicas have answered. */
  readonly have?: number | undefined;
  /** Of several writes, which one. */
  readonly index?: number | undefined;
  readonly supported?: readonly number[] | undefined;
  /** Of a read that found nothing: at which level that is so, by whose word, and how old it may be. */
  readonly consistency?: string | undefined;
  readonly source?: string | undefined;
  readonly stalenessMs?: number | null | undefined;
}

/** An operational failure. Expected outcomes are values, broken invariants are asserts; this is all that lies between. */
export class SyncError extends Error {
  override readonly name = 'SyncError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, detail: string, details: ErrorDetails = {}) {
    super(detail);
    this.code = code;
    this.details = details;
  }
}

/** A failure or a value, as data: what crosses a boundary that drops an error's own properties. */
export type Result<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: ErrorCode; readonly detail: string; readonly details: ErrorDetails };

/** Runs `body` and turns a {@link SyncError} into data; any other throw goes on. */
export async function toResult<T>(body: () => T | Promise<T>): Promise<Result<T>> {
  try {
    return { ok: true, value: await body() };
  } catch (error) {
    if (error instanceof SyncError) {
      return { ok: false, code: error.code, detail: error.message, details: error.details };
    }
    throw error;
  }
}

/** The other side of {@link toResult}: the value, or the failure thrown. */
export function fromResult<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new SyncError(result.code, result.detail, result.details);
}

/** Too few replicas. @param where what is known of the rest. */
export function tooFew(wanted: number, have: number, where: string): SyncError {
  return new SyncError('quorum_timeout', `${where}; ${have} of ${wanted} replicas have answered`, {
    retryAfterMs: 1_000,
    have,
  });
}
