import { type Change, dotOf } from '../core/change.ts';
import { type EntityId, type EntityKey, entityKey, toEntityId } from '../core/ids.ts';
import type { ChangeResult, Withdrawal } from '../protocol/messages.ts';
import type { OfflineQueue } from './offline-queue.ts';
import type { QueuedChange } from './ports.ts';
import { afterResult } from './queued-change.ts';

/** A change of this node, and what the cloud said of it. */
export interface Answered {
  readonly change: Change | Withdrawal;
  readonly result: ChangeResult;
}

/** What becomes of a queue by answers. */
export interface Settled {
  /** Changes that have done their work. */
  readonly gone: readonly string[];
  /** Those of them that the cloud took with another stamp, as it took them: so they are given back to one that lost them. */
  readonly restamped: readonly QueuedChange[];
  /** Those that stay, and are other than they were. */
  readonly changed: readonly QueuedChange[];
  /** Records that got another id. */
  readonly moves: ReadonlyMap<EntityKey, EntityKey>;
}

/**
 * What was answered leaves the queue, or stays there: dead, with its reason; or to be sent otherwise. What was made on a
 * dead one goes on by its operations alone, for its record has the dead one in it.
 */
export function settle(queue: OfflineQueue, answered: readonly Answered[], nowMs: number): Settled {
  const gone: string[] = [];
  const restamped: QueuedChange[] = [];
  const changed = new Map<string, QueuedChange>();
  const moves = new Map<EntityKey, EntityKey>();
  for (const { result } of answered) {
    const queued = queue.get(result.id);
    if (queued === undefined) continue;
    const entityId = result.entityId === undefined ? undefined : toEntityId(result.entityId);
    if (entityId !== undefined) {
      moves.set(entityKey(queued.change), entityKey({ ...queued.change, entityId }));
      for (const later of moved(queue, queued.change, entityId)) changed.set(later.change.id, later);
    }
    const next = afterResult(changed.get(result.id) ?? queued, result, nowMs);
    if (next === undefined) {
      gone.push(result.id);
      const { stamp } = result;
      if (stamp !== undefined) restamped.push({ ...queued, change: { ...queued.change, stamp } });
    } else if (next !== queued) changed.set(result.id, withCause(queue, next, changed));
  }
  for (const { change, order, error } of [...changed.values()]) {
    if (error === null) continue;
    for (const later of queue.of(entityKey(change))) {
      const now = changed.get(later.change.id) ?? later;
      if (later.order > order && now.error === null && now.change.operations !== undefined)
        changed.set(later.change.id, { ...now, isLoose: true, needsFull: undefined });
    }
  }
  for (const id of gone) changed.delete(id);
  return { gone, restamped, changed: [...changed.values()], moves };
}

/** A change that died tells of the one that it was made on, if that is dead: it may be why. */
function withCause(
  queue: OfflineQueue,
  queued: QueuedChange,
  changed: ReadonlyMap<string, QueuedChange>,
): QueuedChange {
  const { error, order, change } = queued;
  if (error === null) return queued;
  const key = entityKey(change);
  const justDied = [...changed.values()].filter((other) => other.error !== null && entityKey(other.change) === key);
  const cause = [...queue.deadOf(key), ...justDied].findLast((other) => other.order < order);
  if (cause === undefined) return queued;
  return { ...queued, error: { ...error, detail: `${error.detail}; ${cause.change.id}, before it, is dead` } };
}

/** What was written on a record that got another id, after it was made, is meant for that id. */
function moved(queue: OfflineQueue, created: Change, entityId: EntityId): QueuedChange[] {
  return queue
    .of(entityKey(created))
    .filter(({ change }) => dotOf(change).counter > dotOf(created).counter)
    .map((queued) => ({ ...queued, change: { ...queued.change, entityId } }));
}
