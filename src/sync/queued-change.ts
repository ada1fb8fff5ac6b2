import { assertNever } from '../core/assert.ts';
import { checksum } from '../core/canonical.ts';
import { type Change, dotOf } from '../core/change.ts';
import { type DotSet, has } from '../core/dot-set.ts';
import { CLOUD, type NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { merge } from '../core/vector-clock.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ChangeResult, isBarred, type Withdrawal } from '../protocol/messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import { backoffMs } from './backoff.ts';
import type { QueuedChange } from './ports.ts';

/** A change in the queue: pure steps from one state of it to the next, and what is sent of it. */

/** What the resolver of a node made of two records, at its `attempts`th try, or why it made nothing: people decide then. */
export type Resolved =
  | {
      readonly attempts: number;
      /** `data: null`: the record is to be deleted. */
      readonly answer: { readonly data: JsonObject | null; readonly reason: string; readonly metadata: JsonObject };
      readonly failure?: undefined;
    }
  | { readonly attempts: number; readonly failure: string; readonly answer?: undefined };

/** A queued change after the cloud's word on it; undefined: it has done its work. */
export function afterResult(queued: QueuedChange, result: ChangeResult, nowMs: number): QueuedChange | undefined {
  switch (result.status) {
    case 'needs-full':
      return queued.needsFull ? queued : { ...queued, needsFull: true };
    case 'conflict': {
      const { conflictId = '' } = result;
      const resolves = { conflictId, attempts: queued.change.resolves?.attempts ?? 0, reason: '' };
      return { ...queued, needsFull: true, change: { ...queued.change, resolves } };
    }
    case 'deferred':
      return queued;
    case 'failed':
      return afterFailure(queued, { code: result.code ?? 'internal', detail: result.detail ?? '' }, nowMs);
    case 'rejected': {
      if (isBarred(result)) {
        // When it was last asked for is worth no row.
        if (wasBarred(queued)) return queued;
        const failure = { code: 'forbidden' as const, detail: result.detail ?? '' };
        return { ...queued, failure, lastAttemptMs: nowMs };
      }
      const error = { code: result.code ?? 'bad_request', detail: result.detail ?? '' };
      return { ...queued, error, lastAttemptMs: nowMs };
    }
    case 'applied':
    case 'merged':
    case 'superseded':
    case 'renamed':
    case 'duplicate':
      return undefined;
    default:
      return assertNever(result.status);
  }
}

export function afterFailure(queued: QueuedChange, failure: QueuedChange['failure'], nowMs: number): QueuedChange {
  return { ...queued, failure, retryCount: queued.retryCount + 1, lastAttemptMs: nowMs };
}

/**
 * As it is sent: by its operations alone, unless the cloud said that these are not enough; and of one that is given up
 * only that, for what is in it may be what the cloud fails at.
 */
export function onWire(queued: QueuedChange): Change | Withdrawal {
  const { needsFull, failure } = queued;
  const change = queued.isDoubtful ? { ...queued.change, isDoubtful: true as const } : queued.change;
  if (failure !== undefined && isGivenUp(queued)) {
    const { code, detail } = failure;
    const withdrawn = { code, detail: detail.slice(0, LIMITS.reasonChars) };
    return { id: change.id, nodeId: change.nodeId as NodeId, withdrawn };
  }
  if (change.operation !== 'update' || change.operations === undefined) return change;
  // The record was asked for: the checksum says that it is meant, though the operations should make another one there.
  if (needsFull) return change.data === undefined ? change : { ...change, checksum: checksum(change.data) };
  const { data: _, ...delta } = change;
  return { ...delta, operations: change.operations };
}

/** With the record that was made of it and another one, on a base that has seen both. */
export function resolvedBy(
  queued: QueuedChange,
  { attempts, answer, failure }: Resolved,
  cursor: number,
): QueuedChange {
  const conflictId = queued.change.resolves?.conflictId ?? '';
  const resolves = { conflictId, attempts, reason: answer?.reason ?? '', metadata: answer?.metadata, failure };
  const { operation, data, operations, mergePatch, ...header } = queued.change;
  const base = merge(header.base, { [CLOUD]: cursor });
  const change: Change =
    answer === undefined
      ? { ...queued.change, resolves }
      : answer.data === null
        ? { ...header, base, resolves, operation: 'delete' }
        : { ...header, base, resolves, operation: 'update', data: answer.data };
  return { ...queued, change, bytes: utf8Bytes(JSON.stringify(change)) };
}

/** As it goes to a cloud that lost it, whole, at a new place: that cloud has not failed at it. A dead one stays dead. */
export function givenBack(queued: QueuedChange, order: number): QueuedChange {
  const again = { ...queued, order, needsFull: true, change: withoutHistory(queued.change) };
  return queued.error === null ? { ...again, ...UNTRIED } : again;
}

export function isWithdrawal(change: Change | Withdrawal): change is Withdrawal {
  return 'withdrawn' in change;
}

/** The first counter that went into it. */
export function sinceOf({ since, change }: QueuedChange): number {
  return since ?? dotOf(change).counter;
}

/**
 * As it goes on at a node whose storage went back, where the cloud has something under its counters: asked for again as
 * what it is, or dead, where a part of it may be there. Its writer hasn't seen what is there up to `last`.
 */
export function doubted(queued: QueuedChange, received: DotSet, last: number): QueuedChange {
  const change = { ...queued.change, ownFrom: last + 1 };
  const unseeing = { ...queued, change, bytes: utf8Bytes(JSON.stringify(change)) };
  if (has(received, dotOf(queued.change).counter)) return { ...unseeing, isDoubtful: true };
  if (!has(received, sinceOf(queued))) return unseeing;
  const detail = 'the storage of the node went back, and the cloud may have a part of this change already';
  return { ...unseeing, error: { code: 'outcome_unknown', detail } };
}

/** What a base says of one history says nothing of the next. */
export function withoutHistory(change: Change): Change {
  const { [CLOUD]: _, ...base } = change.base;
  return { ...change, base };
}

/** @throws SyncError `too_large` for a change that no batch could take. */
export function changeBytes(change: Change): number {
  const bytes = utf8Bytes(JSON.stringify(change));
  if (bytes <= LIMITS.changeBytes) return bytes;
  throw new SyncError('too_large', `the change has ${bytes} bytes, and may have ${LIMITS.changeBytes}`);
}

/** @param sizes of changes that go in one batch. @returns their sum. @throws SyncError `too_large` */
export function transactionBytes(sizes: readonly number[]): number {
  const bytes = sizes.reduce((sum, size) => sum + size, 0);
  if (sizes.length === 1 || bytes <= LIMITS.transactionBytes) return bytes;
  throw new SyncError('too_large', `the transaction has ${bytes} bytes, and may have ${LIMITS.transactionBytes}`);
}

/** Whether the cloud has failed at it, and it isn't dead for that. */
export function hasFailed({ retryCount, error }: QueuedChange): boolean {
  return retryCount > 0 && error === null;
}

/** Whether the token of its node did not allow it when it was last sent. */
export function wasBarred({ failure, error }: QueuedChange): boolean {
  return failure?.code === 'forbidden' && error === null;
}

/** Whether a whole batch failed for it, and may again: what is sent of one that is given up can do no harm. */
export function goesAlone(queued: QueuedChange): boolean {
  return queued.isBlamed === true && hasFailed(queued) && !isGivenUp(queued);
}

/** Whether it has had its tries, and the next thing that the cloud is told of it is that it never comes. */
export function isGivenUp({ retryCount }: QueuedChange): boolean {
  return retryCount >= LIMITS.maxRetries;
}

/** How long a change that failed still waits, ms. By a clock that was put back nobody can tell: it doesn't. */
export function msUntilRetry({ retryCount, lastAttemptMs }: QueuedChange, nowMs: number): number {
  // Giving it up needs no pause, unless that fails as well.
  if (lastAttemptMs === null || retryCount === LIMITS.maxRetries || nowMs < lastAttemptMs) return 0;
  return Math.max(0, lastAttemptMs + backoffMs(retryCount, 1) - nowMs);
}

/** Of a change that the cloud has not failed at. */
export const UNTRIED = { retryCount: 0, lastAttemptMs: null, failure: undefined, isBlamed: undefined } as const;
