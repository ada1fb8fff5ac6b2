import { type Context, Hono } from 'hono';
import { SyncError } from '../protocol/errors.ts';
import { EXPOSITION_TYPE } from '../protocol/exposition.ts';
import type { RegisteredNode } from '../sync/node-registry.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { adminOnly } from './grant.ts';
import { limitOf, queryOf } from './request-headers.ts';

type C = Context<ApiEnv>;

/** `/v1/nodes` and `/v1/metrics`: how the nodes of a space are, and the space. `http.md`, section 4. */
export const registryRoutes = new Hono<ApiEnv>()
  .use('/nodes', cloudHere, adminOnly)
  .use('/metrics', cloudHere, adminOnly)

  .get('/nodes', async (c) => {
    const limit = limitOf(c);
    const after = queryOf(c, 'after') ?? '';
    const { items, next } = await cloud(c).nodes(after, limit, c.var.grant.node);
    return c.json({ items: items.map(nodeBody), next });
  })

  .get('/metrics', async (c) => {
    if (c.var.grant.node !== undefined) throw new SyncError('forbidden', 'metrics are of all nodes of a space');
    return c.body(await cloud(c).metrics(), 200, { 'Content-Type': EXPOSITION_TYPE });
  });

function nodeBody({ lastSeenAtMs, ...node }: RegisteredNode) {
  return { ...node, lastSeenAt: lastSeenAtMs };
}

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}
