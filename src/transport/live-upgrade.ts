import * as z from 'zod';
import type { EntityType, NodeId } from '../core/ids.ts';
import { ERRORS, fromResult, type Result, toResult } from '../protocol/errors.ts';
import { entityType, nodeId } from '../protocol/messages.ts';
import { EFFECTIVE_TYPES, type NetworkReport } from '../sync/plan.ts';

/**
 * How a live socket comes from the API, which has checked its token, to the Durable Object that holds it: as a request
 * of its own, since RPC carries no sockets, with nothing of the caller's but what the token allows and what it hints.
 */
export interface LiveGrant {
  readonly node: NodeId;
  /** When the token ends, ms since 1970; null: never. */
  readonly expiresAtMs: number | null;
  /** The entity types that it may read; null: all. */
  readonly readTypes: readonly EntityType[] | null;
  /** What the caller hints of the link. */
  readonly hints?: NetworkReport | undefined;
}

/** @param what the changes and the status of a node, or pokes for a node below. */
export function liveRequest(what: 'feed' | 'pokes', grant: LiveGrant): Request {
  const headers = { Upgrade: 'websocket', [GRANT_HEADER]: JSON.stringify(grant) };
  return new Request(`https://object/${what}`, { headers });
}

export function isForPokes(request: Request): boolean {
  return request.url.endsWith('/pokes');
}

export function liveGrantOf(request: Request): LiveGrant {
  return grant.parse(JSON.parse(request.headers.get(GRANT_HEADER) ?? ''));
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

const hints = z.object({
  effectiveType: z.enum(EFFECTIVE_TYPES),
  saveData: z.boolean(),
  rttMs: z.number(),
  downlinkMbps: z.number(),
});

const grant: z.ZodType<LiveGrant> = z.object({
  node: nodeId,
  expiresAtMs: z.number().nullable(),
  readTypes: z.array(entityType).nullable(),
  hints: hints.partial().optional(),
});
