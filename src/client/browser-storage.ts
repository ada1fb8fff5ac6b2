import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { SyncError } from '../protocol/errors.ts';
import { IndexedDbStorage } from '../store/indexeddb.ts';
import type { SharedStorage } from './storage.ts';
import { Tabs } from './tabs.ts';

/**
 * IndexedDB, a database for each node. Of the tabs that have a client of one node, one leads; all can do the same. For
 * browsers alone.
 */
export function browserStorage(databaseName = 'causeway'): SharedStorage {
  return {
    share: (node, member) => {
      const name = `${databaseName}/${node}`;
      return new Tabs({
        member,
        channel: new BroadcastChannel(name),
        open: (told) => IndexedDbStorage.open(name, told),
        inTurn: async (signal, lead) => {
          // Two tabs that write as one node would make different changes of one name.
          if (navigator.locks === undefined) {
            throw new SyncError(
              'storage_unavailable',
              'tabs share a storage by Web Locks, which secure pages alone have',
            );
          }
          await navigator.locks.request(name, { signal }, lead);
        },
        clock,
        entropy,
      });
    },
  };
}
