import { evictDurableObject } from 'cloudflare:test';
import { expect, test, vi } from 'vitest';
import { freshSpace } from './space.ts';

type Space = ReturnType<typeof freshSpace>;

const FORBIDDEN = { status: 403, code: 'forbidden' };
const below = { role: 'node', node: 'below' };

const note = (counter: number, data: object) => ({
  id: `below:${counter}`,
  nodeId: 'below',
  entityType: 'note',
  entityId: `n${counter}`,
  operation: 'create',
  data,
  base: {},
  stamp: `00000000000${counter}-0000-below`,
  timestamp: counter,
});
const batch = (batchId: string, changes: unknown[], cursor = 0) => {
  return { batchId, sourceNodeId: 'below', targetNodeId: 'cloud', cursor, changes };
};

/** The sync protocol at node `between`, as node `below` speaks it. */
async function session({ call }: Space, more: Record<string, unknown> = {}) {
  const claims = { ...below, ...more };
  const connected = await call('POST', 'edge/between/sync/connect', { claims, body: { nodeId: 'below', protocol: 1 } });
  const headers = { 'X-Session-Id': String(connected.json['sessionId']) };
  const say = (what: string, body?: unknown) => call('POST', `edge/between/sync/${what}`, { claims, headers, body });
  return { connected, headers, say };
}

test('a node below another one speaks the whole protocol with the cloud through it', async () => {
  const space = freshSpace();
  await space.call('PUT', 'data/note/there', { body: { by: 'cloud' } });
  const { connected, say } = await session(space);
  expect(connected).toMatchObject({ status: 200, json: { protocol: 1 } });
  const hello = { vectorClock: {}, cursor: 0, epoch: null, lastSyncTimestamp: null, pendingChangesCount: 1 };
  expect(await say('handshake', hello)).toMatchObject({ status: 200, json: { received: { upTo: 0 } } });
  expect(await say('exchange', batch('b1', [note(1, { by: 'below' })]))).toMatchObject({
    status: 200,
    json: {
      results: [{ id: 'below:1', status: 'applied', seq: 2 }],
      changes: [{ entityId: 'there', data: { by: 'cloud' } }],
      cursor: 2,
    },
  });
  expect((await space.call('GET', 'data/note/n1')).json).toMatchObject({ data: { by: 'below' }, version: 'below:1' });
  // It reaches the node between as any other news.
  expect((await space.call('POST', 'edge/between/sync')).json).toMatchObject({ success: true });
  expect((await space.call('GET', 'edge/between/data/note/n1')).json['data']).toEqual({ by: 'below' });
  expect(await say('disconnect')).toMatchObject({ status: 200 });
  expect(await say('exchange', batch('b2', []))).toMatchObject({ status: 410, code: 'session_expired' });
});

test('[S24] the same batch gets the same answer, straight or through another relay', async () => {
  const space = freshSpace();
  const { headers, say } = await session(space);
  const sent = batch('b1', [note(1, { n: 1 })]);
  const first = await say('exchange', sent);
  expect(first.json).toMatchObject({ results: [{ status: 'applied' }] });
  for (const path of ['edge/between/sync/exchange', 'edge/other/sync/exchange', 'sync/exchange', 'sync']) {
    const again = await space.call('POST', path, { claims: below, headers, body: sent });
    expect(again.json).toEqual(first.json);
  }
});

test('[I1] [S55] a relay that is cut off acknowledges nothing, and keeps and shows what it is sent; nobody begins there', async () => {
  const space = freshSpace();
  const { say } = await session(space);
  await space.call('POST', 'edge/between/sync');
  await space.call('PUT', 'edge/between/network', { body: { online: false } });
  expect(await say('exchange', batch('b1', [note(1, { n: 1 })]))).toMatchObject({
    status: 200,
    json: { kept: true, results: [{ id: 'below:1', status: 'deferred' }], changes: [], cursor: 0 },
  });
  const refused = { status: 503, code: 'cloud_unavailable' };
  expect((await session(space)).connected).toMatchObject(refused);
  expect(await say('exchange', batch('b2', []))).toMatchObject(refused);
  const shown = await space.call('GET', 'edge/between/data/note/n1');
  expect(shown.json).toMatchObject({ data: { n: 1 }, version: 'below:1', synced: false });
  expect((await space.call('GET', 'edge/between/data/note')).json['items']).toMatchObject([{ entityId: 'n1' }]);
  expect((await space.call('GET', 'edge/between/status')).json).toMatchObject({ kept: 1, queue: { total: 0 } });
  expect((await space.call('GET', 'data/note/n1')).status).toBe(404);
});

