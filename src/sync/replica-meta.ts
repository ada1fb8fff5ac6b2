import { EMPTY_DIGEST } from '../core/digest.ts';
import { EMPTY_DOT_SET } from '../core/dot-set.ts';
import { HLC_START } from '../core/hlc.ts';
import type { EntityType, NodeId } from '../core/ids.ts';
import type { TypeFilter } from '../core/type-filter.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ReplicaMeta } from './ports.ts';

/** What a replica knows of itself, beside its records and its queue: pure steps. */

export function freshMeta(nodeId: NodeId, filter: TypeFilter<EntityType>): ReplicaMeta {
  return {
    nodeId,
    filter,
    epoch: null,
    cursor: 0,
    counter: 0,
    sentTo: 0,
    received: EMPTY_DOT_SET,
    settled: EMPTY_DOT_SET,
    settledAt: [],
    digest: EMPTY_DIGEST,
    hlc: HLC_START,
    clockOffsetMs: 0,
    asOfMs: 0,
    lastSyncMs: 0,
    session: null,
    digestMismatches: 0,
  };
}

/** Up to which counter the cloud had this node's changes at a time. */
export function settledBefore({ settledAt }: ReplicaMeta, atMs: number): number {
  return settledAt.reduce((upTo, [at, counter]) => (at <= atMs ? Math.max(upTo, counter) : upTo), 0);
}

/** Notes, once in a while, how far the cloud has come with this node's changes; what is too old to matter goes. */
export function withSettled({ settledAt }: ReplicaMeta, upTo: number, nowMs: number): ReplicaMeta['settledAt'] {
  const last = settledAt.at(-1);
  if (last !== undefined && nowMs - last[0] < SETTLED_EVERY_MS) return settledAt;
  const cutMs = nowMs - LIMITS.retainSyncedMs;
  const kept = settledAt.filter(([atMs], index) => atMs > cutMs || (settledAt[index + 1]?.[0] ?? nowMs) > cutMs);
  return [...kept, [nowMs, upTo]];
}

const SETTLED_EVERY_MS = 3_600_000;
