import { assertNever } from '../core/assert.ts';
import { checksum } from '../core/canonical.ts';
import { type Change, dotOf, isDelta } from '../core/change.ts';
import { type Conflict, type Resolution, stampAfter } from '../core/conflict.ts';
import { has } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { compareStamps, type Stamp } from '../core/hlc.ts';
import {
  CLOUD,
  type EntityId,
  type EntityKey,
  entityKey,
  MAX_NAME_CHARS,
  type NodeId,
  toEntityId,
} from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { isSuccessor, type Outcome, outcomeOf } from '../core/outcome.ts';
import type { Policy } from '../core/policy.ts';
import { isWhole } from '../core/transaction.ts';
import { merge, type VectorClock } from '../core/vector-clock.ts';
import type { Effect } from '../core/version.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import {
  type ChangeResult,
  change as changeSchema,
  type IncomingBatch,
  isBarred,
  isFinal,
  withdrawal,
} from '../protocol/messages.ts';
import { firstIssue } from '../protocol/parse.ts';
import { contentProblem, type Refusal, recordProblem } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import { answeredByNode, answeredConflict, askedConflict, askedOf, recordConflict, usable } from './conflict-record.ts';
import { lacking } from './coverage.ts';
import { KEY_REUSED } from './memos.ts';
import { isForked, renamedTo, withChange, withRename, withVoid } from './node-record.ts';
import type { NodeRecord } from './ports.ts';

/** Who sends a batch, and what the token allows. */
export interface Author {
  readonly nodeId: NodeId;
  /** Up to where it has the history; 0, if it isn't known. */
  readonly cursor: number;
  /** May it carry the changes of nodes below it? */
  readonly relay: boolean;
  /** Does it resolve conflicts that a policy leaves to the node? */
  readonly canResolve: boolean;
  /** Does it want its changes to take effect in their order, also those of different entities? */
  readonly isOrdered: boolean;
  /** The entity types that it may write; undefined: all. */
  readonly writeTypes?: readonly string[] | undefined;
  /** Whether it is asked for the records instead of all its deltas. */
  readonly needsFull?: boolean | undefined;
}

type Envelope = IncomingBatch['changes'][number];

/** What a batch did. */
export interface Sequenced {
  readonly results: ChangeResult[];
  /** Entities that the author can tell the state of by itself, with the version that it gave them. */
  readonly applied: ReadonlyMap<EntityKey, string>;
  /** What its deltas made; undefined: one of them met something else than its writer had. */
  readonly made: readonly EntityVersion[] | undefined;
}

/**
 * Takes a batch's changes in their order. One that can't be taken is refused alone, and counts as received. One that this
 * program fails at is not: it may come again, until its node gives it up.
 *
 * @throws SyncError `forbidden` for a change of another node than the author may write as; `node_forked` for a known dot
 *   with another content. Nothing has happened then.
 */
export function takeBatch(commit: Commit, changes: IncomingBatch['changes'], author: Author): Sequenced {
  for (const { nodeId } of changes) {
    if (nodeId !== author.nodeId && !author.relay) {
      throw new SyncError('forbidden', `${author.nodeId} may not send changes of ${nodeId}`);
    }
  }
  const batch = new Judge(commit, author);
  const results = batch.takeAll(changes);
  return { results, applied: batch.applied, made: batch.made };
}

/** Does with a change what {@link outcomeOf} says: the one place where a conflict is decided. `design.md`, section 5. */
export function decide(commit: Commit, change: Change, policy: Policy): ChangeResult {
  const { id, data } = change;
  const problem = data === undefined ? undefined : (recordProblem(data, policy) ?? checksumProblem(change, data));
  if (problem !== undefined) return commit.refuse(id, problem);
  const current = commit.entity(entityKey(change));
  const settled = answeredConflict(commit, change, 'resolved');
  if (settled !== undefined) return { id, status: 'superseded', conflictId: settled.id };
  const outcome = outcomeOf(current, change, policy);
  switch (outcome.kind) {
    case 'advance':
      return advance(commit, change, current, outcome, policy);
    case 'no-op':
      noteAnswer(commit, change, current);
      return { id, status: 'applied' };
    case 'agreement': {
      const { data } = outcome.conflict.local;
      const result: ChangeResult =
        outcome.winner === 'local'
          ? { id, status: 'superseded' }
          : overrule(commit, change, current, { data, written: outcome.written, stamp: change.stamp });
      noteAnswer(commit, change, commit.entity(entityKey(change)));
      return result;
    }
    case 'resolved':
      return resolved(commit, change, current, outcome, policy);
    case 'open':
      return open(commit, change, outcome);
    case 'rename':
      return rename(commit, change, outcome.conflict);
    case 'ask-node': {
      const { data, version, seq } = outcome.conflict.local;
      const conflictId = recordConflict(commit, change, outcome.conflict, askedOf(outcome.conflict), 'open');
      return { id, status: 'conflict', conflictId, data, version, seq };
    }
    case 'needs-full':
      return { id, status: 'needs-full' };
    case 'refused': {
      const version = current === undefined || current.data === null ? undefined : current.version;
      const at = outcome.code === 'precondition_failed' ? { current: version } : {};
      return commit.refuse(id, { code: outcome.code, detail: outcome.detail, ...at });
    }
    default:
      return assertNever(outcome);
  }
}

