import { useMemo, useSyncExternalStore } from 'react';
import type { Policies } from '../core/policy.ts';
import type { ClientEvents, EdgeCloudClient } from './client.ts';

/** React over a client: `causeway/react`. */

export type SyncStatus = ReturnType<EdgeCloudClient['status']>;

/** How the client's sync is, as it changes; null: it isn't initialized, or it is closed. */
export function useSyncStatus<P extends Policies>(client: EdgeCloudClient<P>): SyncStatus | null {
  const store = useMemo(() => statusStore(client), [client]);
  return useSyncExternalStore(store.subscribe, store.get, store.get);
}

const EVENTS = ['state', 'change', 'settled'] as const satisfies (keyof ClientEvents)[];

/** One object for as long as nothing happens, as React wants it. */
function statusStore<P extends Policies>(client: EdgeCloudClient<P>) {
  let status = client.isOpen ? client.status() : null;
  return {
    get: () => status,
    subscribe: (listener: () => void) => {
      let isScheduled = false;
      const look = () => {
        isScheduled = false;
        status = client.isOpen ? client.status() : null;
        listener();
      };
      // A thousand changes that come at once are one look.
      const schedule = () => {
        if (!isScheduled) queueMicrotask(look);
        isScheduled = true;
      };
      const ends = EVENTS.map((name) => client.on(name, schedule));
      // Of what happened before somebody listened nothing was told.
      schedule();
      return () => {
        for (const end of ends) end();
      };
    },
  };
}
