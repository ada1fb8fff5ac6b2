import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { describe, expect, test } from 'vitest';
import { app } from '../../src/api/app.ts';

type Claims = Record<string, unknown>;

const token = (claims: Claims, secret = env.CAUSEWAY_SECRET) => sign(claims as never, secret, 'HS256');

async function call(method: string, path: string, bearer: string | undefined, body?: unknown, headers = {}) {
  const response = await exports.default.fetch(`http://localhost/v1/${path}`, {
    method,
    headers: { ...(bearer === undefined ? {} : { Authorization: `Bearer ${bearer}` }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text.split('\n')[0] ?? '') as Record<string, unknown>);
  return { status: response.status, code: json['code'], json, headers: response.headers };
}

const fresh = () => `s${crypto.randomUUID()}`;
const PATH = 'edge/a/data/note/x';

describe('[I9] a token', () => {
  test('has to be there, whole, signed by the secret, in time, and with its claims', async () => {
    const good = { space: fresh(), role: 'client' };
    const header = btoa('{"alg":"none","typ":"JWT"}').replace(/=+$/, '');
    const payload = btoa(JSON.stringify(good)).replace(/=+$/, '');
    const bad = [
      undefined,
      'garbage',
      `${header}.${payload}.`,
      await token(good, 'another-secret-of-at-least-32-characters'),
      await token({ ...good, exp: 1 }),
      await token({ role: 'client' }),
      await token({ ...good, space: 'a/b' }),
      await token({ ...good, role: 'root' }),
      await token({ ...good, role: 'node' }),
    ];
    for (const bearer of bad)
      expect(await call('GET', PATH, bearer)).toMatchObject({ status: 401, code: 'unauthenticated' });
    expect(await call('GET', PATH, await token(good))).toMatchObject({ status: 404, code: 'not_found' });
  });

  test('lets nobody in where there is no secret', async () => {
    const request = new Request(`http://localhost/v1/${PATH}`, {
      headers: { Authorization: `Bearer ${await token({ space: 's', role: 'admin' })}` },
    });
    const response = await app.fetch(request, { ...env, CAUSEWAY_SECRET: '' } as never);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: 'not_configured' });
  });

  test('is for its role, its node and its types', async () => {
    const space = fresh();
    const client = await token({ space, role: 'client', types: { read: ['note'], write: ['note'] } });
    const node = await token({ space, role: 'node', node: 'a' });
    const connect = (nodeId: string) => ({ nodeId, protocol: 1, capabilities: [] });
    const forbidden = { status: 403, code: 'forbidden' };
    expect(await call('POST', 'sync/connect', client, connect('a'))).toMatchObject(forbidden);
    expect(await call('GET', 'data/note/x', client)).toMatchObject(forbidden);
    expect(await call('GET', 'conflicts', node)).toMatchObject(forbidden);
    expect(await call('PUT', 'edge/a/network', client, { online: false })).toMatchObject(forbidden);
    expect((await call('PUT', 'edge/a/network', client, { effectiveType: '3g' })).status).toBe(200);
    expect(await call('PUT', 'edge/a/data/secret/x', client, {})).toMatchObject(forbidden);
    expect(await call('GET', 'edge/a/data/secret/x', client)).toMatchObject(forbidden);
    expect(await call('PUT', 'edge/b/data/note/x', node, {})).toMatchObject(forbidden);
    expect(await call('POST', 'sync/connect', node, connect('b'))).toMatchObject(forbidden);
    expect((await call('POST', 'sync/connect', node, connect('a'))).status).toBe(200);
  });

  test('opens its own space only, though ids are the same', async () => {
    const [one, other] = [
      await token({ space: fresh(), role: 'admin' }),
      await token({ space: fresh(), role: 'admin' }),
    ];
    const written = await call('PUT', PATH, one, { of: 'one' });
    await call('POST', 'edge/a/sync', one);
    expect((await call('GET', PATH, other)).status).toBe(404);
    expect((await call('GET', 'data/note/x', other)).status).toBe(404);
    const causal = { 'X-Causal-Token': written.headers.get('X-Causal-Token') ?? '' };
    expect((await call('GET', PATH, one, undefined, causal)).status).toBe(200);
    for (const forged of [causal['X-Causal-Token'], 'x', `${causal['X-Causal-Token']}x`, 'a.b.c', 'x'.repeat(9_000)]) {
      expect(await call('GET', PATH, other, undefined, { 'X-Causal-Token': forged })).toMatchObject({
        status: 400,
        code: 'bad_token',
      });
    }
  });
});

