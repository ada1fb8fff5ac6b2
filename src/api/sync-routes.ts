import { type Context, Hono } from 'hono';
import type { NodeId } from '../core/ids.ts';
import { encodeText, parseJson } from '../protocol/codec.ts';
import { fromResult, type Result, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { connectRequest } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Caller } from '../sync/caller.ts';
import type { SyncRpc } from '../transport/rpc.ts';
import { readText } from './body.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRole } from './grant.ts';
import { nodeOf } from './request-headers.ts';

type C = Context<ApiEnv>;

/** `/v1/sync`: the sync protocol at the cloud. `http.md`, section 5. */
export const syncRoutes = new Hono<ApiEnv>()
  .use(cloudHere)
  .post('/', (c) => exchange(c, cloud(c)))
  .post('/connect', (c) => connect(c, cloud(c)))
  .post('/handshake', (c) => handshake(c, cloud(c)))
  .post('/exchange', (c) => exchange(c, cloud(c)))
  .post('/disconnect', (c) => disconnect(c, cloud(c)));

/** `/v1/edge/{node}/sync`: the same, served by an edge node to the nodes below it. */
export const relayRoutes = new Hono<ApiEnv>()
  .post('/:node/sync/connect', (c) => connect(c, edge(c)))
  .post('/:node/sync/handshake', (c) => handshake(c, edge(c)))
  .post('/:node/sync/exchange', (c) => exchange(c, edge(c)))
  .post('/:node/sync/disconnect', (c) => disconnect(c, edge(c)));

async function connect(c: C, tier: SyncRpc): Promise<Response> {
  const caller = callerOf(c);
  const text = await readText(c);
  const { nodeId } = parseWith(connectRequest, parseJson(text));
  requireNode(c.var.grant, nodeId);
  return await jsonText(c, await tier.syncConnect(text, { ...caller, nodeId }));
}

async function handshake(c: C, tier: SyncRpc): Promise<Response> {
  const caller = callerOf(c);
  return await jsonText(c, await tier.syncHandshake(sessionOf(c), await readText(c), caller));
}

async function exchange(c: C, tier: SyncRpc): Promise<Response> {
  const caller = callerOf(c);
  return await jsonText(c, await tier.syncExchange(sessionOf(c), await readText(c), caller));
}

async function disconnect(c: C, tier: SyncRpc): Promise<Response> {
  return await jsonText(c, await tier.syncDisconnect(sessionOf(c), callerOf(c)));
}

function cloud(c: C): SyncRpc {
  return c.env.CLOUD.getByName(c.var.grant.space);
}

/** Any node of the space may be a relay for any other: the token says as whom, not by way of whom. */
function edge(c: C): SyncRpc {
  return c.env.EDGE.getByName(`${c.var.grant.space}/${nodeOf(c, c.req.param('node') ?? '')}`);
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

/** Compressed, where that pays and the caller takes it. */
async function jsonText(c: C, result: Result<string>): Promise<Response> {
  const text = fromResult(result);
  const headers = new Headers({ 'Content-Type': 'application/json', 'Cache-Control': 'no-store' });
  if (!/\bgzip\b/.test(c.req.header('Accept-Encoding') ?? '')) return new Response(text, { headers });
  const { bytes, encoding } = await encodeText(text, 'gzip');
  if (encoding === 'identity') return new Response(text, { headers });
  headers.set('Content-Encoding', encoding);
  return new Response(bytes, { headers, encodeBody: 'manual' });
}
