import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { expect, test, vi } from 'vitest';
import { knock, listen } from './live.ts';
import { entityOf, freshSpace, stopClock } from './space.ts';

const LIVE = 'edge/between/sync/live';
const asNode = (node: string) => ({ claims: { role: 'node', node } });

/** A space, and nodes below its node `between`. */
function fresh() {
  const space = freshSpace();
  const { call, cloudObject } = space;
  let writes = 0;
  return {
    ...space,
    write: () => call('PUT', `data/note/${++writes}`, { body: {} }),
    /** A socket of a node below, once the cloud has heard that somebody listens there. */
    below: async (node: string) => {
      const socket = await listen(space.space, LIVE, asNode(node));
      await vi.waitFor(async () => {
        const row = await runInDurableObject(cloudObject(), (_, { storage }) => storage.kv.get('live/between'));
        expect(row).toBeDefined();
      });
      return socket;
    },
    /** An exchange of a node below, through `between`. */
    exchange: async (node: string, changes: unknown[] = []) => {
      const body = { nodeId: node, protocol: 1, capabilities: [] };
      const connected = await call('POST', 'edge/between/sync/connect', { ...asNode(node), body });
      const batch = { batchId: crypto.randomUUID(), sourceNodeId: node, targetNodeId: 'cloud', cursor: 0, changes };
      const headers = { 'X-Session-Id': String(connected.json['sessionId']) };
      const answer = await call('POST', 'edge/between/sync/exchange', { ...asNode(node), headers, body: batch });
      expect(answer.status).toBe(200);
    },
  };
}

const change = (node: string) => ({
  ...{ id: `${node}:1`, nodeId: node, base: {}, stamp: `0000000000ff-0000-${node}`, timestamp: 1 },
  ...{ ...entityOf('note', 'of-below'), operation: 'create', data: {} },
});

test('[S26] a node below a relay is poked when the cloud has news, though all between have slept', async () => {
  const { below, write, exchange, edgeObject, cloudObject, alarmOf } = fresh();
  const { pass } = stopClock();
  const socket = await below('far');
  for (const head of [1, 2]) {
    await evictDurableObject(edgeObject('between'));
    await evictDurableObject(cloudObject());
    pass(3_600_000);
    await write();
    expect(await socket.next('poke')).toEqual({ type: 'poke', head });
    await exchange('far');
  }
  expect(await alarmOf('between')).toBeNull();
});

test('[S26] and when the relay has written itself; once until it has pulled, by way of the relay', async () => {
  const { below, edge, exchange } = fresh();
  stopClock();
  const socket = await below('far');
  const put = async (id: string) => {
    await edge('between').write({ ...entityOf('note', id), kind: 'put', data: {} }, {}, 0);
    await edge('between').sync();
  };
  await put('x');
  await put('y');
  await exchange('far');
  await put('z');
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
  expect(await socket.next('poke')).toMatchObject({ head: 3 });
});

test('[S26] the source of the news is not poked, the others below are', async () => {
  const { below, exchange, write } = fresh();
  stopClock();
  const [source, other] = [await below('far'), await below('near')];
  await exchange('far', [change('far')]);
  expect(await other.next('poke')).toMatchObject({ head: 1 });
  await write();
  expect(await source.next('poke')).toMatchObject({ head: 2 });
});

test('[S26] where the cloud has gone back, those below are told of what is less than they had', async () => {
  const { below, write, edge, exchange, cloudObject } = fresh();
  stopClock();
  const socket = await below('far');
  for (let count = 0; count < 3; count += 1) await write();
  await edge('between').sync();
  expect(await socket.next('poke')).toEqual({ type: 'poke', head: 1 });
  await exchange('far');
  await runInDurableObject(cloudObject(), (_, { storage }) => storage.deleteAll());
  await evictDurableObject(cloudObject());
  await write();
  await edge('between').poke(1);
  expect(await socket.next('poke')).toEqual({ type: 'poke', head: 1 });
});

test('[S26] a relay that is cut off pokes nobody before it is back', async () => {
  const { below, edge, write } = fresh();
  stopClock();
  const socket = await below('far');
  await edge('between').setNetwork({ online: false });
  await write();
  await write();
  await edge('between').setNetwork({ online: true });
  expect(await socket.next('poke')).toMatchObject({ head: 2 });
});

test('a relay has both kinds of sockets, and each gets its own', async () => {
  const { space, below, write, edgeObject } = fresh();
  const poked = await below('far');
  const reader = await listen(space, 'edge/between/live');
  reader.say({ type: 'subscribe' });
  await reader.next('status');
  await evictDurableObject(edgeObject('between'));
  await write();
  expect(await poked.next('poke')).toMatchObject({ head: 1 });
  expect(await reader.next('change')).toMatchObject({ entityId: '1' });
  poked.say({ type: 'subscribe' });
  expect(await poked.closed()).toMatchObject({ code: 4400 });
});

test.each([
  ['a client', { claims: { role: 'client' } }, '', 403, 'forbidden'],
  ['a node in the name of another', asNode('far'), '?node=near', 403, 'forbidden'],
  ['an admin for no node', { claims: { role: 'admin' } }, '', 400, 'bad_request'],
  ['no WebSocket', { ...asNode('far'), headers: { Upgrade: '' } }, '', 426, 'protocol_unsupported'],
] as const)('[I9] %s is refused', async (_, sent, query, status, code) => {
  const answer = await knock(freshSpace().space, LIVE + query, sent as never);
  expect(answer.status).toBe(status);
  expect(await answer.json()).toMatchObject({ code });
});