describe('the sync protocol over HTTP', () => {
  const change = (counter: number, data: unknown, node = 'a') => ({
    id: `${node}:${counter}`,
    nodeId: node,
    entityType: 'note',
    entityId: `e${counter}`,
    operation: 'create',
    data,
    base: { cloud: 0 },
    stamp: `0000000000ff-0000-${node}`,
    timestamp: 1,
  });
  const batch = (batchId: string, changes: unknown[], more: Claims = {}) => {
    return { batchId, sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0, lastSyncTimestamp: 0, changes, ...more };
  };

  async function session() {
    const space = fresh();
    const node = await token({ space, role: 'node', node: 'a' });
    const { json } = await call('POST', 'sync/connect', node, {
      nodeId: 'a',
      protocol: 1,
      capabilities: ['delta-sync'],
    });
    const headers = { 'X-Session-Id': String(json['sessionId']) };
    const sync = (body: unknown, given: Record<string, string> = headers) => call('POST', 'sync', node, body, given);
    return { space, node, headers, sync };
  }

  test('[I2] [S24] the same batch gets the same answer; a known dot is a duplicate, and never another change', async () => {
    const { sync } = await session();
    const first = await sync(batch('b1', [change(1, { n: 1 })]));
    expect(first.json).toMatchObject({
      batchId: 'b1',
      results: [{ status: 'applied', seq: 1 }],
      cursor: 1,
      more: false,
    });
    expect((await sync(batch('b1', [change(1, { n: 1 })]))).json).toEqual(first.json);
    expect(await sync(batch('b1', [change(2, {})]))).toMatchObject({ status: 409, code: 'batch_reused' });
    const again = await sync(batch('b2', [change(1, { n: 1 })]));
    expect(again.json).toMatchObject({ results: [{ status: 'duplicate' }], changes: [{ entityId: 'e1', seq: 1 }] });
    expect(await sync(batch('b3', [change(1, { n: 2 })]))).toMatchObject({ status: 409, code: 'node_forked' });
  });

  test('[I9] a batch in the name of another node is refused whole, and a session is of one node', async () => {
    const { space, sync, headers } = await session();
    expect(await sync(batch('b1', [change(1, {}), change(1, {}, 'b')]))).toMatchObject({
      status: 403,
      code: 'forbidden',
    });
    expect(await sync(batch('b2', [], { sourceNodeId: 'b' }))).toMatchObject({ status: 409, code: 'session_mismatch' });
    const other = await token({ space, role: 'node', node: 'b' });
    expect(await call('POST', 'sync', other, batch('b3', []), headers)).toMatchObject({ code: 'session_mismatch' });
    expect((await sync(batch('b4', []))).json).toMatchObject({ changes: [], cursor: 0 });
  });

  test('versions, sessions and shapes that are wrong have their codes', async () => {
    const { node, sync, headers } = await session();
    expect(await call('POST', 'sync/connect', node, { nodeId: 'a', protocol: 99 })).toMatchObject({
      status: 426,
      code: 'protocol_unsupported',
      json: { supported: [1] },
    });
    expect(await sync(batch('b', []), { 'X-Session-Id': 'a.nope' })).toMatchObject({
      status: 410,
      code: 'session_expired',
    });
    expect(await sync(batch('b', []), {})).toMatchObject({ status: 400, code: 'bad_request' });
    expect(await sync({ ...batch('b', []), cursor: -1 })).toMatchObject({ status: 400, code: 'bad_request' });
    const hello = { vectorClock: {}, cursor: 0, epoch: null, lastSyncTimestamp: 0, pendingChangesCount: 0 };
    expect((await call('POST', 'sync/handshake', node, hello, headers)).json).toMatchObject({
      mode: 'snapshot',
      cursor: 0,
      received: { upTo: 0, extra: [] },
    });
    expect((await call('POST', 'sync/disconnect', node, {}, headers)).status).toBe(200);
    expect(await sync(batch('b', []))).toMatchObject({ status: 410, code: 'session_expired' });
  });
});
