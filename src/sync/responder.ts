import { digestOf, digestTotal } from '../core/digest.ts';
import { lastOf } from '../core/dot-set.ts';
import { CLOUD, type NodeId } from '../core/ids.ts';
import { describePolicies, type Policies } from '../core/policy.ts';
import { admits, narrowed } from '../core/type-filter.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import { batchChecksum } from '../protocol/batch-checksum.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import {
  type BatchAnswer,
  type ConnectAnswer,
  type ConnectRequest,
  type HandshakeAnswer,
  type HandshakeRequest,
  type IncomingBatch,
  isFinal,
} from '../protocol/messages.ts';
import { CAPABILITIES, PROTOCOL_VERSION, SUPPORTED_PROTOCOLS } from '../protocol/version.ts';
import type { Caller } from './caller.ts';
import type { Commit } from './commit.ts';
import { lacking } from './coverage.ts';
import { isEcho, readFeed, toRemoteChange } from './feed.ts';
import { type Sequenced, takeBatch } from './judge.ts';
import { freshNode, withAnswer, withExchange, withoutSession, withSession, withVoid } from './node-record.ts';
import type { Clock, CloudStore, Entropy, NodeRecord, NodeSession } from './ports.ts';
import type { Sequencer } from './sequencer.ts';
import { nodeOfSession, sessionIdOf } from './session-id.ts';

export interface ResponderOptions {
  readonly store: CloudStore;
  readonly sequencer: Sequencer;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly entropy: Entropy;
}

/** Serves the sync protocol to the nodes below. `http.md`, section 5. */
export class Responder {
  readonly #store: CloudStore;
  readonly #sequencer: Sequencer;
  readonly #policies: Policies;
  readonly #clock: Clock;
  readonly #entropy: Entropy;
  /** The last answer to each node that changed nothing: it is given again too, but not at the price of a row. */
  readonly #readOnlyAnswers = new Map<NodeId, NodeRecord['answers'][number]>();

  constructor(options: ResponderOptions) {
    this.#store = options.store;
    this.#sequencer = options.sequencer;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.#entropy = options.entropy;
  }

