import type { Change } from '../core/change.ts';
import { replaceInDigest } from '../core/digest.ts';
import { formatDot } from '../core/dot.ts';
import type { EntityVersion } from '../core/entity.ts';
import { clampStamp, type HlcState, observe, type Stamp, stampOf, tick } from '../core/hlc.ts';
import { CLOUD, type EntityKey, type NodeId } from '../core/ids.ts';
import { type Policies, type Policy, policyFor } from '../core/policy.ts';
import { type Effect, versionAfter } from '../core/version.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ChangeResult } from '../protocol/messages.ts';
import type { Refusal } from '../protocol/record.ts';
import { freshNode } from './node-record.ts';
import type { CloudMeta, CloudStore, ConflictRecord, NodeRecord } from './ports.ts';

/** What of a change a version takes over. */
export type Source = Pick<Change, 'id' | 'entityType' | 'entityId' | 'stamp'>;

/** A conflict that is open until a resolver has answered. */
export interface AwaitedResolution {
  readonly conflictId: string;
  readonly answer: PromiseLike<unknown>;
}

/** One transaction on the history of a space: what is there, with what this transaction did to it. */
export class Commit {
  readonly nowMs: number;
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #before: CloudMeta;
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly #awaited: AwaitedResolution[] = [];
  #newest: EntityVersion | undefined;
  #seq: number;
  #conflicts: number;
  #conflictRevision: number;
  #digest: CloudMeta['digest'];
  #hlc: HlcState;

  constructor(store: CloudStore, policies: Policies, meta: CloudMeta, nowMs: number) {
    this.nowMs = nowMs;
    this.#store = store;
    this.#policies = policies;
    this.#before = meta;
    this.#seq = meta.seq;
    this.#conflicts = meta.conflicts;
    this.#conflictRevision = meta.conflictRevision;
    this.#digest = meta.digest;
    this.#hlc = meta.hlc;
  }

  get head(): number {
    return this.#seq;
  }

  get digest(): CloudMeta['digest'] {
    return this.#digest;
  }

  /** The last version that this transaction made. */
  get newest(): EntityVersion | undefined {
    return this.#newest;
  }

  get awaited(): readonly AwaitedResolution[] {
    return this.#awaited;
  }

  policyFor(entityType: string): Policy {
    return policyFor(this.#policies, entityType);
  }

  // --- nodes ---

  node(nodeId: NodeId): NodeRecord {
    return this.#nodes.get(nodeId) ?? this.#store.readNode(nodeId) ?? freshNode(nodeId);
  }

  keepNode(node: NodeRecord): void {
    this.#nodes.set(node.nodeId, node);
  }

  // --- time ---

  /** Now, and after all that this history has seen. */
  stampNow(node: NodeId | typeof CLOUD): Stamp {
    this.#hlc = tick(this.#hlc, this.nowMs);
    return stampOf(this.#hlc, node);
  }

  /** A stamp that an honest clock could have made: not far ahead of this one. */
  accept(stamp: Stamp): { stamp: Stamp; clamped: boolean } {
    const checked = clampStamp(stamp, this.nowMs, LIMITS.maxClockDriftMs);
    this.#hlc = observe(this.#hlc, checked.stamp, this.nowMs);
    return checked;
  }

  // --- entities ---

  entity(key: EntityKey): EntityVersion | undefined {
    return this.#store.readEntity(key);
  }

  /** The dot of the next version, where that stands for more than its change had seen. */
  cloudDot(): string {
    return formatDot({ node: CLOUD, counter: this.#seq + 1 });
  }

  /** Gives an entity its next version, and that the next place in the history. */
  put(source: Source, current: EntityVersion | undefined, effect: Effect, version: string): EntityVersion {
    this.#seq += 1;
    const next = versionAfter(current, source, effect, { seq: this.#seq, version });
    this.#store.writeEntity(next);
    this.#digest = replaceInDigest(this.#digest, current, next);
    this.#newest = next;
    return next;
  }

  // --- conflicts ---

  conflict(id: string): ConflictRecord | undefined {
    return this.#store.readConflict(id);
  }

  /** An id that sorts behind those of all conflicts so far. */
  newConflictId(): string {
    this.#conflicts += 1;
    return `c${String(this.#conflicts).padStart(12, '0')}`;
  }

  keepConflict(conflict: Omit<ConflictRecord, 'revision'>): ConflictRecord {
    this.#conflictRevision += 1;
    const kept = { ...conflict, revision: this.#conflictRevision };
    this.#store.writeConflict(kept);
    return kept;
  }

  /** A resolver will say, after this transaction, what becomes of a conflict. */
  awaitResolution(conflictId: string, answer: PromiseLike<unknown>): void {
    this.#awaited.push({ conflictId, answer });
  }

  // --- refusals ---

  /** Refuses a change for good: it is answered for, so that nothing behind it waits. */
  refuse(id: string, refusal: Refusal): ChangeResult {
    if (!id.startsWith(`${CLOUD}:`)) this.#store.writeRefusal(id, refusal);
    return { id, status: 'rejected', ...refusal };
  }

  refusal(id: string): Refusal | undefined {
    return this.#store.readRefusal(id);
  }

  /** Writes what the transaction has gathered, and returns the new state of the whole. */
  finish(): CloudMeta {
    for (const node of this.#nodes.values()) this.#store.writeNode(node);
    const { seq, conflictRevision } = this.#before;
    if (this.#seq === seq && this.#conflictRevision === conflictRevision) return this.#before;
    return {
      ...this.#before,
      seq: this.#seq,
      conflicts: this.#conflicts,
      conflictRevision: this.#conflictRevision,
      changedAtMs: this.nowMs,
      digest: this.#digest,
      hlc: this.#hlc,
    };
  }
}