/** One batch of one author. */
class Judge {
  made: EntityVersion[] | undefined = [];
  readonly #commit: Commit;
  readonly #author: Author;
  #applied = new Map<EntityKey, string>();
  /** Node and entity of changes that have to be sent once more, and how those behind them are answered. */
  #deferred = new Map<string, 'needs-full' | 'deferred'>();
  /** Nodes that have such a change, which the cloud has not failed at: what they wrote later waits for it, if they want order. */
  #held = new Set<string>();
  /** Where the history was before the change that is taken, or its transaction. */
  #from = 0;

  constructor(commit: Commit, author: Author) {
    this.#commit = commit;
    this.#author = author;
  }

  /** Entities that the author can tell the state of by itself. */
  get applied(): ReadonlyMap<EntityKey, string> {
    return this.#applied;
  }

  /** In their order; a transaction in the place of its first change. */
  takeAll(changes: readonly Envelope[]): ChangeResult[] {
    const results = new Map<Envelope, ChangeResult>();
    for (const together of unitsOf(changes)) {
      this.#from = this.#commit.head;
      const taken =
        together.length === 1 && isComplete(together)
          ? together.map((one) => this.#take(one))
          : this.#takeTogether(together);
      for (const [index, envelope] of together.entries()) {
        const result = taken[index];
        if (result !== undefined) results.set(envelope, result);
      }
    }
    return changes.flatMap((envelope) => results.get(envelope) ?? []);
  }

  /** The changes of a transaction: where one is refused all are, and where one has to be sent once more all have. */
  #takeTogether(members: readonly Envelope[]): ChangeResult[] {
    const isKnown = ({ id, nodeId }: Envelope) => has(this.#commit.node(nodeId).received, dotOf({ id }).counter);
    if (!isComplete(members) || members.some(isKnown)) {
      const refusal = { code: 'transaction_refused', detail: 'its transaction is not here as a whole' } as const;
      return members.map((one) => (isKnown(one) ? this.#take(one) : this.#refuse(one, refusal)));
    }
    const before = { applied: new Map(this.#applied), deferred: new Map(this.#deferred), held: new Set(this.#held) };
    try {
      return this.#commit.attempt(() => {
        const results = members.map((one) => this.#take(one));
        if (results.every((result) => isFinal(result) && result.status !== 'rejected')) return results;
        throw new Undone(results);
      });
    } catch (error) {
      if (!(error instanceof Undone)) throw error;
      [this.#applied, this.#deferred, this.#held] = [before.applied, before.deferred, before.held];
      return this.#undone(members, error.results);
    }
  }

  /** What is answered where nothing of a transaction has happened. */
  #undone(members: readonly Envelope[], results: readonly ChangeResult[]): ChangeResult[] {
    this.made = undefined;
    const barred = results.find(isBarred);
    const refused = results.find((result) => result.status === 'rejected' && !isBarred(result));
    const failed = results.find(({ status }) => status === 'failed');
    return members.map((envelope, index) => {
      const own = results[index];
      if (refused !== undefined) {
        const cause = {
          code: 'transaction_refused',
          detail: `${refused.id}, of its transaction: ${refused.detail}`,
        } as const;
        return this.#refuse(envelope, own?.status === 'rejected' ? refusalOf(own) : cause);
      }
      if (barred !== undefined) return own && isBarred(own) ? own : { id: envelope.id, status: 'deferred' };
      this.#deferred.set(placeOf(envelope), failed === undefined ? 'needs-full' : 'deferred');
      if (failed !== undefined) return { ...failed, id: envelope.id };
      this.#held.add(envelope.nodeId);
      return { id: envelope.id, status: own?.status === 'needs-full' ? 'needs-full' : 'deferred' };
    });
  }

  /** Whatever fails for one change fails for that one, and not for the batch. */
  #take(envelope: Envelope): ChangeResult {
    try {
      return this.#commit.attempt(() => this.#takeOne(envelope));
    } catch (error) {
      if (error instanceof SyncError) throw error;
      this.made = undefined;
      this.#commit.noteFailure({ changeId: envelope.id, error });
      const failure = { code: 'internal', detail: 'the cloud failed at this change; its log says why' } as const;
      // Nobody sends again what somebody waits for.
      if (envelope['consistency'] === 'strong') return this.#refuse(envelope, failure);
      this.#deferred.set(placeOf(envelope), 'deferred');
      return { id: envelope.id, status: 'failed', ...failure };
    }
  }

  #takeOne(envelope: Envelope): ChangeResult {
    const { id, nodeId } = envelope;
    const change = readChange(envelope);
    const node = this.#commit.node(nodeId);
    const isKnown = has(node.received, dotOf(envelope).counter);
    if (isKnown || 'code' in change) this.made = undefined;
    if (isKnown) return this.#known(id, node, 'code' in change ? undefined : change);
    if ('code' in change) return this.#refuse(envelope, change);
    const replayed = this.#replayed(change, envelope);
    if (replayed !== undefined) return replayed;
    const result = remembered(this.#commit, change, this.#judge(change));
    if (isDelta(change)) this.#noteMade(result);
    if (isFinal(result)) this.#commit.keepNode(withChange(this.#commit.node(nodeId), change));
    return result;
  }

  /** What a strong change did that came before by the same key; it may have been another node's. */
  #replayed({ id, consistency, once }: Change, envelope: Envelope): ChangeResult | undefined {
    const memo = consistency === 'strong' && once ? this.#commit.memos.get('result', once.key) : undefined;
    if (memo === undefined) return undefined;
    if (memo.hash !== once?.hash) return this.#refuse(envelope, KEY_REUSED);
    const { counter } = dotOf(envelope);
    this.#commit.keepNode(withVoid(this.#commit.node(envelope.nodeId), [counter, counter]));
    // Of this change nothing is in the history: what its node has stays as it is, until the node pulls what came of it.
    const { seq: _, ...told } = memo.result;
    return { ...told, id, firstId: told.id };
  }

  #refuse(envelope: Envelope, refusal: Refusal): ChangeResult {
    const { counter } = dotOf(envelope);
    this.#commit.keepNode(withVoid(this.#commit.node(envelope.nodeId), [counter, counter]));
    return this.#commit.refuse(envelope.id, refusal);
  }

  /** A dot that has taken effect, or never will: it is answered for, and does nothing. */
  #known(id: string, node: NodeRecord, change: Change | undefined): ChangeResult {
    const refusal = this.#commit.refusal(id);
    const forked = change === undefined ? false : isForked(node, change);
    if (change?.isDoubtful && refusal === undefined && forked !== false)
      return { id, status: 'rejected', ...doubted(id, forked) };
    if (change !== undefined && (forked ?? this.#isForkedVersion(change))) {
      throw new SyncError('node_forked', `${id} is another change here`);
    }
    if (refusal !== undefined) return { id, status: 'rejected', ...refusal };
    // Somebody waits to hear that a strong write was done; of one that came too late nobody may say so.
    const entityId = change?.consistency === 'strong' ? undefined : change && renamedTo(node, change);
    return entityId === undefined ? { id, status: 'duplicate' } : { id, status: 'renamed', entityId };
  }

  /** For a dot that is older than what is remembered by hash: is it the version of another content? */
  #isForkedVersion(change: Change): boolean {
    const current = this.#commit.entity(entityKey(change));
    if (current?.version !== change.id) return false;
    return change.operation === 'delete' ? current.data !== null : current.data === null;
  }

