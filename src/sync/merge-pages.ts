import { dotOf } from '../core/change.ts';
import { type Digest, digestWithin, EMPTY_DIGEST, replaceInDigest } from '../core/digest.ts';
import { add, type DotSet, union } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type HlcState, observe } from '../core/hlc.ts';
import { type EntityKey, entityKey, type NodeId, splitKey } from '../core/ids.ts';
import type { Policy } from '../core/policy.ts';
import { admits, admitsAll, narrowed, type TypeFilter } from '../core/type-filter.ts';
import { entry } from '../core/vector-clock.ts';
import { isFinal } from '../protocol/messages.ts';
import type { ReplicaMeta, ReplicaStore, StagedPage } from './ports.ts';
import { isWithdrawal } from './queued-change.ts';
import { promotedVersion, pulledVersion } from './replica-version.ts';
import type { Answered } from './settle.ts';

/** The replica that pages are merged into, as it is before. */
export interface MergedInto {
  readonly store: ReplicaStore;
  readonly nodeId: NodeId;
  readonly meta: ReplicaMeta;
  readonly hlc: HlcState;
  /** What the cloud said at the handshake that it has of this node. */
  readonly reported: DotSet;
  readonly nowMs: number;
  policyOf(entity: { readonly entityType: string }): Policy;
  /** Told of each record before it changes, and of the version that deletes it. */
  note(key: EntityKey, deletedBy?: string): void;
}

/** What pages make of the confirmed state, which is written; and what they say of the rest, which isn't. */
export interface Merged {
  readonly digest: Digest;
  readonly types: TypeFilter;
  /** Whether the state is of fewer types than before. */
  readonly isNarrowed: boolean;
  readonly hlc: HlcState;
  readonly received: DotSet;
  readonly settled: DotSet;
  readonly downloaded: number;
  /** Something that came doesn't follow from what is here. */
  readonly isBroken: boolean;
  readonly answered: readonly Answered[];
  /** Entities of which another state is confirmed. */
  readonly overtaken: 'all' | ReadonlySet<EntityKey>;
}

/** Writes what the pages of a pull brought into the confirmed state, one page after the other. */
export function mergePages(pages: Iterable<StagedPage>, into: MergedInto): Merged {
  const { store, nodeId, meta, nowMs, note } = into;
  let from: number | undefined;
  let digest = meta.digest;
  let { hlc } = into;
  let received = union(meta.received, into.reported);
  let { settled } = meta;
  let downloaded = 0;
  let isBroken = false;
  /** The seq at which each entity came. */
  const pulled = new Map<EntityKey, number>();
  const answered: Answered[] = [];
  const kept = new Set<EntityKey>();
  /** What begins at 0 begins anew: what is still there may be wrong, or of another history. */
  const current = (key: EntityKey): EntityVersion | undefined => {
    return from === 0 && !kept.has(key) ? undefined : store.readRecord(key);
  };
  const put = (key: EntityKey, next: EntityVersion): void => {
    digest = replaceInDigest(digest, current(key), next);
    kept.add(key);
    note(key, next.data === null ? next.version : undefined);
    if (next.data === null) store.removeRecord(key);
    else store.writeRecord(next);
  };

  const drop = (key: EntityKey): void => {
    note(key);
    store.removeRecord(key);
  };

  let types: TypeFilter;
  let isNarrowed = false;
  for (const { batch, answer } of pages) {
    if (from === undefined) {
      from = batch.cursor;
      // What begins at 0 is of what it is told to be; what goes on is of no more than what it goes on from.
      types = from === 0 ? answer.types : meta.types;
      if (from === 0) digest = EMPTY_DIGEST;
    }
    isNarrowed ||= !admitsAll(answer.types, types);
    types = narrowed(types, answer.types);
    downloaded += answer.changes.length;
    for (const remote of answer.changes) {
      hlc = observe(hlc, remote.stamp, nowMs);
      // Of a type whose past is not here: it is all read again, from the beginning.
      if (!admits(types, remote.entityType)) continue;
      pulled.set(entityKey(remote), remote.seq);
      const version = pulledVersion(remote, store.readRecord(entityKey(remote)));
      // Operations that don't fit what is here: it isn't what the cloud takes it for.
      if (version === undefined) isBroken = true;
      else put(entityKey(remote), version);
    }
    const upTo = entry(answer.vectorClock, nodeId);
    if (upTo > 0) received = add(received, 1, upTo);
    const voids = answer.results.every(isFinal) ? (batch.void ?? []) : [];
    for (const [first, to] of voids) settled = add(settled, first, to);
    const changes = new Map(batch.changes.map((change) => [change.id, change]));
    for (const result of answer.results) {
      const change = changes.get(result.id);
      if (change !== undefined) answered.push({ change, result });
    }
  }

  for (const { change, result } of answered) {
    if (isFinal(result)) settled = add(settled, dotOf(change).counter);
    if (isWithdrawal(change) || !admits(types, change.entityType)) continue;
    // The entity may have come in an earlier page, before this change, or with it or something later.
    if (result.status !== 'applied' || (pulled.get(entityKey(change)) ?? 0) >= (result.seq ?? 0)) continue;
    const version = promotedVersion(current(entityKey(change)), change, result, into.policyOf(change));
    if (version !== undefined) put(entityKey(change), version);
  }
  // What began at 0 is all there is: what it didn't name is gone.
  if (from === 0) {
    for (const key of store.recordKeys()) {
      if (!kept.has(key)) drop(key);
    }
  }
  if (isNarrowed) {
    for (const key of keysOutside(store, types)) drop(key);
    digest = digestWithin(digest, types);
  }
  received = union(received, settled);
  // What begins at 0 leaves out what was deleted.
  const overtaken: 'all' | Set<EntityKey> = from === 0 ? 'all' : kept;
  return { digest, types, isNarrowed, hlc, received, downloaded, isBroken, answered, settled, overtaken };
}

/** Records that a filter leaves out. */
export function* keysOutside(store: ReplicaStore, filter: TypeFilter): Generator<EntityKey> {
  for (const key of store.recordKeys()) {
    if (!admits(filter, splitKey(key).entityType)) yield key;
  }
}
