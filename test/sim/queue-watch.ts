import type { QueuedChange, ReplicaMeta } from '../../src/sync/ports.ts';
import type { StoreWatch } from './life.ts';

/** What one transaction of a replica did to the rows of its queue, in its order. */
export interface QueueCommit {
  readonly writes: readonly { readonly slot: number; readonly queued: QueuedChange | undefined }[];
  /** Undefined: it stayed as it was. */
  readonly meta: ReplicaMeta | undefined;
}

/** Tells of what comes to stay in a replica's store. */
export function queueWatch(onCommit: (commit: QueueCommit) => void): Required<StoreWatch> {
  let writes: QueueCommit['writes'][number][] = [];
  let meta: ReplicaMeta | undefined;
  return {
    // The arguments are those of the methods of the port.
    called: (method, [argument]) => {
      if (method === 'writeQueued') {
        const queued = argument as QueuedChange;
        writes.push({ slot: queued.slot, queued });
      } else if (method === 'removeQueued') writes.push({ slot: argument as number, queued: undefined });
      else if (method === 'writeMeta') meta = argument as ReplicaMeta;
    },
    committed: () => onCommit({ writes, meta }),
    ended: () => {
      writes = [];
      meta = undefined;
    },
  };
}
