import type { Context } from 'hono';
import { checksum } from '../core/canonical.ts';
import type { CausalContext } from '../core/causal-context.ts';
import type { Priority } from '../core/change.ts';
import { type ConsistencyLevel, type ReadDemand, toConsistencyLevel } from '../core/consistency.ts';
import { type EntityId, type EntityType, type NodeId, toEntityId, toEntityType, toNodeId } from '../core/ids.ts';
import { type Policy, policyFor } from '../core/policy.ts';
import type { Precondition } from '../core/precondition.ts';
import { policies } from '../policies.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { priority } from '../protocol/messages.ts';
import { EFFECTIVE_TYPES, type NetworkReport } from '../sync/plan.ts';
import type { SessionDemand } from '../sync/sessions.ts';
import type { Once } from '../sync/write.ts';
import { verifyToken } from './causal-token.ts';
import type { ApiEnv } from './env.ts';

/** What a request's path and headers say, checked. Each throws a `SyncError` with its own code. `http.md`, section 2. */

export function entityTypeOf(text: string): EntityType {
  const type = toEntityType(text);
  if (type === undefined)
    throw new SyncError('bad_name', 'an entity type is a letter or digit, then up to 127 of A-Za-z0-9._~:@-');
  return type;
}

export function entityOf(type: string, id: string): { entityType: EntityType; entityId: EntityId } {
  const entityId = toEntityId(id);
  const entityType = entityTypeOf(type);
  if (entityId === undefined)
    throw new SyncError('bad_name', 'an entity id is a letter or digit, then up to 127 of A-Za-z0-9._~:@-');
  return { entityType, entityId };
}

/** The node that a path names; `nearest` is the node of the location that took the request. */
export function nodeOf(c: Context<ApiEnv>, text: string): NodeId {
  const nodeId = toNodeId(text === 'nearest' ? locationOf(c.req.raw) : text);
  if (nodeId === undefined)
    throw new SyncError('bad_name', 'a node id is a letter or digit, then up to 63 of A-Za-z0-9._-, and not `cloud`');
  return nodeId;
}

export function levelOf(c: Context<ApiEnv>, policy: Policy): ConsistencyLevel {
  const text = c.req.header('X-Consistency');
  if (text === undefined) return policy.consistency;
  const level = toConsistencyLevel(text);
  if (level === undefined) {
    throw new SyncError('bad_consistency', 'X-Consistency is strong, eventual, causal or session');
  }
  return level;
}

export async function readDemandOf(c: Context<ApiEnv>, entityType: EntityType): Promise<ReadDemand> {
  const policy = policyFor(policies, entityType);
  return {
    level: levelOf(c, policy),
    maxStalenessMs: maxStalenessOf(c) ?? policy.maxStalenessMs,
    after: await afterOf(c),
    waitMs: waitMsOf(c),
  };
}

/** What the caller has seen: the token that it was last given. */
export async function afterOf(c: Context<ApiEnv>): Promise<CausalContext> {
  const token = c.req.header('X-Causal-Token');
  if (token === undefined) return {};
  return await verifyToken(token, c.var.grant.space, c.env.CAUSEWAY_SECRET ?? '');
}

export function waitMsOf(c: Context<ApiEnv>): number {
  return wholeNumber('X-Wait-Ms', c.req.header('X-Wait-Ms'), 0, LIMITS.maxWaitMs) ?? LIMITS.waitMs;
}

function maxStalenessOf(c: Context<ApiEnv>): number | undefined {
  const name = 'X-Max-Staleness-Ms';
  return wholeNumber(name, c.req.header(name), 0, Number.MAX_SAFE_INTEGER);
}

export function preconditionOf(c: Context<ApiEnv>): Precondition {
  return { ifMatch: entityTag(c, 'If-Match'), ifNoneMatch: entityTag(c, 'If-None-Match') };
}

export function priorityOf(c: Context<ApiEnv>): Priority | undefined {
  const text = c.req.header('X-Priority');
  if (text === undefined) return undefined;
  const parsed = priority.safeParse(text);
  if (!parsed.success) throw new SyncError('bad_request', 'X-Priority is critical, high or normal');
  return parsed.data;
}

/** A part of the query that may stand there once. */
export function queryOf(c: Context<ApiEnv>, name: string): string | undefined {
  const [text, ...more] = c.req.queries(name) ?? [];
  if (more.length > 0) throw new SyncError('bad_request', `${name} stands there more than once`);
  return text;
}