  /** @throws SyncError `protocol_unsupported` */
  connect(request: ConnectRequest): ConnectAnswer {
    if (!SUPPORTED_PROTOCOLS.includes(request.protocol)) {
      throw new SyncError('protocol_unsupported', `protocol ${request.protocol} is not spoken here`, {
        supported: SUPPORTED_PROTOCOLS,
      });
    }
    const nowMs = this.#clock.nowMs();
    const capabilities = CAPABILITIES.filter((capability) => request.capabilities?.includes(capability));
    const session = {
      id: sessionIdOf(request.nodeId, this.#entropy.id()),
      expiresAtMs: nowMs + LIMITS.sessionMs,
      capabilities,
      filter: request.filter?.entityTypes,
      life: request.life,
    };
    this.#sequencer.commit((commit) =>
      commit.keepNode(withSession(this.#seen(commit, request.nodeId), session, nowMs)),
    );
    return {
      sessionId: session.id,
      protocol: PROTOCOL_VERSION,
      capabilities,
      expiresAt: session.expiresAtMs,
      limits: { maxBatchChanges: LIMITS.batchChanges, maxBatchBytes: LIMITS.batchBytes },
    };
  }

  /** @throws SyncError `session_expired`, `session_mismatch` */
  handshake(sessionId: string, request: HandshakeRequest, caller: Caller): HandshakeAnswer {
    const { node } = this.#session(sessionId, caller);
    const { epoch, seq } = this.#sequencer.meta;
    // Another history, or a part of this one that was lost: what the node holds can't be continued.
    const isPrefix = request.cursor > 0 && request.cursor <= seq && (request.epoch ?? epoch) === epoch;
    return {
      mode: isPrefix ? 'incremental' : 'snapshot',
      vectorClock: clockFor(node, seq),
      cursor: isPrefix ? request.cursor : 0,
      epoch,
      received: { upTo: node.received.upTo, extra: node.received.extra.map(([from, to]) => [from, to]) },
      serverTime: this.#clock.nowMs(),
      policies: describePolicies(this.#policies),
    };
  }

  /**
   * One exchange: takes the batch, and answers each change and the first page of what the node hasn't got.
   *
   * @throws SyncError `session_expired`, `session_mismatch`, `bad_request` (its checksum), `batch_reused`, `forbidden`, `node_forked`. Nothing has
   *   happened then.
   */
  exchange(sessionId: string, batch: IncomingBatch, caller: Caller): BatchAnswer {
    const { node, session } = this.#session(sessionId, caller);
    if (batch.sourceNodeId !== node.nodeId) {
      throw new SyncError('session_mismatch', `the session is of ${node.nodeId}, the batch of ${batch.sourceNodeId}`);
    }
    const hash = batchChecksum(batch);
    if (batch.checksum !== undefined && batch.checksum !== hash) {
      throw new SyncError('bad_request', 'the checksum is not that of the batch');
    }
    const repeated = this.#answered(node, batch.batchId, hash);
    if (repeated !== undefined) return repeated;
    if (batch.cursor > this.#sequencer.meta.seq) {
      throw new SyncError('session_expired', `the cursor ${batch.cursor} is not of this history`);
    }
    if (lastOf(node.received) > (batch.newest ?? Number.POSITIVE_INFINITY)) {
      throw new SyncError('session_expired', `${node.nodeId} has gone back behind what it had sent; connect again`);
    }
    const exchange = (needsFull: boolean) =>
      this.#sequencer.commit((commit) => this.#exchange(commit, session, batch, { ...caller, needsFull }, hash));
    try {
      return exchange(false);
    } catch (error) {
      if (error !== OTHER_RECORDS) throw error;
      return exchange(true);
    }
  }

  disconnect(sessionId: string, caller: Caller): void {
    const { node } = this.#session(sessionId, caller);
    this.#sequencer.commit((commit) => commit.keepNode(withoutSession(commit.node(node.nodeId), sessionId)));
  }

  #exchange(
    commit: Commit,
    session: NodeSession,
    batch: IncomingBatch,
    caller: Caller & { needsFull: boolean },
    hash: string,
  ): BatchAnswer {
    const { results, applied, made } =
      batch.behind !== undefined
        ? leave(batch)
        : takeBatch(commit, batch.changes, {
            ...caller,
            nodeId: batch.sourceNodeId,
            cursor: batch.cursor,
            canResolve: session.capabilities.includes('conflict-resolution'),
            isOrdered: session.capabilities.includes('causal-order'),
          });
    // A void counter may stand for what went into a change of this batch: it is there when that is.
    const voids = results.every(isFinal) ? (batch.void ?? []) : [];
    for (const interval of voids) commit.keepNode(withVoid(commit.node(batch.sourceNodeId), interval));

    if (batch.digest !== undefined && made !== undefined && made.length > 0) {
      if (batch.digest !== digestTotal(digestOf(made))) throw OTHER_RECORDS;
    }
    const takesDeltas = session.capabilities.includes('delta-sync');
    const types = narrowed<string>(session.filter, caller.readTypes);
    const snapshotHead = batch.cursor === 0 ? commit.head : (batch.snapshotHead ?? 0);
    const page = readFeed(this.#store, commit.head, batch.cursor, batch.limit, (entity) => {
      const isOldTombstone = entity.data === null && entity.seq <= snapshotHead;
      return isOldTombstone || !admits(types, entity.entityType) || isEcho(applied)(entity);
    });
    const node = this.#seen(commit, batch.sourceNodeId);
    const answer: BatchAnswer = {
      batchId: batch.batchId,
      results,
      changes: page.entities.map((entity) => toRemoteChange(entity, takesDeltas ? batch.since : undefined)),
      cursor: page.cursor,
      more: page.more,
      vectorClock: clockFor(node, commit.head),
      serverTime: this.#clock.nowMs(),
      ...(types === undefined ? {} : { types: [...types] }),
      ...(page.more ? {} : { digest: digestTotal(commit.digest, types) }),
      ...(batch.requires === undefined
        ? {}
        : coverage(lacking(batch.requires, commit.head, (nodeId) => commit.node(nodeId)))),
    };

    const isReadOnly = batch.changes.length === 0 && batch.void === undefined;
    const noted = withExchange(node, batch, page.cursor);
    if (!isReadOnly) {
      commit.keepNode(withAnswer(noted, batch.batchId, hash, answer));
    } else {
      this.#rememberReadOnly(node.nodeId, { batchId: batch.batchId, hash, answer });
      if (isWorthARow(noted, commit.node(node.nodeId))) commit.keepNode(noted);
    }
    return answer;
  }

  #seen(commit: Commit, nodeId: NodeId): NodeRecord {
    return { ...commit.node(nodeId), lastSeenAtMs: this.#clock.nowMs() };
  }

  /** A session and the node whose it is, checked against who calls. */
  #session(sessionId: string, caller: Caller): { node: NodeRecord; session: NodeSession } {
    const nodeId = nodeOfSession(sessionId);
    const node = nodeId === undefined ? undefined : (this.#store.readNode(nodeId) ?? freshNode(nodeId));
    const session = node?.sessions.find(({ id }) => id === sessionId);
    if (node === undefined || session === undefined || session.expiresAtMs <= this.#clock.nowMs()) {
      throw new SyncError('session_expired', 'there is no such session, or no longer; connect again');
    }
    if (caller.nodeId !== undefined && node.nodeId !== caller.nodeId) {
      throw new SyncError('session_mismatch', `the session is of another node than ${caller.nodeId}`);
    }
    return { node, session };
  }

  #answered(node: NodeRecord, batchId: string, hash: string): BatchAnswer | undefined {
    const readOnly = this.#readOnlyAnswers.get(node.nodeId);
    const kept = [...(readOnly === undefined ? [] : [readOnly]), ...node.answers].find(
      (one) => one.batchId === batchId,
    );
    if (kept === undefined) return undefined;
    if (kept.hash !== hash) throw new SyncError('batch_reused', `batch ${batchId} was another one`);
    return kept.answer;
  }

