import { useMemo, useSyncExternalStore } from 'react';
import type { Policies } from '../core/policy.ts';
import type { EdgeCloudClient } from './client.ts';
import { type SyncStatus, syncStatusOf } from './sync-status.ts';

/** React over a client: `causeway/react`. */

export type { SyncStatus };

/** How the client's sync is, as it changes; null: it isn't initialized, or it is closed. */
export function useSyncStatus<P extends Policies>(client: EdgeCloudClient<P>): SyncStatus | null {
  const store = useMemo(() => syncStatusOf(client), [client]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}
