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
 * the link, and no change is. After each batch that passes the next may be larger: twice as large, or half the way to a
 * number of changes that failed of late, so that where there is a limit it is found, and kept to.
 */
export class Narrowing {
  #maxChanges = Number.POSITIVE_INFINITY;
  /** So many failed of late. */
  #tooMany = Number.POSITIVE_INFINITY;
  /** Batches that passed since then. */
  #passes = 0;
  #suspect: Culprit | undefined;

  get maxChanges(): number {
    return this.#maxChanges;
  }

  /** @returns whether a smaller batch may pass. */
  failed(changes: readonly Sent[], error: unknown): boolean {
    this.#suspect = undefined;
    const failure = failureOf(error);
    const [first] = changes;
    if (failure === undefined || first === undefined) return false;
    // A transaction goes as a whole, so alone it is as one change; and what is given up goes by itself.
    const isAlone = changes.every(
      (one) => one === first || one.withdrawn !== undefined || (one.transaction ?? one.id) === first.transaction,
    );
    this.#maxChanges = isAlone ? 0 : Math.floor(changes.length / 2);
    // One that fails alone fails for another reason than being too many.
    this.#tooMany = isAlone ? Number.POSITIVE_INFINITY : changes.length;
    this.#passes = 0;
    if (this.#maxChanges === 0) this.#suspect = { changeId: first.id, ...failure };
    return true;
  }

  /** @returns who is to blame for the failure before. */
  passed(): Culprit | undefined {
    const culprit = this.#suspect;
    this.#suspect = undefined;
    this.#passes += 1;
    if (this.#passes >= FORGET_AFTER) this.#tooMany = Number.POSITIVE_INFINITY;
    const halfWay = Math.floor((this.#maxChanges + this.#tooMany) / 2);
    this.#maxChanges = Math.max(1, Math.min(this.#maxChanges * 2, halfWay));
    return culprit;
  }
}

/** Of a change that was sent. */
interface Sent {
  readonly id: string;
  readonly transaction?: string | undefined;
  /** Set: it is given up, and says no more of itself. */
  readonly withdrawn?: unknown;
}

/** Batches that pass before a limit is tried again: it may be gone. */
const FORGET_AFTER = 30;

/** Undefined: the failure is none of the batch's. What has no code is a bug, and may be one that the batch brings out. */
function failureOf(error: unknown): Omit<Culprit, 'changeId'> | undefined {
  if (!(error instanceof SyncError)) return { code: 'internal', detail: String(error) };
  return OF_CONTENT.has(error.code) ? { code: error.code, detail: error.message } : undefined;
}

const OF_CONTENT: ReadonlySet<ErrorCode> = new Set(['internal', 'too_large', 'bad_request', 'bad_json', 'bad_name']);
