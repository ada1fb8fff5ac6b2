import { describe, expect, test } from 'vitest';
import { freshSpace } from './space.ts';

const FORBIDDEN = { status: 403, code: 'forbidden' };
const change = (counter: number, entityType: string) => ({
  id: `a:${counter}`,
  nodeId: 'a',
  entityType,
  entityId: 'x',
  operation: 'create',
  data: { of: entityType },
  base: {},
  stamp: '0000000000ff-0000-a',
  timestamp: 1,
});
const batch = (batchId: string, changes: unknown[]) => {
  return { batchId, sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0, changes };
};

type Space = ReturnType<typeof freshSpace>;

/** A session of node `a`, by a token with these claims beside its own. */
async function session({ call }: Space, more: Record<string, unknown> = {}) {
  const claims = { role: 'node', node: 'a', ...more };
  const { json } = await call('POST', 'sync/connect', { claims, body: { nodeId: 'a', protocol: 1 } });
  const headers = { 'X-Session-Id': String(json['sessionId']) };
  return { headers, sync: (body: unknown) => call('POST', 'sync', { claims, headers, body }) };
}

/** A note and a secret, in the cloud, at node `a` and in D1. */
async function twoTypes() {
  const space = freshSpace();
  for (const type of ['note', 'secret']) await space.call('PUT', `data/${type}/x`, { body: { of: type } });
  expect((await space.call('POST', 'edge/a/sync')).json).toMatchObject({ success: true });
  expect(await space.project()).toBe(true);
  return space;
}

describe('[I9] the types that a token may read', () => {
  const claims = { types: { read: ['note'] } };

  test('are all that its node gets from the feed, and nothing tells of the others', async () => {
    const space = await twoTypes();
    const restricted = await session(space, claims);
    const { json } = await restricted.sync(batch('b1', []));
    expect(json).toMatchObject({ changes: [{ entityType: 'note', data: { of: 'note' } }], cursor: 2, more: false });
    const free = await session(space);
    const all = await free.sync(batch('b2', []));
    expect(all.json).toMatchObject({ changes: [{ entityType: 'note' }, { entityType: 'secret' }] });
    // That of all that is there would tell of what is hidden, and could never be right here.
    expect(all.json['digest']).toBeTypeOf('string');
    expect(json['digest']).not.toBe(all.json['digest']);
  });

  test.each(['data/secret/x', 'data/secret', 'edge/a/data/secret/x', 'edge/a/data/secret'])(
    'are all that it is served: not %s',
    async (path) => {
      const { call } = await twoTypes();
      expect((await call('GET', path)).status).toBe(200);
      expect(await call('GET', path, { claims })).toMatchObject(FORBIDDEN);
      const allowed = await call('GET', path.replace('secret', 'note'), { claims });
      expect(allowed.status).toBe(200);
      expect(JSON.stringify(allowed.json)).toContain('"of":"note"');
    },
  );

  test('are all that it can export', async () => {
    const { call } = await twoTypes();
    const { json } = await call('GET', 'export', { claims });
    expect(json).toMatchObject({ entityType: 'note', data: { of: 'note' } });
  });
});

describe('[I9] the types that a token may write', () => {
  const claims = { types: { write: ['note'] } };

  test('are all that it can write at the cloud and at an edge', async () => {
    const { call } = await twoTypes();
    const operations = [{ op: 'set', path: 'of', value: 'stranger' }];
    for (const place of ['data', 'edge/a/data']) {
      const requests: [string, object | undefined][] = [
        ['PUT', { of: 'stranger' }],
        ['PATCH', { operations }],
        ['DELETE', undefined],
      ];
      for (const [method, body] of requests) {
        const answer = await call(method, `${place}/secret/x`, { claims, ...(body && { body }) });
        expect(answer, `${method} ${place}`).toMatchObject(FORBIDDEN);
      }
      expect((await call('GET', `${place}/secret/x`)).json).toMatchObject({ data: { of: 'secret' } });
      expect((await call('PUT', `${place}/note/x`, { claims, body: { of: 'friend' } })).status).toBe(200);
    }
  });

  test('are all that its node can send: another change is refused alone', async () => {
    const space = freshSpace();
    const { sync } = await session(space, claims);
    expect((await sync(batch('b1', [change(1, 'secret'), change(2, 'note')]))).json).toMatchObject({
      results: [
        { id: 'a:1', status: 'rejected', code: 'forbidden' },
        { id: 'a:2', status: 'applied' },
      ],
    });
    expect((await space.call('GET', 'data/secret/x')).status).toBe(404);
  });
});

test.each([
  ['GET', 'status', undefined],
  ['POST', 'sync', undefined],
  ['PUT', 'network', { effectiveType: '3g' }],
  ['GET', 'data/note/x', undefined],
  ['GET', 'data/note', undefined],
] as const)('[I9] a token for one node is for no other: %s /v1/edge/{node}/%s', async (method, target, body) => {
  const { call } = freshSpace();
  await call('PUT', 'edge/a/data/note/x', { body: {} });
  for (const role of ['client', 'node', 'admin']) {
    const claims = { role, node: 'a' };
    expect(await call(method, `edge/b/${target}`, { claims, body })).toMatchObject(FORBIDDEN);
    expect((await call(method, `edge/a/${target}`, { claims, body })).status).toBe(200);
  }
});

test.each(['handshake', '', 'exchange', 'disconnect'])(
  '[I9] the sync protocol is not for clients, though they know the session: POST /v1/sync/%s',
  async (path) => {
    const space = freshSpace();
    const { headers } = await session(space);
    const handshake = { vectorClock: {}, cursor: 0, epoch: null };
    const body = path === 'handshake' ? handshake : batch('b1', [change(1, 'note')]);
    const target = path === '' ? 'sync' : `sync/${path}`;
    const ask = (claims: object) => space.call('POST', target, { headers, body, claims: { ...claims, node: 'a' } });
    expect(await ask({ role: 'client' })).toMatchObject(FORBIDDEN);
    expect((await space.call('GET', 'data/note/x')).status).toBe(404);
    expect((await ask({ role: 'node' })).status).toBe(200);
  },
);
