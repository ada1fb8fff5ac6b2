import { MemoryReplicaStore } from '../store/memory-replica-store.ts';
import type { ReplicaStore } from '../sync/ports.ts';

/** Where a client keeps its records and its queue. */
export interface ClientStorage {
  /** Opens what there is under a name; one client at a time. */
  open(name: string): Promise<OpenStorage>;
}

export interface OpenStorage {
  readonly store: ReplicaStore;
  /** Ends when all that was written before is durable. */
  durable(): Promise<void>;
  close(): Promise<void>;
}

/** Nothing outlives the program: for tests, and for readers. */
export function memoryStorage(): ClientStorage {
  const stores = new Map<string, MemoryReplicaStore>();
  return {
    open: async (name) => {
      const store = stores.get(name) ?? new MemoryReplicaStore();
      stores.set(name, store);
      return { store, durable: async () => undefined, close: async () => undefined };
    },
  };
}