  #rememberReadOnly(nodeId: NodeId, answer: NodeRecord['answers'][number]): void {
    this.#readOnlyAnswers.delete(nodeId);
    this.#readOnlyAnswers.set(nodeId, answer);
    const [oldest] = this.#readOnlyAnswers.keys();
    if (this.#readOnlyAnswers.size > LIMITS.readOnlyAnswers && oldest !== undefined)
      this.#readOnlyAnswers.delete(oldest);
  }
}

/** What goes before it has not come: its node begins again with that. */
function leave({ changes }: IncomingBatch): Sequenced {
  return { results: changes.map(({ id }) => ({ id, status: 'deferred' })), applied: new Map(), made: undefined };
}

/** Takes back a transaction in which the deltas of a batch made other records than their writer had. */
const OTHER_RECORDS = new Error('the deltas make other records here');

function coverage(lacks: VectorClock): Pick<BatchAnswer, 'covered' | 'lacks'> {
  return Object.keys(lacks).length === 0 ? { covered: true } : { covered: false, lacks };
}

/** A node that only reads costs a row once in a while. */
const SEEN_ROW_MS = 60_000;

function isWorthARow(next: NodeRecord, stored: NodeRecord): boolean {
  // Of what is dead people have to hear; and a node that never comes again had what it got at its first time.
  if (next.report?.dead !== stored.report?.dead || (stored.cursor === 0 && next.cursor > 0)) return true;
  return next.lastSeenAtMs - stored.lastSeenAtMs >= SEEN_ROW_MS;
}

function clockFor(node: NodeRecord, head: number): VectorClock {
  return { [CLOUD]: head, ...(node.received.upTo > 0 ? { [node.nodeId]: node.received.upTo } : {}) };
}
