import { assertNever } from '../core/assert.ts';
import { type Change, dotOf } from '../core/change.ts';
import { mergePatchOperations } from '../core/delta.ts';
import { EMPTY_DIGEST, replaceInDigest } from '../core/digest.ts';
import { formatDot } from '../core/dot.ts';
import { has } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { clampStamp, HLC_START, type HlcState, observe, type Stamp, stampOf, tick } from '../core/hlc.ts';
import { CLOUD, type EntityKey, entityKey, type NodeId } from '../core/ids.ts';
import { type JsonObject, jsonEqual } from '../core/json.ts';
import { type Outcome, outcomeOf } from '../core/outcome.ts';
import { type Policies, type Policy, policyFor } from '../core/policy.ts';
import { isMet, type Precondition } from '../core/precondition.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ChangeResult, change as changeSchema, type IncomingBatch } from '../protocol/messages.ts';
import { type Refusal, recordProblem, refusalError } from '../protocol/record.ts';
import { decidedContent, isDecided, type ManualDecision, manualResolution, withDecision } from './conflict-record.ts';
import { freshNode, isForked, withChange, withVoid } from './node-record.ts';
import type { Clock, CloudMeta, CloudStore, ConflictRecord, Entropy, NodeRecord } from './ports.ts';
import type { Write, Written } from './replica.ts';

/** Who sends a batch, and what the token allows. */
export interface Author {
  readonly nodeId: NodeId;
  /** Up to where it has the history; 0, if it isn't known. */
  readonly cursor: number;
  /** May it carry the changes of nodes below it? */
  readonly relay: boolean;
  /** The entity types that it may write; undefined: all. */
  readonly writeTypes?: readonly string[] | undefined;
}

export interface SequencerOptions {
  readonly store: CloudStore;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** What a batch did. */
export interface Sequenced {
  readonly results: ChangeResult[];
  /** Entities that the author can tell the state of by itself, with the version that it gave them. */
  readonly applied: ReadonlyMap<EntityKey, string>;
}

/**
 * Puts all changes of a space into one order, and decides what each of them does. This is the only place where a
 * conflict is decided. Everything that one call writes is one transaction. `design.md`, sections 4 and 5.
 */
export class Sequencer {
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #clock: Clock;
  #meta: CloudMeta;

  constructor(options: SequencerOptions) {
    this.#store = options.store;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.#meta = options.store.readMeta() ?? freshMeta(options.entropy);
  }

  get meta(): CloudMeta {
    return this.#meta;
  }

  /** Runs `body` with the power to change the history; all of it happens, or nothing. */
  commit<T>(body: (commit: Commit) => T): T {
    const { result, meta } = this.#store.transaction(() => {
      const commit = new Commit(this.#store, this.#policies, this.#meta, this.#clock.nowMs());
      const result = body(commit);
      const meta = commit.finish();
      if (meta !== this.#meta || this.#store.readMeta() === undefined) this.#store.writeMeta(meta);
      return { result, meta };
    });
    this.#meta = meta;
    return result;
  }

  /** Notes how far the projection has come. */
  noteProjected(projected: CloudMeta['projected']): void {
    const meta = { ...this.#meta, projected };
    this.#store.transaction(() => this.#store.writeMeta(meta));
    this.#meta = meta;
  }
}

/** One transaction on the history. */
export class Commit {
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #before: CloudMeta;
  readonly #nowMs: number;
  readonly #nodes = new Map<NodeId, NodeRecord>();
  readonly #applied = new Map<EntityKey, string>();
  /** The author's. */
  #cursor = 0;
  #seq: number;
  #conflicts: number;
  #conflictRevision: number;
  #digest: CloudMeta['digest'];
  #hlc: HlcState;