  #judge(change: Change): ChangeResult {
    const { writeTypes } = this.#author;
    if (writeTypes !== undefined && !writeTypes.includes(change.entityType)) {
      // Its dot isn't spent: with another token it may come again.
      const detail = `the token may not write ${change.entityType}`;
      return { id: change.id, status: 'rejected', code: 'forbidden', detail };
    }
    // Behind a change of the same node that has to be sent once more: the order of the two stays.
    const place = placeOf(change);
    if (this.#author.needsFull && isDelta(change) && !this.#deferred.has(place)) this.#defer(change);
    const status = this.#deferred.get(place);
    if (status !== undefined) return { id: change.id, status };
    if (this.#author.isOrdered && this.#held.has(change.nodeId)) return { id: change.id, status: 'deferred' };
    // What its node wrote before it heard that the record has another id is meant for that one.
    const entityId = renamedTo(this.#commit.node(change.nodeId as NodeId), change) ?? change.entityId;
    const before = this.#commit.entity(entityKey({ ...change, entityId }));
    const stamp = this.#stampFor(change, before);
    const { isReborn } = this.#commit.node(change.nodeId as NodeId);
    // Who says to have seen its counters may have seen what it lost.
    const { ownFrom = isReborn ? 1 : undefined } = change;
    const meant = { ...change, stamp, entityId, ownFrom, base: this.#baseOf(change, before) };
    const result = decide(this.#commit, meant, this.#policyFor(change));
    if (!isFinal(result)) this.#defer(change);
    // A node that has not heard of the other id yet can't tell what became of it: it is sent the record.
    const told = entityId === change.entityId ? result : { entityId, ...asRenamed(result) };
    this.#noteApplied(meant, before, told);
    return stamp === change.stamp ? told : { ...told, stamp };
  }

  #defer(change: Change): void {
    this.#deferred.set(placeOf(change), 'needs-full');
    this.#held.add(change.nodeId);
  }

  /** A node that can't resolve conflicts isn't asked to; nor is one about a part of a transaction, which is decided whole. */
  #policyFor(change: Change): Policy {
    const policy = this.#commit.policyFor(change.entityType);
    return policy.custom === 'node' && !(this.#author.canResolve && change.transaction === undefined)
      ? { ...policy, custom: undefined }
      : policy;
  }

  /**
   * A strong write happens now, after all that is here: else a fast clock somewhere could undo what its writer was told
   * had been done. And none happens before what its writer had seen, whatever the clocks were.
   */
  #stampFor(change: Change, before: EntityVersion | undefined): Stamp {
    const nodeId = change.nodeId as NodeId;
    const stamp = this.#commit.accept(change.stamp);
    // By the cloud's clock, which is behind no stamp that it has accepted: its writer may have seen a later one than is here.
    if (change.consistency === 'strong') return this.#commit.stampNow(nodeId);
    const isTooEarly = before !== undefined && compareStamps(stamp, before.stamp) <= 0 && isSuccessor(change, before);
    return isTooEarly ? this.#commit.stampBehind(before.stamp, nodeId) : stamp;
  }

  /** A strong change has seen what its own transaction made before it, which its node could not name. */
  #baseOf({ base, consistency }: Change, before: EntityVersion | undefined): VectorClock {
    const isOwn = consistency === 'strong' && before !== undefined && before.seq > this.#from;
    return isOwn ? merge(base, { [CLOUD]: before.seq }) : base;
  }

  #noteMade({ status, version }: ChangeResult): void {
    const { newest } = this.#commit;
    const isAsMeant = status === 'applied' && version === undefined && newest !== undefined;
    if (isAsMeant) this.made?.push(newest);
    else this.made = undefined;
  }

