import { type Change, dotOf, type Priority } from '../core/change.ts';
import type { EntityId, EntityType } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { QueueStatus } from './offline-queue.ts';
import type { QueuedChange } from './ports.ts';

/** A change that waits at a node, as who runs the node sees it. */
export interface QueueItem {
  readonly changeId: string;
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  readonly operation: Change['operation'];
  readonly status: QueueStatus;
  readonly retryCount: number;
  readonly queuedAt: number;
  readonly lastAttempt: number | null;
  readonly error: QueuedChange['error'];
  readonly priority: Priority;
  readonly bytes: number;
  /** The counters between which earlier writes of the same record went into it. */
  readonly covers?: readonly (readonly [from: number, to: number])[] | undefined;
  readonly data?: JsonObject | undefined;
}

export function queueItemOf({ change, status, ...queued }: QueuedChange & { status: QueueStatus }): QueueItem {
  const { id: changeId, entityType, entityId, operation, priority = 'normal', data } = change;
  const { retryCount, queuedAtMs: queuedAt, lastAttemptMs: lastAttempt, bytes } = queued;
  const error = queued.error ?? queued.failure ?? null;
  const item = { changeId, entityType, entityId, operation, status, retryCount, queuedAt, lastAttempt, error };
  const covers = queued.since === undefined ? {} : { covers: [[queued.since, dotOf(change).counter - 1] as const] };
  return { ...item, priority, bytes, ...covers, ...(data === undefined ? {} : { data }) };
}
