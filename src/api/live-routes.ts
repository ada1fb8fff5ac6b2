import { type Context, Hono } from 'hono';
import { type NodeId, toEntityType } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { fromLiveAnswer, type LiveGrant, liveRequest } from '../transport/live-upgrade.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRole } from './grant.ts';
import { hintsOf, nodeOf, queryOf } from './request-headers.ts';
import { requireLive } from './upgrade.ts';

type C = Context<ApiEnv>;

/** The live sockets, of an edge node and of the cloud. `http.md`, sections 3 and 5. */
export const liveRoutes = new Hono<ApiEnv>()
  .get('/edge/:node/live', (c) => {
    requireLive(c.req.raw.headers);
    const node = nodeOf(c, c.req.param('node'));
    requireNode(c.var.grant, node);
    return open(edge(c, node), liveRequest('feed', { ...grantFor(c, node), hints: hintsOf(c) }));
  })
  .get('/edge/:node/sync/live', (c) => open(edge(c, nodeOf(c, c.req.param('node'))), pokesRequest(c)))
  .get('/sync/live', cloudHere, (c) => open(c.env.CLOUD.getByName(c.var.grant.space), pokesRequest(c)));

async function open(object: { fetch(request: Request): Promise<Response> }, request: Request): Promise<Response> {
  return await fromLiveAnswer(await object.fetch(request));
}

function edge(c: C, node: NodeId) {
  return c.env.EDGE.getByName(`${c.var.grant.space}/${node}`);
}

function pokesRequest(c: C): Request {
  requireRole(c.var.grant, 'node', 'admin');
  requireLive(c.req.raw.headers);
  return liveRequest('pokes', grantFor(c, listenerOf(c)));
}

/** A node listens as itself, an admin as any node. */
function listenerOf(c: C): NodeId {
  const asked = queryOf(c, 'node') ?? c.var.grant.node;
  if (asked === undefined) throw new SyncError('bad_request', 'say for which node: ?node=');
  const node = nodeOf(c, asked);
  requireNode(c.var.grant, node);
  return node;
}

function grantFor(c: C, node: NodeId): LiveGrant {
  const { expiresAtMs, types } = c.var.grant;
  // What can't be the name of a type is none.
  return { node, expiresAtMs, readTypes: types?.read?.flatMap((type) => toEntityType(type) ?? []) ?? null };
}
