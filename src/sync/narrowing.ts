import { type ErrorCode, SyncError } from '../protocol/errors.ts';

/** A change that the cloud can't take, whatever is with it in a batch. */
export interface Culprit {
  readonly changeId: string;
  readonly code: ErrorCode;
  readonly detail: string;
}

/**
 * How large a batch may be where the cloud fails at batches: after each failure half as large, down to one change, and to
 * none. Where the empty batch passes, the change that failed alone is to blame; where that fails too, it is the cloud or
 * the link, and no change is. After each batch that passes the next may be twice as large.
 */
export class Narrowing {
  #maxChanges = Number.POSITIVE_INFINITY;
  #suspect: Culprit | undefined;

  get maxChanges(): number {
    return this.#maxChanges;
  }

  /** @returns whether a smaller batch may pass. */
  failed(changes: readonly { readonly id: string }[], error: unknown): boolean {
    this.#suspect = undefined;
    const failure = failureOf(error);
    const [first] = changes;
    if (failure === undefined || first === undefined) return false;
    this.#maxChanges = Math.floor(changes.length / 2);
    if (this.#maxChanges === 0) this.#suspect = { changeId: first.id, ...failure };
    return true;
  }

  /** @returns who is to blame for the failure before. */
  passed(): Culprit | undefined {
    const culprit = this.#suspect;
    this.#suspect = undefined;
    this.#maxChanges = Math.max(1, this.#maxChanges * 2);
    return culprit;
  }
}

/** Undefined: the failure is none of the batch's. What has no code is a bug, and may be one that the batch brings out. */
function failureOf(error: unknown): Omit<Culprit, 'changeId'> | undefined {
  if (!(error instanceof SyncError)) return { code: 'internal', detail: String(error) };
  return OF_CONTENT.has(error.code) ? { code: error.code, detail: error.message } : undefined;
}

const OF_CONTENT: ReadonlySet<ErrorCode> = new Set(['internal', 'too_large', 'bad_request', 'bad_json', 'bad_name']);
