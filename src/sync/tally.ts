import type { VectorClock } from '../core/vector-clock.ts';
import type { ErrorCode, SyncError } from '../protocol/errors.ts';
import { type BatchAnswer, type ChangeResult, isBarred, isFinal } from '../protocol/messages.ts';
import type { MessageBytes, Metered } from './ports.ts';

/** What went over a link. */
export interface Traffic extends MessageBytes {
  /** Calls that were answered. */
  readonly roundTrips: number;
  /** Changes that the cloud took. */
  readonly uploaded: number;
}

/** What one sync did. Also the answer of `POST .../sync`. */
export interface SyncSummary extends Traffic {
  readonly success: boolean;
  readonly downloaded: number;
  readonly conflicts: number;
  readonly superseded: number;
  readonly rejected: number;
  /** Changes that the cloud failed at; they are tried again. */
  readonly failed: number;
  /** Changes that wait after it: for a better link, for the next try, or because they came meanwhile. */
  readonly pending: number;
  readonly error?: { readonly code: ErrorCode; readonly detail: string } | undefined;
}

/** Counts what a sync does. */
export class Tally {
  readonly results = new Map<string, ChangeResult>();
  readonly unanswered = new Set<string>();
  covered: boolean | undefined;
  /** What the cloud lacks of what was required; undefined: it didn't say. */
  lacks: VectorClock | undefined;
  isAtHead = false;
  conflicts = 0;
  failed = 0;
  error: SyncError | undefined;
  #downloaded = 0;
  #superseded = 0;
  #rejected = 0;
  #traffic = NO_TRAFFIC;

  metered<T>(answer: Metered<T>): T {
    this.#traffic = trafficOf(this.#traffic, { ...answer, roundTrips: 1, uploaded: 0 });
    return answer.value;
  }

  add(answer: BatchAnswer, downloaded: number): void {
    this.#downloaded += downloaded;
    // One may be sent twice, where its session ended with its answer.
    const taken = answer.results.filter(
      (result) => isFinal(result) && result.status !== 'rejected' && !this.results.has(result.id),
    );
    if (!answer.more && answer.covered !== undefined) {
      this.covered = answer.covered;
      this.lacks = answer.lacks;
    }
    for (const result of answer.results) {
      if (isFinal(result) || isBarred(result)) this.results.set(result.id, result);
      this.unanswered.delete(result.id);
      if (result.conflictId !== undefined) this.conflicts += 1;
      if (result.status === 'superseded') this.#superseded += 1;
      if (result.status === 'failed' || isBarred(result)) this.failed += 1;
      else if (result.status === 'rejected') this.#rejected += 1;
    }
    this.#traffic = { ...this.#traffic, uploaded: this.#traffic.uploaded + taken.length };
  }

  /** @param pending how many changes wait now. */
  summary(pending: number): SyncSummary {
    return {
      success: this.error === undefined,
      downloaded: this.#downloaded,
      conflicts: this.conflicts,
      superseded: this.#superseded,
      rejected: this.#rejected,
      failed: this.failed,
      pending,
      ...this.#traffic,
      ...(this.error === undefined ? {} : { error: { code: this.error.code, detail: this.error.message } }),
    };
  }
}

export const NO_BYTES: MessageBytes = { bytesUp: 0, bytesDown: 0, plainBytesUp: 0, plainBytesDown: 0 };
export const NO_TRAFFIC: Traffic = { ...NO_BYTES, roundTrips: 0, uploaded: 0 };

/** Of both together. */
export function trafficOf(a: Traffic, b: Traffic): Traffic {
  return {
    bytesUp: a.bytesUp + b.bytesUp,
    bytesDown: a.bytesDown + b.bytesDown,
    plainBytesUp: a.plainBytesUp + b.plainBytesUp,
    plainBytesDown: a.plainBytesDown + b.plainBytesDown,
    roundTrips: a.roundTrips + b.roundTrips,
    uploaded: a.uploaded + b.uploaded,
  };
}