/** Behind which entity a list goes on: what the page before gave as `next`. */
export function listAfterOf(c: Context<ApiEnv>): EntityId | '' {
  const text = queryOf(c, 'after') ?? '';
  const id = text === '' ? '' : toEntityId(text);
  if (id === undefined) throw new SyncError('bad_request', 'after is what a former answer gave as next');
  return id;
}

export function limitOf(c: Context<ApiEnv>): number {
  return wholeNumber('limit', queryOf(c, 'limit'), 1, LIMITS.listItems) ?? LIMITS.listItemsDefault;
}

/**
 * What a browser says by itself of its link (client hints); undefined: nothing that can be read. A hint is no more than
 * that: one that makes no sense is left out, and refuses nothing.
 */
export function hintsOf(c: Context<ApiEnv>): NetworkReport | undefined {
  const said = (name: string, shape: RegExp) => shape.exec(c.req.header(name)?.trim() ?? '')?.[0].toLowerCase();
  const effectiveType = EFFECTIVE_TYPES.find((type) => type === said('ECT', /^[\w-]+$/));
  const rttMs = said('RTT', /^\d{1,7}$/);
  const downlinkMbps = said('Downlink', /^\d{1,7}(\.\d{0,7})?$/);
  const hints = {
    ...(effectiveType === undefined ? {} : { effectiveType }),
    ...(rttMs === undefined ? {} : { rttMs: Number(rttMs) }),
    ...(downlinkMbps === undefined ? {} : { downlinkMbps: Number(downlinkMbps) }),
    ...(said('Save-Data', /^on$/i) === undefined ? {} : { saveData: true }),
  };
  return Object.keys(hints).length === 0 ? undefined : hints;
}

/** How many replicas have to hold a write, or answer a read; undefined: it isn't said. */
export function quorumOf(c: Context<ApiEnv>, name: 'X-Write-Quorum' | 'X-Read-Quorum'): number | undefined {
  return wholeNumber(name, c.req.header(name), 1, LIMITS.quorum);
}

/** The caller's session, by a name that is its own; an eventual request doesn't need it. */
export function sessionOf(c: Context<ApiEnv>, level: ConsistencyLevel): SessionDemand | undefined {
  const name = ownName(c, 'X-Session-Id', LIMITS.sessionNameChars);
  return name === undefined ? undefined : { name, isNeeded: level !== 'eventual' };
}

/** By what a write is known again. @param asked all that tells it from another one, beside where it is to happen. */
export function onceOf(c: Context<ApiEnv>, at: 'cloud' | 'edge', asked: unknown): Once | undefined {
  const key = ownName(c, 'Idempotency-Key', LIMITS.idempotencyKeyChars);
  return key === undefined ? undefined : { key, hash: checksum([at, asked]) };
}

/** What a caller calls something of its own, as nobody else can: of texts as long as one likes a short one. */
function ownName(c: Context<ApiEnv>, header: string, maxChars: number): string | undefined {
  const text = c.req.header(header);
  if (text === undefined) return undefined;
  if (text.length > maxChars || !/^[\x21-\x7e]+$/.test(text)) {
    throw new SyncError('bad_request', `${header} is up to ${maxChars} visible characters of ASCII`);
  }
  const { role, sub = null, node = null } = c.var.grant;
  return checksum([role, sub, node, text]);
}

/**
 * The version of an entity tag, with or without its quotes, or `*`. One that can't be read is refused, and never taken for
 * none: a write would become unconditional. (A header that is empty doesn't get here: the runtime leaves it out.)
 */
function entityTag(c: Context<ApiEnv>, name: 'If-Match' | 'If-None-Match'): string | undefined {
  const text = c.req.header(name);
  if (text === undefined) return undefined;
  const [, quoted, bare] = /^(?:(?:W\/)?"([^"]+)"|([^\s",]+))$/.exec(text.trim()) ?? [];
  const version = quoted ?? bare;
  if (version === undefined) throw new SyncError('bad_request', `${name} is one version, or *`);
  return version;
}

/** Of digits alone: what else JavaScript takes for a number (`0x10`, `1e3`) somebody else may read as another one. */
function wholeNumber(name: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new SyncError('bad_request', `${name} is a number from ${min} to ${max}`);
}

/** The Cloudflare location, in small letters; `local` where there is none. */
function locationOf(request: Request): string {
  const { hostname } = new URL(request.url);
  if (hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]') return 'local';
  const colo: unknown = request.cf?.['colo'];
  return typeof colo === 'string' && /^[A-Za-z]{3}$/.test(colo) ? colo.toLowerCase() : 'local';
}
