import type { NodeId } from '../core/ids.ts';
import { fromResult, type Result, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, connectAnswer, handshakeAnswer } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { Metered, Upstream } from '../sync/ports.ts';

/** Who calls over RPC: an edge node of the same deployment, which can be poked in turn. */
export interface RpcCaller {
  readonly nodeId: NodeId;
  readonly relay: boolean;
  readonly isEdge: true;
}

/** The sync protocol as methods of a Durable Object. Messages are JSON texts: what HTTP carries, without HTTP. */
export interface SyncRpc {
  syncConnect(request: string): Promise<Result<string>>;
  syncHandshake(sessionId: string, request: string, caller: RpcCaller): Promise<Result<string>>;
  syncExchange(sessionId: string, batch: string, caller: RpcCaller): Promise<Result<string>>;
}

/** An edge node, as the cloud sees it. */
export interface PokeTarget {
  /** The cloud has changes up to `head`. */
  poke(head: number): Promise<void>;
}

/**
 * The cloud in the same deployment.
 *
 * @param getStub makes a new stub for each call: one that has thrown stays broken.
 */
export function rpcUpstream(getStub: () => SyncRpc, nodeId: NodeId): Upstream {
  const caller: RpcCaller = { nodeId, relay: false, isEdge: true };
  return {
    connect: async (request) => {
      const text = JSON.stringify(request);
      return metered(text, await call(getStub().syncConnect(text)), (json) => parseWith(connectAnswer, json));
    },
    handshake: async (sessionId, request) => {
      const text = JSON.stringify(request);
      const answer = await call(getStub().syncHandshake(sessionId, text, caller));
      return metered(text, answer, (json) => parseWith(handshakeAnswer, json));
    },
    exchange: async (sessionId, batch) => {
      const text = JSON.stringify(batch);
      const answer = await call(getStub().syncExchange(sessionId, text, caller));
      return metered(text, answer, (json) => parseWith(batchAnswer, json));
    },
  };
}

function metered<T>(request: string, answer: string, parse: (json: unknown) => T): Metered<T> {
  return { value: parse(JSON.parse(answer)), bytesUp: utf8Bytes(request), bytesDown: utf8Bytes(answer) };
}

async function call(result: Promise<Result<string>>): Promise<string> {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const timeout = new Promise<never>((_, reject) => {
    const error = new SyncError('cloud_unavailable', `no answer within ${LIMITS.exchangeTimeoutMs} ms`);
    timer = setTimeout(() => reject(error), LIMITS.exchangeTimeoutMs);
  });
  try {
    return fromResult(await Promise.race([result, timeout]));
  } catch (error) {
    throw error instanceof SyncError ? error : fromRuntime(error);
  } finally {
    clearTimeout(timer);
  }
}

/** What the runtime throws when an object is away, reset or swamped. */
function fromRuntime(error: unknown): SyncError {
  const isOverloaded =
    typeof error === 'object' && error !== null && 'overloaded' in error && error.overloaded === true;
  const detail = error instanceof Error ? error.message : 'the cloud object did not answer';
  return new SyncError(isOverloaded ? 'overloaded' : 'cloud_unavailable', detail);
}
