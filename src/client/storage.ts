import { SyncError } from '../protocol/errors.ts';
import { MemoryReplicaStore } from '../store/memory-replica-store.ts';
import type { OpenStorage } from './open-storage.ts';
import type { Member, Share } from './sharing.ts';

/** Where a client keeps its records and its queue. */
export type ClientStorage = OwnStorage | SharedStorage;

export interface OwnStorage {
  /** Opens what there is under a name; one client at a time. @throws SyncError `storage_unavailable` */
  open(name: string): Promise<OpenStorage>;
}

export interface SharedStorage {
  /** Of a name there may be several clients: one has the storage open, and does what the others ask it for. */
  share<Calls, Event, Status>(name: string, member: Member<Calls, Event, Status>): Share<Calls, Event, Status>;
}

/** Nothing outlives the program: for tests, and for readers. */
export function memoryStorage(): OwnStorage {
  const stores = new Map<string, MemoryReplicaStore>();
  const opened = new Set<string>();
  return {
    open: async (name) => {
      if (opened.has(name))
        throw new SyncError('storage_unavailable', `another client has the storage of ${name} open`);
      const store = stores.get(name) ?? new MemoryReplicaStore();
      stores.set(name, store);
      opened.add(name);
      return { store, durable: async () => undefined, close: async () => void opened.delete(name) };
    },
  };
}
