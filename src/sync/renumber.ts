import { type Change, dotOf } from '../core/change.ts';
import { asTransaction, isWhole, unitsOf } from '../core/transaction.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { QueuedChange } from './ports.ts';
import type { ReplicaState } from './replica-state.ts';

/**
 * Gives changes that the cloud has not, and the transactions that they are all of, new counters, in their order. Is part of a
 * transaction.
 *
 * @param last the last counter of what their writer has not seen.
 */
export function renumber(state: ReplicaState, waiting: readonly QueuedChange[], last: number): void {
  const inOrder = [...waiting].sort((a, b) => a.order - b.order);
  const changes = inOrder.map(({ change }): Change => {
    const counter = state.counter + 1;
    state.skipTo(counter);
    const base = { ...change.base, [state.nodeId]: counter - 1 };
    return { ...change, id: state.dot(counter), base, ownFrom: last + 1 };
  });
  const renumbered = unitsOf(changes).flatMap(asTransaction);
  for (const { change } of inOrder) state.queue.remove(change.id);
  for (const [index, queued] of inOrder.entries()) {
    const change = renumbered[index] ?? queued.change;
    const bytes = utf8Bytes(JSON.stringify(change));
    const next = { ...queued, since: undefined, isDoubtful: undefined, error: null, change, bytes };
    state.store.writeQueued(next);
    state.queue.put(next);
  }
}

/** Of changes, those that the cloud has others for under their counters: nothing of them is there. Transactions as a whole. */
export function forked(state: ReplicaState, changed: readonly QueuedChange[]): QueuedChange[] {
  const isAlone = (queued: QueuedChange) => queued.since === undefined || state.isOfThisStart(queued);
  const all = changed.filter((queued) => queued.error?.code === 'node_forked' && isAlone(queued));
  const units = Map.groupBy(all, ({ change }) => change.transaction ?? change.id);
  const dotsOf = (unit: readonly QueuedChange[]) => unit.map(({ change }) => dotOf(change));
  return [...units].flatMap(([name, unit]) => (isWhole(name, dotsOf(unit)) ? unit : []));
}
