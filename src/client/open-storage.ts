import type { ReplicaStore } from '../sync/ports.ts';

/** A client's storage, while it is open. */
export interface OpenStorage {
  readonly store: ReplicaStore;
  /** Ends when all that was written before is durable. @throws SyncError when it never will be. */
  durable(): Promise<void>;
  close(): Promise<void>;
}
