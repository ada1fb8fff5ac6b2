import { assertNever } from '../core/assert.ts';
import { type Change, dotOf } from '../core/change.ts';
import {
  type Conflict,
  customDecision,
  type OpenDecision,
  type Resolution,
  type ResolvedDecision,
  type Sides,
  stampAfter,
} from '../core/conflict.ts';
import { mergePatchOperations } from '../core/delta.ts';
import { EMPTY_DIGEST, replaceInDigest } from '../core/digest.ts';
import { formatDot } from '../core/dot.ts';
import { has } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { clampStamp, HLC_START, type HlcState, observe, type Stamp, stampOf, tick } from '../core/hlc.ts';
import {
  CLOUD,
  type EntityId,
  type EntityKey,
  entityKey,
  MAX_NAME_CHARS,
  type NodeId,
  toEntityId,
} from '../core/ids.ts';
import { type JsonObject, jsonEqual } from '../core/json.ts';
import { baseOf } from '../core/merge.ts';
import { type Outcome, outcomeOf } from '../core/outcome.ts';
import { type Policies, type Policy, policyFor } from '../core/policy.ts';
import { type Effect, versionAfter } from '../core/version.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ChangeResult, change as changeSchema, type IncomingBatch } from '../protocol/messages.ts';
import { type Refusal, recordProblem, refusalError } from '../protocol/record.ts';
import { freshNode, isForked, renamedTo, withChange, withRename, withVoid } from './node-record.ts';
import type { Clock, CloudMeta, CloudStore, ConflictRecord, ConflictSide, Entropy, NodeRecord } from './ports.ts';
import type { Write, Written } from './replica.ts';

/** What of a change a version takes over. */
type Source = Pick<Change, 'id' | 'entityType' | 'entityId' | 'stamp' | 'consistency'>;

/** Who sends a batch, and what the token allows. */
export interface Author {
  readonly nodeId: NodeId;
  /** Up to where it has the history; 0, if it isn't known. */
  readonly cursor: number;
  /** May it carry the changes of nodes below it? */
  readonly relay: boolean;
  /** Does it resolve conflicts that a policy leaves to the node? */
  readonly canResolve: boolean;
  /** The entity types that it may write; undefined: all. */
  readonly writeTypes?: readonly string[] | undefined;
}

export interface SequencerOptions {
  readonly store: CloudStore;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Told, after the commit, of resolvers that have not answered yet. */
  readonly onAwaited?: ((awaited: AwaitedResolution) => void) | undefined;
}

/** What a batch did. */
export interface Sequenced {
  readonly results: ChangeResult[];
  /** Entities that the author can tell the state of by itself, with the version that it gave them. */
  readonly applied: ReadonlyMap<EntityKey, string>;
}

/** A conflict that is open until a resolver has answered. */
export interface AwaitedResolution {
  readonly conflictId: string;
  readonly answer: PromiseLike<unknown>;
}

/**
 * Puts all changes of a space into one order, and decides what each of them does. This is the only place where a
 * conflict is decided. Everything that one call writes is one transaction. `design.md`, sections 4 and 5.
 */
export class Sequencer {
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #clock: Clock;
  readonly #onAwaited: SequencerOptions['onAwaited'];
  #meta: CloudMeta;

  constructor(options: SequencerOptions) {
    this.#store = options.store;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.#onAwaited = options.onAwaited;
    this.#meta = options.store.readMeta() ?? freshMeta(options.entropy);
  }

  get meta(): CloudMeta {
    return this.#meta;
  }

  /** Runs `body` with the power to change the history; all of it happens, or nothing. */
  commit<T>(body: (commit: Commit) => T): T {
    const { result, meta, awaited } = this.#store.transaction(() => {
      const commit = new Commit(this.#store, this.#policies, this.#meta, this.#clock.nowMs());
      const result = body(commit);
      const meta = commit.finish();
      if (meta !== this.#meta || this.#store.readMeta() === undefined) this.#store.writeMeta(meta);
      return { result, meta, awaited: commit.awaited };
    });
    this.#meta = meta;
    for (const one of awaited) this.#onAwaited?.(one);
    return result;
  }