  /** Whoever hasn't got what a change was applied to can't tell what came of it. */
  #noteApplied(change: Change, before: EntityVersion | undefined, result: ChangeResult): void {
    if (result.seq === undefined || result.status === 'conflict') return;
    const key = entityKey(change);
    const hadIt =
      before === undefined || before.seq <= this.#author.cursor || this.#applied.get(key) === before.version;
    const isOwn = result.status === 'applied' && result.version === undefined;
    if (hadIt && isOwn) this.#applied.set(key, change.id);
    else this.#applied.delete(key);
  }
}

/** Takes back a transaction of which one change was not taken. */
class Undone extends Error {
  readonly results: readonly ChangeResult[];

  constructor(results: readonly ChangeResult[]) {
    super('a change of the transaction was not taken');
    this.results = results;
  }
}

/** Why a change is not taken under a dot that something went under before, which was another one, or nobody knows what. */
function doubted(id: string, isOther: boolean | undefined): Refusal {
  if (isOther) return { code: 'node_forked', detail: `${id} is another change here` };
  return { code: 'outcome_unknown', detail: `${id} is known here, and nobody can tell whether it is this change` };
}

function refusalOf({ code = 'bad_request', detail = '', issues, current }: ChangeResult): Refusal {
  return { code, detail, ...(issues === undefined ? {} : { issues }), ...(current === undefined ? {} : { current }) };
}

