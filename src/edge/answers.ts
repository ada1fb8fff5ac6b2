import { parseStamp, type Stamp } from '../core/hlc.ts';
import type { EntityId, EntityType, NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import type { Served, StrongWritten } from '../sync/access.ts';
import type { LinkState } from '../sync/machine.ts';
import type { QueueStats } from '../sync/offline-queue.ts';
import type { NetworkReport, Plan } from '../sync/plan.ts';
import type { View } from '../sync/replica-view.ts';
import type { SyncSummary, Traffic } from '../sync/tally.ts';
import type { Paused } from '../sync/wait.ts';

/** What an edge node answers, as data that RPC carries whole. */

export interface EdgeRecord {
  readonly entityId: EntityId;
  readonly data: JsonObject;
  readonly version: string;
  readonly updatedAt: number;
  readonly synced: boolean;
}

export interface EdgeRead extends Served {
  /** Null: there is no such entity. */
  readonly record: EdgeRecord | null;
}

export interface EdgeList extends Served {
  readonly items: readonly EdgeRecord[];
  readonly next: string | null;
}

export interface EdgeWritten extends StrongWritten {
  readonly synced: boolean;
}

export interface EdgeStatus {
  readonly nodeId: NodeId;
  readonly state: LinkState;
  readonly online: boolean;
  readonly paused: Paused | null;
  readonly vectorClock: VectorClock;
  readonly cursor: number;
  readonly epoch: string | null;
  readonly queue: QueueStats;
  /** How many changes of nodes below are kept here until the cloud can be reached. */
  readonly kept: number;
  readonly asOf: number | null;
  readonly stalenessMs: number | null;
  /** The only entity types that it asks for; null: all. */
  readonly filter: readonly EntityType[] | null;
  /** What was said of the link, on purpose and by hints. */
  readonly network: NetworkReport;
  /** What exchanges took on average, and how many calls failed, of late; `rttMs` null: there was none. */
  readonly measured: { readonly rttMs: number | null; readonly failures: number };
  /** `compression`: whether what goes up is compressed, where that saves. */
  readonly plan: Plan & { readonly compression: boolean };
  readonly lastSync: number | null;
  readonly lastSyncResult: SyncSummary | null;
  readonly nextAttemptAt: number | null;
  readonly digest: string;
  readonly digestMismatches: number;
  /** Since this object was last started. */
  readonly traffic: Traffic;
  readonly policyWarnings: readonly string[];
}

/** A record, as a reader gets it. */
export function recordOf(entityId: EntityId, { data, version, stamp, synced }: View): EdgeRecord {
  return { entityId, data, version, updatedAt: writtenAtMs(stamp), synced };
}

function writtenAtMs(stamp: Stamp): number {
  return parseStamp(stamp)?.wallMs ?? 0;
}