  /** Notes how far the projection has come. */
  noteProjected(seq: number, atMs: number): void {
    const meta = { ...this.#meta, projected: { seq, atMs } };
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
  readonly #awaited: AwaitedResolution[] = [];
  /** Node and entity of changes that have to be sent once more. */
  readonly #deferred = new Set<string>();
  /** The author's. */
  #cursor = 0;
  #seq: number;
  #conflicts: number;
  #digest: CloudMeta['digest'];
  #hlc: HlcState;

  constructor(store: CloudStore, policies: Policies, meta: CloudMeta, nowMs: number) {
    this.#store = store;
    this.#policies = policies;
    this.#before = meta;
    this.#nowMs = nowMs;
    this.#seq = meta.seq;
    this.#conflicts = meta.conflicts;
    this.#digest = meta.digest;
    this.#hlc = meta.hlc;
  }

  get head(): number {
    return this.#seq;
  }

  get awaited(): readonly AwaitedResolution[] {
    return this.#awaited;
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
   * Takes what a resolver answered in the end. Where the entity has moved on, or the answer is none, the conflict stays
   * open, for people.
   */
  resolveLate(conflictId: string, output: unknown): void {
    const record = this.#store.readConflict(conflictId);
    const current = record && this.#store.readEntity(entityKey(record));
    if (record?.status !== 'open' || current?.version !== record.local.version) return;
    const policy = policyFor(this.#policies, record.entityType);
    const decision = usable(customDecision(record, output), record, policy);
    if (decision.kind === 'resolved' && decision.resolution.winner !== 'local') {
      const { entityType, entityId, remote } = record;
      const { written, resolution } = decision;
      const effect = { data: resolution.resolvedData, written, stamp: stampAfter(record, resolution.winner) };
      this.#overrule({ id: remote.version, entityType, entityId, stamp: remote.stamp }, current, effect);
    }
    const status = decision.kind === 'resolved' ? 'resolved' : 'open';
    this.#store.writeConflict({ ...record, resolution: decision.resolution, status, seq: this.#seq });
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
    const result = this.#decide(change, policyFor(this.#policies, write.entityType));
    if (result.code !== undefined) throw refusalError({ ...result, code: result.code, detail: result.detail ?? '' });
    const version = result.version ?? change.id;
    return { changeId: change.id, version, created: result.created ?? false, data: result.data ?? null };
  }

  /** Writes what the transaction has gathered, and returns the new state of the whole. */
  finish(): CloudMeta {
    for (const node of this.#nodes.values()) this.#store.writeNode(node);
    if (this.#seq === this.#before.seq && this.#conflicts === this.#before.conflicts) return this.#before;
    return {
      ...this.#before,
      seq: this.#seq,
      conflicts: this.#conflicts,
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
    if (isFinal(result)) this.keepNode(withChange(this.node(nodeId), parsed.data));
    return result;
  }

  #known(id: string, node: NodeRecord, change: Change | undefined): ChangeResult {
    const forked = change === undefined ? false : (isForked(node, change) ?? this.#isForkedVersion(change));
    if (forked) throw new SyncError('node_forked', `${id} is another change here; the node needs a new id`);
    const refusal = this.#store.readRefusal(id);
    if (refusal !== undefined) return { id, status: 'rejected', ...refusal };
    const entityId = change && renamedTo(node, change);
    return entityId === undefined ? { id, status: 'duplicate' } : { id, status: 'renamed', entityId };
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
    // Behind a change of the same node that has to be sent once more: the order of the two stays.
    const dependsOn = `${change.nodeId} ${entityKey(change)}`;
    if (this.#deferred.has(dependsOn)) return { id: change.id, status: 'needs-full' };
    const { stamp, clamped } = this.#stampFor(change);
    // What its node wrote before it heard that the record has another id is meant for that one.
    const entityId = renamedTo(this.node(change.nodeId as NodeId), change) ?? change.entityId;
    const result = this.#decide({ ...change, stamp, entityId }, this.#policyFor(change, author));
    if (!isFinal(result)) this.#deferred.add(dependsOn);
    const told = entityId === change.entityId ? result : { ...asRenamed(result), entityId };
    return clamped ? { ...told, stamp } : told;
  }

  /** A node that can't resolve conflicts isn't asked to. */
  #policyFor(change: Change, author: Author): Policy {
    const policy = policyFor(this.#policies, change.entityType);
    return policy.custom === 'node' && !author.canResolve ? { ...policy, custom: undefined } : policy;
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

  #decide(change: Change, policy: Policy): ChangeResult {
    const { id } = change;
    const current = this.#store.readEntity(entityKey(change));
    const refusal = change.data === undefined ? undefined : recordProblem(change.data, policy);
    if (refusal !== undefined) return this.#refuse(id, refusal);
    const outcome = outcomeOf(current, change, policy);
    switch (outcome.kind) {
      case 'advance':
        return this.#advance(change, current, outcome, policy);
      case 'no-op':
        return { id, status: 'applied' };
      case 'agreement': {
        if (outcome.winner === 'local') return { id, status: 'superseded' };
        const { data } = outcome.conflict.local;
        return this.#overrule(change, current, { data, written: outcome.written, stamp: change.stamp });
      }
      case 'resolved':
        return this.#resolved(change, current, outcome, policy);
      case 'open':
        return this.#open(change, outcome);
      case 'rename':
        return this.#rename(change, outcome.conflict);
      case 'ask-node': {
        const { data, version, seq } = outcome.conflict.local;
        const conflictId = this.#record(change, outcome.conflict, asked(outcome.conflict), 'open');
        return { id, status: 'conflict', conflictId, data, version, seq };
      }
      case 'needs-full':
        return { id, status: 'needs-full' };
      case 'refused': {
        const version = current === undefined || current.data === null ? undefined : current.version;
        const at = outcome.code === 'precondition_failed' ? { current: version } : {};
        return this.#refuse(id, { code: outcome.code, detail: outcome.detail, ...at });
      }
      default:
        return assertNever(outcome);
    }
  }

  #advance(
    change: Change,
    current: EntityVersion | undefined,
    { data, written }: Extract<Outcome, { kind: 'advance' }>,
    policy: Policy,
  ): ChangeResult {
    const refusal = data === null ? undefined : recordProblem(data, policy);
    if (refusal !== undefined) return this.#refuse(change.id, refusal);
    if (change.resolves !== undefined) this.#resolvedByNode(change, data);
    const { seq } = this.#put(change, current, { data, written, stamp: change.stamp }, change.id);
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

  #resolved(
    change: Change,
    current: EntityVersion | undefined,
    decided: Extract<Outcome, { kind: 'resolved' }>,
    policy: Policy,
  ): ChangeResult {
    const { conflict } = decided;
    const decision = usable(decided, conflict, policy);
    if (decision.kind === 'open') return this.#open(change, { ...decision, conflict });
    const { resolution, written } = decision;
    const { winner, resolvedData: data } = resolution;
    const conflictId = this.#record(change, conflict, resolution, 'resolved');
    if (winner === 'local') return { id: change.id, status: 'superseded', conflictId };
    const result = this.#overrule(change, current, { data, written, stamp: stampAfter(conflict, winner) });
    return { ...result, status: winner === 'merged' ? 'merged' : 'applied', conflictId };
  }

  /** The version that is there stays; people, or a resolver that takes its time, will say what becomes of it. */
  #open(
    change: Change,
    { conflict, resolution, later }: Pick<Extract<Outcome, { kind: 'open' }>, 'conflict' | 'resolution' | 'later'>,
  ): ChangeResult {
    const conflictId = this.#record(change, conflict, resolution, 'open');
    if (later !== undefined) this.#awaited.push({ conflictId, answer: later });
    return { id: change.id, status: 'superseded', conflictId };
  }

  /** Both records stay, the incoming one under another id; its node hears of it, and moves what follows. */
  #rename(change: Change, conflict: Conflict): ChangeResult {
    const entityId = this.#freeId(change);
    const resolution: Resolution = {
      winner: 'local',
      resolvedData: conflict.local.data,
      metadata: { strategy: 'rename', reason: `the record of ${change.nodeId} is ${entityId} now`, entityId },
    };
    const conflictId = this.#record(change, conflict, resolution, 'resolved');
    const effect = { data: change.data ?? null, written: 'whole', stamp: change.stamp } as const;
    const { seq } = this.#put({ ...change, entityId }, undefined, effect, change.id);
    const { entityType, nodeId } = change;
    const { counter } = dotOf(change);
    const renamed = { entityType, entityId: change.entityId, counter, seq, to: entityId };
    this.keepNode(withRename(this.node(nodeId as NodeId), renamed));
    return { id: change.id, status: 'renamed', entityId, seq, conflictId };
  }

  /** `<id>~<node>`, and with the change's counter behind it where that is taken. */
  #freeId({ id, entityType, entityId, nodeId }: Change): EntityId {
    for (const suffix of [`~${nodeId}`, `~${id}`]) {
      const candidate = toEntityId(`${entityId.slice(0, MAX_NAME_CHARS - suffix.length)}${suffix}`);
      if (candidate === undefined) break;
      if (this.#store.readEntity(entityKey({ entityType, entityId: candidate })) === undefined) return candidate;
    }
    throw new Error(`invariant broken: no free id for ${id}`);
  }

  /** The version is the cloud's own: it stands for more than its change had seen. */
  #overrule(change: Source, current: EntityVersion | undefined, effect: Effect): ChangeResult {
    const version = formatDot({ node: CLOUD, counter: this.#seq + 1 });
    const { seq } = this.#put(change, current, effect, version);
    const created = current === undefined || current.data === null;
    const strong = change.consistency === 'strong' ? { created, data: effect.data } : {};
    return { id: change.id, status: 'applied', seq, version, ...strong };
  }

  #put(change: Source, current: EntityVersion | undefined, effect: Effect, version: string): EntityVersion {
    this.#seq += 1;
    const next = versionAfter(current, change, effect, { seq: this.#seq, version });
    this.#store.writeEntity(next);
    this.#digest = replaceInDigest(this.#digest, current, next);
    return next;
  }

  /** Keeps a conflict, in the record that the change's node was told of, if it was. */
  #record(
    change: Change,
    { kind, local, remote }: Conflict,
    resolution: Resolution,
    status: ConflictRecord['status'],
  ): string {
    const known = this.#askedConflict(change);
    if (known === undefined) this.#conflicts += 1;
    const id = known?.id ?? `c${String(this.#conflicts).padStart(12, '0')}`;
    const base =
      local.data === null || remote.data === null
        ? null
        : baseOf({ ...local, data: local.data }, { ...remote, data: remote.data });
    this.#store.writeConflict({
      id,
      type: kind,
      entityType: change.entityType,
      entityId: local.entityId,
      base: base === null ? null : { data: base },
      local: { version: local.version, stamp: local.stamp, data: local.data },
      remote: { version: change.id, stamp: change.stamp, data: remote.data },
      resolution,
      status,
      atMs: this.#nowMs,
      seq: resolution.winner === 'local' ? local.seq : this.#seq + 1,
    });
    return id;
  }

  /** A conflict that the change's node was asked to resolve, if this is its answer. */
  #askedConflict({ id, resolves }: Change): ConflictRecord | undefined {
    const known = resolves && this.#store.readConflict(resolves.conflictId);
    return known?.status === 'open' && known.remote.version === id ? known : undefined;
  }

  #resolvedByNode(change: Change, data: JsonObject | null): void {
    const asked = this.#askedConflict(change);
    if (asked === undefined) return;
    const isSide = (side: ConflictSide) => side.data !== null && data !== null && jsonEqual(side.data, data);
    const winner = isSide(asked.local) ? 'local' : isSide(asked.remote) ? 'remote' : 'merged';
    const metadata = { strategy: 'custom', reason: change.resolves?.reason ?? '', by: change.nodeId };
    this.#store.writeConflict({
      ...asked,
      resolution: { winner, resolvedData: data, metadata },
      status: 'resolved',
      seq: this.#seq + 1,
    });
  }

