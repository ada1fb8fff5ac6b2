import type * as z from 'zod';
import type { CausalContext } from '../core/causal-context.ts';
import type { Stamp } from '../core/hlc.ts';
import type { EntityKey, NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { fromResult, type Result, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, connectAnswer, handshakeAnswer } from '../protocol/messages.ts';
import { parseAnswer } from '../protocol/parse.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { Caller } from '../sync/caller.ts';
import type { Clock, Metered, Upstream } from '../sync/ports.ts';
import type { Carrier } from '../sync/relay.ts';
import type { SessionGrant } from '../sync/sessions.ts';
import { within } from '../sync/within.ts';

/** Who calls over RPC: an edge node of the same deployment, which can be poked in turn. */
export interface RpcCaller extends Caller {
  readonly nodeId: NodeId;
  readonly isEdge: true;
}

/** The sync protocol as methods of a Durable Object. Messages are JSON texts: what HTTP carries, without HTTP. */
export interface SyncRpc {
  syncConnect(request: string, caller: Caller): Promise<Result<string>>;
  syncHandshake(sessionId: string, request: string, caller: Caller): Promise<Result<string>>;
  syncExchange(sessionId: string, batch: string, caller: Caller | RpcCaller): Promise<Result<string>>;
  syncDisconnect(sessionId: string, caller: Caller): Promise<Result<string>>;
}

/** What a node can ask of the cloud of its deployment beside the sync protocol. */
export interface SpaceRpc extends SyncRpc {
  /** Moves a session to a node. */
  moveSession(name: string, to: NodeId): Promise<Result<SessionGrant>>;
  holders(at: HistoryPlace, wanted: number, waitMs: number, self?: NodeId | undefined): Promise<number>;
  versions(key: EntityKey, wanted: number, waitMs: number, self?: NodeId | undefined): Promise<(Seen | null)[]>;
}

/** A place in a history. */
export interface HistoryPlace {
  readonly epoch: string | null;
  readonly cursor: number;
}

/** One replica's state of one record. */
export interface Seen {
  /** Null: it is deleted. */
  readonly data: JsonObject | null;
  readonly version: string;
  readonly stamp: Stamp;
  /** The place in the cloud's history of the state that it is, or was made on; 0: none. */
  readonly seq: number;
  /** Whether the cloud has it. */
  readonly synced: boolean;
  /** What has been seen by who has seen that. */
  readonly context: CausalContext;
}

/** An edge node, as the cloud of its deployment sees it. */
export interface NodeRpc extends PokeTarget {
  /** The session goes on elsewhere. Answers what it has seen here; null: the node is cut off. */
  leaveSession(name: string, turn: number): Promise<CausalContext | null>;
  /** Whether the node holds the history up to there, or gets it now. */
  reach(at: HistoryPlace): Promise<boolean>;
  peek(key: EntityKey): Promise<{ readonly seen: Seen | null } | null>;
}

/** An edge node, as the cloud sees it. */
export interface PokeTarget {
  /** The cloud has changes up to `head`; `source`: the node below that has brought them, and so knows. */
  poke(head: number, source?: NodeId | undefined): Promise<void>;
}

/**
 * The way to an object of the same deployment. What the object throws by a bug goes on as it is.
 *
 * @param getStub makes a new stub for each call: one that has thrown stays broken.
 */
export function rpcCarrier(getStub: () => SyncRpc, clock: Clock): Carrier {
  return {
    connect: async (request, caller) => await call(clock, getStub().syncConnect(request, caller)),
    handshake: async (sessionId, request, caller) =>
      await call(clock, getStub().syncHandshake(sessionId, request, caller)),
    exchange: async (sessionId, batch, caller) => await call(clock, getStub().syncExchange(sessionId, batch, caller)),
    disconnect: async (sessionId, caller) => await call(clock, getStub().syncDisconnect(sessionId, caller)),
  };
}

/** The cloud in the same deployment, for an edge node of it. */
export function rpcUpstream(getStub: () => SyncRpc, nodeId: NodeId, clock: Clock): Upstream {
  const carrier = rpcCarrier(getStub, clock);
  const caller: RpcCaller = { nodeId, relay: false, isEdge: true };
  return {
    connect: async (request) => {
      const text = JSON.stringify(request);
      return metered(text, await carrier.connect(text, caller), connectAnswer);
    },
    handshake: async (sessionId, request) => {
      const text = JSON.stringify(request);
      return metered(text, await carrier.handshake(sessionId, text, caller), handshakeAnswer);
    },
    exchange: async (sessionId, batch) => {
      const text = JSON.stringify(batch);
      return metered(text, await carrier.exchange(sessionId, text, caller), batchAnswer);
    },
  };
}

function metered<T>(request: string, answer: string, schema: z.core.$ZodType<T>): Metered<T> {
  const value = parseAnswer(schema, JSON.parse(answer));
  const [bytesUp, bytesDown] = [utf8Bytes(request), utf8Bytes(answer)];
  return { value, bytesUp, bytesDown, plainBytesUp: bytesUp, plainBytesDown: bytesDown };
}

async function call(clock: Clock, result: Promise<Result<string>>): Promise<string> {
  let answer: Result<string> | undefined;
  try {
    answer = await within(clock, LIMITS.exchangeTimeoutMs, result);
  } catch (error) {
    throw fromRuntime(error);
  }
  if (answer === undefined) {
    throw new SyncError('cloud_unavailable', `no answer within ${LIMITS.exchangeTimeoutMs} ms`);
  }
  return fromResult(answer);
}

/** An object that is away, was reset or is swamped says so by a mark; what has none is a bug there, and goes on. */
function fromRuntime(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  if ('overloaded' in error && error.overloaded === true) return new SyncError('overloaded', error.message);
  const isReset = 'durableObjectReset' in error && error.durableObjectReset === true;
  const isAway = isReset || ('retryable' in error && error.retryable === true);
  return isAway ? new SyncError('cloud_unavailable', error.message) : error;
}