test('[I2] [S55] it brings that by itself when it can, as its writer’s, who is answered as if it had come by him', async () => {
  const space = freshSpace();
  const { say } = await session(space);
  await space.call('POST', 'edge/between/sync');
  await space.call('PUT', 'edge/between/network', { body: { online: false } });
  await say('exchange', batch('b1', [note(1, { n: 1 })]));
  await evictDurableObject(space.edgeObject('between'));
  expect((await space.call('GET', 'edge/between/data/note/n1')).json['data']).toEqual({ n: 1 });
  await space.call('PUT', 'edge/between/network', { body: { online: true } });
  await vi.waitFor(async () => expect((await space.edge('between').status()).kept).toBe(0));
  expect((await space.call('GET', 'data/note/n1')).json).toMatchObject({ data: { n: 1 }, version: 'below:1' });
  expect((await space.call('GET', 'edge/between/data/note/n1')).json).toMatchObject({ synced: true });
  const again = await say('exchange', batch('b2', [note(1, { n: 1 })]));
  expect(again.json['results']).toMatchObject([{ status: 'duplicate' }]);
});

test('[I9] who speaks through a relay is held to the own token', async () => {
  const space = freshSpace();
  for (const type of ['note', 'secret']) await space.call('PUT', `data/${type}/x`, { body: { of: type } });
  const { headers, say } = await session(space, { types: { read: ['note'], write: ['note'] } });
  expect((await say('exchange', batch('b1', []))).json['changes']).toMatchObject([{ entityType: 'note' }]);
  const secret = { ...note(1, { n: 1 }), entityType: 'secret' };
  expect((await say('exchange', batch('b2', [secret]))).json['results']).toMatchObject([
    { status: 'rejected', code: 'forbidden' },
  ]);
  const foreign = { ...note(1, { n: 1 }), id: 'between:1', nodeId: 'between' };
  expect(await say('exchange', batch('b3', [foreign]))).toMatchObject(FORBIDDEN);

  const connect = (claims: Record<string, unknown>, nodeId = 'below') =>
    space.call('POST', 'edge/between/sync/connect', { claims, body: { nodeId, protocol: 1 } });
  expect(await connect({ role: 'client' })).toMatchObject(FORBIDDEN);
  expect(await connect({ role: 'node', node: 'other' })).toMatchObject(FORBIDDEN);
  const other = { role: 'node', node: 'other' };
  for (const what of ['exchange', 'handshake', 'disconnect']) {
    const body = what === 'exchange' ? batch('b4', []) : { vectorClock: {}, cursor: 0 };
    const refused = await space.call('POST', `edge/between/sync/${what}`, { claims: other, headers, body });
    expect(refused, what).toMatchObject({ status: 409, code: 'session_mismatch' });
  }
});

test('[S13] a node is not below itself: two that write under one name would fork it', async () => {
  const { call } = freshSpace();
  const body = { nodeId: 'between', protocol: 1 };
  expect(await call('POST', 'edge/between/sync/connect', { body })).toMatchObject(FORBIDDEN);
  expect(await call('POST', 'edge/other/sync/connect', { body })).toMatchObject({ status: 200 });
});

test('what the cloud refuses is refused as it says it', async () => {
  const space = freshSpace();
  const { say } = await session(space);
  const body = { nodeId: 'below', protocol: 99 };
  expect(await space.call('POST', 'edge/between/sync/connect', { claims: below, body })).toMatchObject({
    status: 426,
    code: 'protocol_unsupported',
    json: { supported: [1] },
  });
  expect(await say('exchange', '{')).toMatchObject({ status: 400, code: 'bad_json' });
  expect(await say('exchange', { ...batch('b', []), cursor: -1 })).toMatchObject({ status: 400, code: 'bad_request' });
  const unnamed = await space.call('POST', 'edge/between/sync/exchange', { claims: below, body: batch('b', []) });
  expect(unnamed).toMatchObject({ status: 400, code: 'bad_request' });
});