  /** Refuses a change of a node for good: it is answered for, so that nothing behind it waits. */
  #refuse(id: string, refusal: Refusal): ChangeResult {
    if (!id.startsWith(`${CLOUD}:`)) this.#store.writeRefusal(id, refusal);
    return { id, status: 'rejected', ...refusal };
  }
}

/** What holds as long as the node that was asked has not answered. */
function asked({ local }: Conflict): Resolution {
  const metadata = { strategy: 'custom', reason: 'the node that pushed was asked, and has not answered yet' };
  return { winner: 'local', resolvedData: local.data, metadata };
}

/** Whether the cloud has spoken its last word on the change. */
function isFinal({ status }: ChangeResult): boolean {
  return status !== 'needs-full' && status !== 'conflict';
}

function asRenamed(result: ChangeResult): ChangeResult {
  return result.status === 'applied' || result.status === 'merged' ? { ...result, status: 'renamed' } : result;
}

/** A decision whose record may not be stored is none: people decide. */
function usable<D extends ResolvedDecision | OpenDecision>(
  decision: D,
  { local }: Sides,
  policy: Policy,
): D | OpenDecision {
  if (decision.kind === 'open' || decision.resolution.resolvedData === null) return decision;
  const { resolvedData, metadata } = decision.resolution;
  const problem = recordProblem(resolvedData, policy);
  if (problem === undefined) return decision;
  const reason = `what '${metadata.strategy}' made of the two may not be stored: ${problem.detail}`;
  return {
    kind: 'open',
    resolution: { winner: 'local', resolvedData: local.data, metadata: { strategy: 'manual', reason } },
  };
}

function freshMeta(entropy: Entropy): CloudMeta {
  return {
    epoch: entropy.id(),
    seq: 0,
    changedAtMs: 0,
    digest: EMPTY_DIGEST,
    hlc: HLC_START,
    conflicts: 0,
    projected: { seq: 0, atMs: 0 },
  };
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
