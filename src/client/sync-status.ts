import type { Policies } from '../core/policy.ts';
import type { ClientEvents, EdgeCloudClient } from './client.ts';

export type SyncStatus = ReturnType<EdgeCloudClient['status']>;

const EVENTS = ['state', 'change', 'settled'] as const satisfies (keyof ClientEvents)[];

/** The status of a client as a store: one object for as long as nothing happens; null while the client isn't open. */
export function syncStatusOf<P extends Policies>(client: EdgeCloudClient<P>) {
  const read = (): SyncStatus | null => (client.isOpen ? client.status() : null);
  let status = read();
  return {
    get: () => status,
    /** @returns how to end it. */
    subscribe: (listener: () => void) => {
      let isScheduled = false;
      const look = () => {
        isScheduled = false;
        status = read();
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
