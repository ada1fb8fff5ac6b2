import { PRIORITIES } from '../../../src/core/change.ts';
import type { ConsistencyLevel } from '../../../src/core/consistency.ts';
import { Access } from '../../../src/sync/access.ts';
import { OfflineQueue } from '../../../src/sync/offline-queue.ts';
import type { QueuedChange } from '../../../src/sync/ports.ts';
import { QueueSlots } from '../../../src/sync/queue-slots.ts';
import { Replica } from '../../../src/sync/replica.ts';
import type { Plant } from '../world.ts';

/** Queues that mistake what they have, and levels that are none. Each is in place from the call on until its answer is called. */
type EngineBug = NonNullable<Plant['engine']>;

/** A change goes into an earlier one though that may have arrived by now. */
export const goingIntoWhatHasLeft: EngineBug = replacing(OfflineQueue.prototype, () => ({
  lastFresh(key) {
    return this.of(key).at(-1);
  },
}));

/** Rows are used again as if all that is in them had been settled long ago. */
export const reusingSlotsEarly: EngineBug = replacing(QueueSlots.prototype, ({ take }) => ({
  take(settledUpTo) {
    return take.call(this, settledUpTo + MANY);
  },
}));

/** A transaction is as many writes. */
export const writingOneByOne: EngineBug = replacing(Replica.prototype, () => ({
  transact(writes, after) {
    return writes.map((write) => this.write(write, after));
  },
}));

/** What presses goes first, and nothing with it. */
export const overtakingByPriority: EngineBug = replacing(OfflineQueue.prototype, ({ select }) => ({
  select(bounds) {
    const all = select.call(this, { ...bounds, maxChanges: MANY });
    return all.sort((a, b) => rankOf(a) - rankOf(b)).slice(0, bounds.maxChanges);
  },
}));

/** What waits for time alone to make it ready wakes nobody. */
export const forgettingWhatWaits: EngineBug = replacing(OfflineQueue.prototype, () => ({
  msUntilReady() {
    return null;
  },
}));

/** Reads of some levels are of what the node has, as any other. */
export function servingHere(...levels: readonly ConsistencyLevel[]): EngineBug {
  return replacing(Access.prototype, ({ satisfy }) => ({
    async satisfy(type, demand) {
      return levels.includes(demand.level) ? { source: 'edge', stalenessMs: null } : satisfy.call(this, type, demand);
    },
  }));
}

function rankOf({ change }: QueuedChange): number {
  return PRIORITIES.indexOf(change.priority ?? 'normal');
}

function replacing<Type extends object>(
  prototype: Type,
  bugs: (usual: Type) => Partial<Type> & ThisType<Type>,
): EngineBug {
  return () => {
    const usual = { ...Object.getOwnPropertyDescriptors(prototype) };
    const methods = bugs(boundless(prototype));
    Object.assign(prototype, methods);
    return () => {
      for (const name of Object.keys(methods)) Object.defineProperty(prototype, name, Reflect.get(usual, name));
    };
  };
}

/** The methods as they are now, whatever takes their place. */
function boundless<Type extends object>(prototype: Type): Type {
  return Object.create(prototype, Object.getOwnPropertyDescriptors(prototype));
}

const MANY = 1_000_000;
