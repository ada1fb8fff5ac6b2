import * as z from 'zod';
import { type NodeId, toNodeId } from '../core/ids.ts';
import { ERRORS, fromResult, type Result, toResult } from '../protocol/errors.ts';

/**
 * How a live socket comes from the API, which has checked its token, to the Durable Object that holds it: as a request
 * of its own, since RPC carries no sockets, with nothing of the caller's but what the token allows.
 */
export interface LiveGrant {
  readonly node: NodeId;
  /** When the token ends, ms since 1970; null: never. */
  readonly expiresAtMs: number | null;
  /** The entity types that it may read; null: all. */
  readonly readTypes: readonly string[] | null;
}

export function liveRequest(grant: LiveGrant): Request {
  const headers = { Upgrade: 'websocket', [GRANT_HEADER]: encodeURIComponent(JSON.stringify(grant)) };
  return new Request('https://object/live', { headers });
}

export function liveGrantOf(request: Request): LiveGrant {
  return grant.parse(JSON.parse(decodeURIComponent(request.headers.get(GRANT_HEADER) ?? '')));
}

/** The object's answer: the socket, or the failure as data. */
export async function liveAnswer(accept: () => Response): Promise<Response> {
  const result = await toResult(accept);
  return result.ok ? result.value : Response.json(result, { status: ERRORS[result.code].status });
}

/** The other side of {@link liveAnswer}. @throws SyncError */
export async function fromLiveAnswer(response: Response): Promise<Response> {
  if (response.status === SWITCHING_PROTOCOLS) return response;
  const failure: Result<never> = await response.json();
  return fromResult(failure);
}

const SWITCHING_PROTOCOLS = 101;
const GRANT_HEADER = 'Causeway-Grant';

const grant: z.ZodType<LiveGrant> = z.object({
  node: z.custom<NodeId>((value) => typeof value === 'string' && toNodeId(value) !== undefined),
  expiresAtMs: z.number().nullable(),
  readTypes: z.array(z.string()).nullable(),
});