  constructor(store: CloudStore, policies: Policies, meta: CloudMeta, nowMs: number) {
    this.#store = store;
    this.#policies = policies;
    this.#before = meta;
    this.#nowMs = nowMs;
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

  /** What is remembered of a node, with what this transaction did to it. */
  node(nodeId: NodeId): NodeRecord {
    return this.#nodes.get(nodeId) ?? this.#store.readNode(nodeId) ?? freshNode(nodeId);
  }

  keepNode(node: NodeRecord): void {
    this.#nodes.set(node.nodeId, node);
  }

  /**
   * Takes a batch's changes in their order. One that can't be taken is refused alone, and counts as received.
   *
   * @throws SyncError `forbidden` for a change of another node than the author may write as; `node_forked` for a
   *   known dot with another content. Nothing has happened then.
   */
  sequence(changes: IncomingBatch['changes'], author: Author): Sequenced {
    for (const { nodeId } of changes) {
      if (nodeId !== author.nodeId && !author.relay) {
        throw new SyncError('forbidden', `${author.nodeId} may not send changes of ${nodeId}`);
      }
    }
    this.#cursor = author.cursor;
    const results = changes.map((envelope) => this.#take(envelope, author));
    return { results, applied: this.#applied };
  }

  /**
   * A write made at the cloud itself, on the state that is there.
   *
   * @throws SyncError as a write at an edge does.
   */
  write(write: Write): Written {
    const current = this.#store.readEntity(entityKey(write));
    this.#hlc = tick(this.#hlc, this.#nowMs);
    const change: Change = {
      id: formatDot({ node: CLOUD, counter: this.#seq + 1 }),
      entityType: write.entityType,
      entityId: write.entityId,
      ...contentOf(write, current),
      base: { [CLOUD]: this.#seq },
      stamp: stampOf(this.#hlc, CLOUD),
      timestamp: this.#nowMs,
      nodeId: CLOUD,
      consistency: 'strong',
      ifMatch: write.ifMatch,
      ifNoneMatch: write.ifNoneMatch,
    };
    const policy = policyFor(this.#policies, write.entityType);
    const result = this.#decide(change, current, policy);
    if (result.code !== undefined) throw refusalError({ ...result, code: result.code, detail: result.detail ?? '' });
    const version = result.version ?? change.id;
    return { changeId: change.id, version, created: result.created ?? false, data: result.data ?? null };
  }

  /**
   * Decides a conflict, an open one or once more, and gives the entity the chosen content by a write as any other; an
   * entity that has it already isn't written. The same decision of the same person again changes nothing.
   *
   * @param by who decides, for the record.
   * @returns the conflict as it is then.
   * @throws SyncError `not_found` for an unknown conflict; else as {@link write}. Nothing has happened then.
   */
  resolve(id: string, decision: ManualDecision, by: string, precondition: Precondition = {}): ConflictRecord {
    const conflict = this.#store.readConflict(id);
    if (conflict === undefined) throw new SyncError('not_found', 'there is no such conflict');
    const { entityType, entityId } = conflict;
    const content = decidedContent(conflict, decision);
    const current = this.#store.readEntity(entityKey({ entityType, entityId }));
    const isThere = jsonEqual(content, current?.data ?? null);
    if (isThere) checkPrecondition(current, precondition);
    else if (content === null) this.write({ entityType, entityId, kind: 'delete', ...precondition });
    else this.write({ entityType, entityId, kind: 'put', data: content, ...precondition });

    const resolution = manualResolution(conflict, decision, by);
    if (isThere && isDecided(conflict, resolution, by)) return conflict;
    const seq = isThere ? (current?.seq ?? 0) : this.#seq;
    return this.#keepConflict(withDecision(conflict, resolution, { by, atMs: this.#nowMs, seq }));
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
      changedAtMs: this.#nowMs,
      digest: this.#digest,
      hlc: this.#hlc,
    };
  }

  #take(envelope: IncomingBatch['changes'][number], author: Author): ChangeResult {
    const { id, nodeId } = envelope;
    const parsed = changeSchema.safeParse(envelope);
    const { counter } = dotOf(envelope);
    const node = this.node(nodeId);
    if (has(node.received, counter)) return this.#known(id, node, parsed.success ? parsed.data : undefined);

    if (!parsed.success) {
      this.keepNode(withVoid(node, [counter, counter]));
      const [issue] = parsed.error.issues;
      return this.#refuse(id, {
        code: 'bad_request',
        detail: `the change is malformed: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`,
      });
    }
    const result = this.#judge(parsed.data, author);
    if (result.status !== 'needs-full') this.keepNode(withChange(node, parsed.data));
    return result;
  }

  #known(id: string, node: NodeRecord, change: Change | undefined): ChangeResult {
    const forked = change === undefined ? false : (isForked(node, change) ?? this.#isForkedVersion(change));
    if (forked) throw new SyncError('node_forked', `${id} is another change here; the node needs a new id`);
    const refusal = this.#store.readRefusal(id);
    return refusal === undefined ? { id, status: 'duplicate' } : { id, status: 'rejected', ...refusal };
  }

  /** For a dot that is older than what is remembered by hash: is it the version of another content? */
  #isForkedVersion(change: Change): boolean {
    const current = this.#store.readEntity(entityKey(change));
    if (current?.version !== change.id) return false;
    return change.operation === 'delete' ? current.data !== null : current.data === null;
  }

  #judge(change: Change, author: Author): ChangeResult {
    if (author.writeTypes !== undefined && !author.writeTypes.includes(change.entityType)) {
      return this.#refuse(change.id, { code: 'forbidden', detail: `the token may not write ${change.entityType}` });
    }
    const { stamp, clamped } = this.#stampFor(change);
    const policy = policyFor(this.#policies, change.entityType);
    const current = this.#store.readEntity(entityKey(change));
    const result = this.#decide({ ...change, stamp }, current, policy);
    return clamped ? { ...result, stamp } : result;
  }

  /**
   * A stamp that honest clocks could have made: not far ahead of this one. And a strong write happens now, after all
   * that is here: else a fast clock somewhere could undo what its writer was told had been done.
   */
  #stampFor(change: Change): { stamp: Stamp; clamped: boolean } {
    if (change.consistency === 'strong') {
      this.#hlc = tick(this.#hlc, this.#nowMs);
      return { stamp: stampOf(this.#hlc, change.nodeId as NodeId), clamped: true };
    }
    const checked = clampStamp(change.stamp, this.#nowMs, LIMITS.maxClockDriftMs);
    this.#hlc = observe(this.#hlc, checked.stamp, this.#nowMs);
    return checked;
  }

  #decide(change: Change, current: EntityVersion | undefined, policy: Policy): ChangeResult {
    const outcome = outcomeOf(current, change, policy);
    switch (outcome.kind) {
      case 'advance':
        return this.#advance(change, current, outcome.data, policy);
      case 'no-op':
        return { id: change.id, status: 'applied' };
      case 'agreement':
        return outcome.winner === 'remote'
          ? this.#overrule(change, current, outcome.data)
          : { id: change.id, status: 'superseded' };
      case 'conflict':
        return this.#conflict(change, current, outcome, policy);
      case 'needs-full':
        return { id: change.id, status: 'needs-full' };
      case 'refused': {
        const version = current === undefined || current.data === null ? undefined : current.version;
        const at = outcome.code === 'precondition_failed' ? { current: version } : {};
        return this.#refuse(change.id, { code: outcome.code, detail: outcome.detail, ...at });
      }
      default:
        return assertNever(outcome);
    }
  }

  #advance(change: Change, current: EntityVersion | undefined, data: JsonObject | null, policy: Policy): ChangeResult {
    const refusal = data === null ? undefined : recordProblem(data, policy);
    if (refusal !== undefined) return this.#refuse(change.id, refusal);
    const { seq } = this.#put(change, current, data, change.id);
    if (change.consistency === 'strong') {
      const created = current === undefined || current.data === null;
      return { id: change.id, status: 'applied', seq, version: change.id, created, data };
    }
    // Whoever hasn't got what a change was applied to can't tell what came of it.
    const key = entityKey(change);
    const hadIt = current === undefined || current.seq <= this.#cursor || this.#applied.get(key) === current.version;
    if (hadIt) this.#applied.set(key, change.id);
    else this.#applied.delete(key);
    return { id: change.id, status: 'applied', seq };
  }

  #conflict(
    change: Change,
    current: EntityVersion | undefined,
    outcome: Extract<Outcome, { kind: 'conflict' }>,
    policy: Policy,
  ): ChangeResult {
    const { resolution } = outcome;
    const refusal = resolution.resolvedData === null ? undefined : recordProblem(resolution.resolvedData, policy);
    if (refusal !== undefined) return this.#refuse(change.id, refusal);
    const conflictId = this.#record(change, current, outcome);
    if (resolution.winner === 'local') return { id: change.id, status: 'superseded', conflictId };
    return { ...this.#overrule(change, current, resolution.resolvedData), conflictId };
  }

  /** The incoming side won against one that it had not seen: the version is the cloud's own. */
  #overrule(change: Change, current: EntityVersion | undefined, data: JsonObject | null): ChangeResult {
    const version = formatDot({ node: CLOUD, counter: this.#seq + 1 });
    const { seq } = this.#put(change, current, data, version);
    const created = current === undefined || current.data === null;
    const strong = change.consistency === 'strong' ? { created, data } : {};
    return { id: change.id, status: 'applied', seq, version, ...strong };
  }

  #put(
    { entityType, entityId, stamp }: Change,
    current: EntityVersion | undefined,
    data: JsonObject | null,
    version: string,
  ): EntityVersion {
    this.#seq += 1;
    const next: EntityVersion = { entityType, entityId, data, seq: this.#seq, version, stamp };
    this.#store.writeEntity(next);
    this.#digest = replaceInDigest(this.#digest, current, next);
    return next;
  }

  #record(
    change: Change,
    current: EntityVersion | undefined,
    { conflict, resolution }: Extract<Outcome, { kind: 'conflict' }>,
  ): string {
    this.#conflicts += 1;
    const id = `c${String(this.#conflicts).padStart(12, '0')}`;
    this.#keepConflict({
      id,
      type: conflict,
      entityType: change.entityType,
      entityId: change.entityId,
      base: null,
      local: { version: current?.version ?? '', stamp: current?.stamp ?? '', data: current?.data ?? null },
      remote: { version: change.id, stamp: change.stamp, data: change.data ?? null },
      resolution,
      decidedBy: null,
      decidedAtMs: this.#nowMs,
      status: 'resolved',
      atMs: this.#nowMs,
      seq: resolution.winner === 'local' ? (current?.seq ?? 0) : this.#seq + 1,
      history: [],
    });
    return id;
  }

  #keepConflict(conflict: Omit<ConflictRecord, 'revision'>): ConflictRecord {
    this.#conflictRevision += 1;
    const kept = { ...conflict, revision: this.#conflictRevision };
    this.#store.writeConflict(kept);
    return kept;
  }

  /** Refuses a change of a node for good: it is answered for, so that nothing behind it waits. */
  #refuse(id: string, refusal: Refusal): ChangeResult {
    if (!id.startsWith(`${CLOUD}:`)) this.#store.writeRefusal(id, refusal);
    return { id, status: 'rejected', ...refusal };
  }
}

function freshMeta(entropy: Entropy): CloudMeta {
  return {
    epoch: entropy.id(),
    seq: 0,
    changedAtMs: 0,
    digest: EMPTY_DIGEST,
    hlc: HLC_START,
    conflicts: 0,
    conflictRevision: 0,
    projected: { seq: 0, conflictRevision: 0, atMs: 0 },
  };
}

function checkPrecondition(current: EntityVersion | undefined, precondition: Precondition): void {
  const version = current === undefined || current.data === null ? undefined : current.version;
  if (isMet(precondition, version)) return;
  throw new SyncError('precondition_failed', `the current version is ${version ?? 'none'}`, { current: version });
}

function contentOf(write: Write, current: EntityVersion | undefined) {
  switch (write.kind) {
    case 'put':
      return { operation: 'update', data: write.data } as const;
    case 'patch':
      return { operation: 'update', operations: write.operations } as const;
    case 'merge-patch':
      return { operation: 'update', operations: mergePatchOperations(current?.data ?? {}, write.patch) } as const;
    case 'delete':
      return { operation: 'delete' } as const;
    default:
      return assertNever(write);
  }
}