/** The changes of a batch by transaction, in the order of their first changes; one that is in none by itself. */
function unitsOf(changes: readonly Envelope[]): (readonly Envelope[])[] {
  const units = new Map<unknown, Envelope[]>();
  for (const envelope of changes) {
    const { nodeId, transaction } = envelope;
    const name = typeof transaction === 'string' ? JSON.stringify([nodeId, transaction]) : envelope;
    const unit = units.get(name);
    if (unit === undefined) units.set(name, [envelope]);
    else unit.push(envelope);
  }
  return [...units.values()];
}

/** Whether these are all changes of their transaction, as far as its name tells. */
function isComplete(members: readonly Envelope[]): boolean {
  const name = members[0]?.['transaction'];
  return typeof name !== 'string' || isWhole(name, members.map(dotOf));
}

/** What a change did that somebody waits for is told again to who repeats it by its key. */
export function remembered(commit: Commit, { consistency, once }: Change, result: ChangeResult): ChangeResult {
  if (consistency !== 'strong' || once === undefined || !isFinal(result) || result.status === 'rejected') return result;
  commit.memos.put(once.key, { kind: 'result', atMs: commit.nowMs, hash: once.hash, result });
  return result;
}

/** Of a change, or of what may not be one: the node and the entity. */
function placeOf(change: { readonly nodeId: string; readonly entityType?: unknown; readonly entityId?: unknown }) {
  return JSON.stringify([change.nodeId, change.entityType, change.entityId]);
}

/** What arrived as a change, or why it is none. */
function readChange(envelope: Envelope): Change | Refusal {
  const withdrawn = withdrawal.safeParse(envelope);
  if (withdrawn.success) return withdrawn.data.withdrawn;
  const problem = contentProblem(envelope, LIMITS.changeDepth);
  if (problem !== undefined) return problem;
  const parsed = changeSchema.safeParse(envelope);
  if (parsed.success) return parsed.data;
  const { code, detail } = firstIssue(parsed.error, 'its fields');
  return { code, detail: `the change is malformed: ${detail}` };
}

function advance(
  commit: Commit,
  change: Change,
  current: EntityVersion | undefined,
  { data, written }: Extract<Outcome, { kind: 'advance' }>,
  policy: Policy,
): ChangeResult {
  const { id, stamp } = change;
  if (change.data === undefined && data !== null && checksumProblem(change, data)) return { id, status: 'needs-full' };
  const problem = data === null || data === change.data ? undefined : recordProblem(data, policy);
  if (problem !== undefined) return commit.refuse(id, problem);
  const effect = { data, written, stamp, ahead: aheadOf(commit, change, current) };
  if (change.consistency === 'strong') return atOnce(commit, change, current, effect);
  const made = commit.put(change, current, effect, id);
  noteAnswer(commit, change, made);
  return { id, status: 'applied', seq: made.seq };
}

/**
 * What a change writes over that is not here yet; undefined: it says nothing of that. Its operations may have been made on what
 * was without it; a whole record, or its end, takes the place of all that its writer had seen.
 */
function aheadOf(commit: Commit, change: Change, current: EntityVersion | undefined): VectorClock | undefined {
  if (change.operations !== undefined || change.mergePatch !== undefined) return undefined;
  const { [CLOUD]: _, [change.nodeId]: __, ...others } = merge(current?.marks?.ahead ?? {}, change.base);
  const lacks = lacking(others, commit.head, (nodeId) => commit.node(nodeId));
  const missing = Object.entries(others).filter(([name]) => Object.hasOwn(lacks, name));
  return Object.fromEntries(missing.slice(-LIMITS.clockEntries));
}

/** A change may be the answer of the node that was asked; then the conflict is decided, by what is there now. */
function noteAnswer(commit: Commit, change: Change, made: EntityVersion | undefined): void {
  const asked = askedConflict(commit, change);
  if (asked?.status === 'open') answeredByNode(commit, asked, change, made ?? { data: null, seq: asked.seq });
}

