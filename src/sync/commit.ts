import { type CausalContext, timeAfter } from '../core/causal-context.ts';
import type { Change } from '../core/change.ts';
import { replaceInDigest } from '../core/digest.ts';
import { formatDot } from '../core/dot.ts';
import type { EntityVersion } from '../core/entity.ts';
import { clampStamp, observe, type Stamp, stampBehind, stampOf, tick } from '../core/hlc.ts';
import { CLOUD, type EntityKey, type NodeId } from '../core/ids.ts';
import { type Policies, type Policy, policyFor } from '../core/policy.ts';
import { type Effect, versionAfter } from '../core/version.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ChangeResult } from '../protocol/messages.ts';
import type { Refusal } from '../protocol/record.ts';
import type { Memos } from './memos.ts';
import { freshNode } from './node-record.ts';
import type { CloudMeta, CloudStore, ConflictRecord, NodeRecord } from './ports.ts';

/** What of a change a version takes over. */
export type Source = Pick<Change, 'id' | 'entityType' | 'entityId' | 'stamp'>;

/** A conflict that is open until a resolver has answered. */
export interface AwaitedResolution {
  readonly conflictId: string;
  readonly answer: PromiseLike<unknown>;
}

/** A change that this program failed at. */
export interface ChangeFailure {
  readonly changeId: string;
  readonly error: unknown;
}

/** What a transaction has come to so far, beside what is in the store; never changed, so that one can go back. */
interface CommitState {
  readonly meta: CloudMeta;
  readonly nodes: ReadonlyMap<NodeId, NodeRecord>;
  readonly awaited: readonly AwaitedResolution[];
  readonly conflicts: readonly ConflictRecord[];
}

/** One transaction on the history of a space: what is there, with what this transaction did to it. */
export class Commit {
  readonly nowMs: number;
  readonly memos: Memos;
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #before: CloudMeta;
  readonly #failures: ChangeFailure[] = [];
  #state: CommitState;
  #newest: EntityVersion | undefined;

  constructor(store: CloudStore, memos: Memos, policies: Policies, meta: CloudMeta, nowMs: number) {
    this.nowMs = nowMs;
    this.memos = memos;
    this.#store = store;
    this.#policies = policies;
    this.#before = meta;
    this.#state = { meta, nodes: new Map(), awaited: [], conflicts: [] };
  }

  /** Runs `body`; where it throws, nothing of it has happened, and the transaction can go on. */
  attempt<T>(body: () => T): T {
    const before = this.#state;
    try {
      return this.#store.transaction(body);
    } catch (error) {
      this.#state = before;
      throw error;
    }
  }

  /** This program failed at a change, and somebody must look. */
  noteFailure(failure: ChangeFailure): void {
    this.#failures.push(failure);
  }

  get failures(): readonly ChangeFailure[] {
    return this.#failures;
  }

  get epoch(): string {
    return this.#state.meta.epoch;
  }

  get head(): number {
    return this.#state.meta.seq;
  }

  get digest(): CloudMeta['digest'] {
    return this.#state.meta.digest;
  }

  /** The last version that this transaction made. */
  get newest(): EntityVersion | undefined {
    return this.#newest;
  }

  get awaited(): readonly AwaitedResolution[] {
    return this.#state.awaited;
  }

  /** That this transaction wrote. */
  get conflicts(): readonly ConflictRecord[] {
    return this.#state.conflicts;
  }

  policyFor(entityType: string): Policy {
    return policyFor(this.#policies, entityType);
  }

  // --- nodes ---

  node(nodeId: NodeId): NodeRecord {
    return this.#state.nodes.get(nodeId) ?? this.#store.readNode(nodeId) ?? freshNode(nodeId);
  }

  keepNode(node: NodeRecord): void {
    this.#state = { ...this.#state, nodes: new Map(this.#state.nodes).set(node.nodeId, node) };
  }

  // --- time ---

  /** Now, and after all that this history, and the writer, has seen. */
  stampNow(node: NodeId | typeof CLOUD, after: CausalContext = {}): Stamp {
    const hlc = tick(this.#state.meta.hlc, timeAfter(after, this.nowMs, LIMITS.maxClockDriftMs));
    this.#change({ hlc });
    return stampOf(hlc, node);
  }

  /** A stamp that an honest clock could have made: not far ahead of this one. */
  accept(stamp: Stamp): Stamp {
    return this.#observed(clampStamp(stamp, this.nowMs, LIMITS.maxClockDriftMs));
  }

  /** A stamp right behind one of this history. */
  stampBehind(stamp: Stamp, node: NodeId): Stamp {
    return this.#observed(stampBehind(stamp, node));
  }

  #observed(stamp: Stamp): Stamp {
    this.#change({ hlc: observe(this.#state.meta.hlc, stamp, this.nowMs) });
    return stamp;
  }

  // --- entities ---

  entity(key: EntityKey): EntityVersion | undefined {
    return this.#store.readEntity(key);
  }

  /** The dot of the next version, where that stands for more than its change had seen. */
  cloudDot(): string {
    return formatDot({ node: CLOUD, counter: this.head + 1 });
  }

  /** Gives an entity its next version, and that the next place in the history. */
  put(source: Source, current: EntityVersion | undefined, effect: Effect, version: string): EntityVersion {
    const seq = this.head + 1;
    const next = versionAfter(current, source, effect, { seq, version });
    this.#store.writeEntity(next);
    this.#change({ seq, digest: replaceInDigest(this.digest, current, next) });
    this.#newest = next;
    return next;
  }

  // --- conflicts ---

  conflict(id: string): ConflictRecord | undefined {
    return this.#store.readConflict(id);
  }

  /** An id that sorts behind those of all conflicts so far. */
  newConflictId(): string {
    const conflicts = this.#state.meta.conflicts + 1;
    this.#change({ conflicts });
    return `c${String(conflicts).padStart(12, '0')}`;
  }

  keepConflict(conflict: Omit<ConflictRecord, 'revision'>): ConflictRecord {
    const conflictRevision = this.#state.meta.conflictRevision + 1;
    const kept = { ...conflict, revision: conflictRevision };
    this.#store.writeConflict(kept);
    this.#change({ conflictRevision });
    this.#state = { ...this.#state, conflicts: [...this.#state.conflicts, kept] };
    return kept;
  }

  /** A resolver will say, after this transaction, what becomes of a conflict. */
  awaitResolution(conflictId: string, answer: PromiseLike<unknown>): void {
    this.#state = { ...this.#state, awaited: [...this.#state.awaited, { conflictId, answer }] };
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
    const { nodes, meta } = this.#state;
    for (const node of nodes.values()) this.#store.writeNode(node);
    const { seq, conflictRevision } = this.#before;
    if (meta.seq === seq && meta.conflictRevision === conflictRevision) return this.#before;
    return { ...meta, changedAtMs: this.nowMs };
  }

  #change(changed: Partial<CloudMeta>): void {
    this.#state = { ...this.#state, meta: { ...this.#state.meta, ...changed } };
  }
}
