import { type Context, Hono } from 'hono';
import type { NodeId } from '../core/ids.ts';
import { parseJson } from '../protocol/codec.ts';
import { fromResult, type Result, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { connectRequest } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Caller } from '../sync/responder.ts';
import { readText } from './body.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRole } from './grant.ts';

type C = Context<ApiEnv>;

/** `/v1/sync`: the sync protocol at the cloud. `http.md`, section 5. */
export const syncRoutes = new Hono<ApiEnv>()
  .use(cloudHere)
  .post('/connect', async (c) => {
    requireRole(c.var.grant, 'node', 'admin');
    const text = await readText(c);
    requireNode(c.var.grant, parseWith(connectRequest, parseJson(text)).nodeId);
    return jsonText(await cloud(c).syncConnect(text));
  })
  .post('/handshake', async (c) => jsonText(await cloud(c).syncHandshake(sessionOf(c), await readText(c), callerOf(c))))
  .post('/', async (c) => jsonText(await cloud(c).syncExchange(sessionOf(c), await readText(c), callerOf(c))))
  .post('/exchange', async (c) => jsonText(await cloud(c).syncExchange(sessionOf(c), await readText(c), callerOf(c))))
  .post('/disconnect', async (c) => jsonText(await cloud(c).syncDisconnect(sessionOf(c), callerOf(c))));

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}

function sessionOf(c: C): string {
  const session = c.req.header('X-Session-Id');
  if (session === undefined || session.length > LIMITS.sessionIdChars) {
    throw new SyncError('bad_request', 'send the session in X-Session-Id');
  }
  return session;
}

/** As whom a token speaks: a node as itself, an admin as any node of its space. */
function callerOf(c: C): Caller {
  requireRole(c.var.grant, 'node', 'admin');
  const { role, node, relay, types } = c.var.grant;
  const nodeId: NodeId | undefined = node;
  return { nodeId, relay: relay || role === 'admin', readTypes: types?.read, writeTypes: types?.write };
}

function jsonText(result: Result<string>): Response {
  return new Response(fromResult(result), {
    headers: { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
  });
}