function checksumProblem(change: Change, data: JsonObject): Refusal | undefined {
  if (change.checksum === undefined || change.checksum === checksum(data)) return undefined;
  return { code: 'invalid_data', detail: 'the checksum is not that of the record' };
}

/**
 * A strong write's version is the cloud's own: what its node writes while it is under way, and what is told of that node
 * elsewhere, names later counters without having seen it.
 */
function atOnce(commit: Commit, change: Change, current: EntityVersion | undefined, effect: Effect): ChangeResult {
  const version = commit.cloudDot();
  const { seq } = commit.put({ ...change, id: version }, current, effect, version);
  return { id: change.id, status: 'applied', seq, version, created: !isLive(current), data: effect.data };
}

function resolved(
  commit: Commit,
  change: Change,
  current: EntityVersion | undefined,
  decided: Extract<Outcome, { kind: 'resolved' }>,
  policy: Policy,
): ChangeResult {
  const { conflict } = decided;
  const decision = usable(decided, conflict, policy);
  if (decision.kind === 'open') return open(commit, change, { ...decision, conflict });
  const { resolution, written } = decision;
  const { winner, resolvedData: data } = resolution;
  const conflictId = recordConflict(commit, change, conflict, resolution, 'resolved');
  if (winner === 'local') return { id: change.id, status: 'superseded', conflictId };
  const result = overrule(commit, change, current, { data, written, stamp: stampAfter(conflict, winner) });
  return { ...result, status: winner === 'merged' ? 'merged' : 'applied', conflictId };
}

/** The version that is there stays; people, or a resolver that takes its time, will say what becomes of it. */
function open(
  commit: Commit,
  change: Change,
  { conflict, resolution, later }: Omit<Extract<Outcome, { kind: 'open' }>, 'kind'>,
): ChangeResult {
  const conflictId = recordConflict(commit, change, conflict, resolution, 'open');
  if (later !== undefined) commit.awaitResolution(conflictId, later);
  return { id: change.id, status: 'superseded', conflictId };
}

/** Both records stay, the incoming one under another id; its node hears of it, and moves what follows. */
function rename(commit: Commit, change: Change, conflict: Conflict): ChangeResult {
  const { id, entityType, nodeId, data = null, stamp } = change;
  const entityId = freeId(commit, change);
  const resolution: Resolution = {
    winner: 'local',
    resolvedData: conflict.local.data,
    metadata: { strategy: 'rename', reason: `the record of ${nodeId} is ${entityId} now`, entityId },
  };
  const conflictId = recordConflict(commit, change, conflict, resolution, 'resolved');
  const { seq } = commit.put({ ...change, entityId }, undefined, { data, written: 'whole', stamp }, id);
  const { counter } = dotOf(change);
  const renamed = { entityType, entityId: change.entityId, counter, seq, to: entityId };
  commit.keepNode(withRename(commit.node(nodeId as NodeId), renamed));
  return { id, status: 'renamed', entityId, seq, conflictId };
}

/** `<id>~<node>`, and with the change's counter behind it where that is taken. */
function freeId(commit: Commit, { id, entityType, entityId, nodeId }: Change): EntityId {
  for (const suffix of [`~${nodeId}`, `~${id}`]) {
    const candidate = toEntityId(`${entityId.slice(0, MAX_NAME_CHARS - suffix.length)}${suffix}`);
    if (candidate === undefined) break;
    if (commit.entity(entityKey({ entityType, entityId: candidate })) === undefined) return candidate;
  }
  throw new Error(`invariant broken: no free id for ${id}`);
}

/** The version is the cloud's own: it stands for more than its change had seen. */
function overrule(commit: Commit, change: Change, current: EntityVersion | undefined, effect: Effect): ChangeResult {
  const { seq, version } = commit.put(change, current, effect, commit.cloudDot());
  const strong = change.consistency === 'strong' ? { created: !isLive(current), data: effect.data } : {};
  return { id: change.id, status: 'applied', seq, version, ...strong };
}

function isLive(version: EntityVersion | undefined): boolean {
  return version !== undefined && version.data !== null;
}

function asRenamed(result: ChangeResult): ChangeResult {
  return result.status === 'applied' || result.status === 'merged' ? { ...result, status: 'renamed' } : result;
}
