import { type Context, Hono } from 'hono';
import type { NodeId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { fromLiveAnswer, liveRequest } from '../transport/live-upgrade.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRole } from './grant.ts';
import { nodeOf, queryOf } from './request-headers.ts';
import { requireLive } from './upgrade.ts';

type C = Context<ApiEnv>;

/** The live sockets, of an edge node and of the cloud. `http.md`, sections 3 and 5. */
export const liveRoutes = new Hono<ApiEnv>()
  .get('/edge/:node/live', async (c) => {
    requireLive(c.req.raw.headers);
    const node = nodeOf(c, c.req.param('node'));
    requireNode(c.var.grant, node);
    return await fromLiveAnswer(await c.env.EDGE.getByName(`${c.var.grant.space}/${node}`).fetch(requestOf(c, node)));
  })

  .get('/sync/live', cloudHere, async (c) => {
    requireRole(c.var.grant, 'node', 'admin');
    requireLive(c.req.raw.headers);
    return await fromLiveAnswer(await c.env.CLOUD.getByName(c.var.grant.space).fetch(requestOf(c, listenerOf(c))));
  });

/** A node listens as itself, an admin as any node. */
function listenerOf(c: C): NodeId {
  const asked = queryOf(c, 'node') ?? c.var.grant.node;
  if (asked === undefined) throw new SyncError('bad_request', 'say for which node: ?node=');
  const node = nodeOf(c, asked);
  requireNode(c.var.grant, node);
  return node;
}

function requestOf(c: C, node: NodeId): Request {
  const { expiresAtMs, types } = c.var.grant;
  return liveRequest({ node, expiresAtMs, readTypes: types?.read ?? null });
}
