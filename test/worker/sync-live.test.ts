import { evictDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { knock, type Listener, listen } from './live.ts';
import { entityOf, freshSpace, made, stopClock } from './space.ts';

const LIVE = 'sync/live';
const asNode = (node: string) => ({ claims: { role: 'node', node } });

/** A space, and a node of it that isn't of this deployment. */
function fresh() {
  const space = freshSpace();
  let writes = 0;
  return {
    ...space,
    write: () => space.call('PUT', `data/note/${++writes}`, { body: {} }),
    /** An exchange of a node over HTTP. */
    exchange: async (node: string, changes: unknown[] = []) => {
      const connected = await space.call('POST', 'sync/connect', {
        ...asNode(node),
        body: { nodeId: node, protocol: 1, capabilities: [] },
      });
      const batch = { batchId: crypto.randomUUID(), sourceNodeId: node, targetNodeId: 'cloud', cursor: 0, changes };
      const headers = { 'X-Session-Id': String(connected.json['sessionId']) };
      const answer = await space.call('POST', 'sync', { ...asNode(node), headers, body: batch });
      expect(answer.status).toBe(200);
    },
  };
}

test('[S26] a node is poked with the head when there is news, and once until it has pulled', async () => {
  const { space, write, exchange } = fresh();
  stopClock();
  const socket = await listen(space, LIVE, asNode('far'));
  await write();
  expect(await socket.next('poke')).toEqual({ type: 'poke', head: 1 });
  await write();
  await exchange('far');
  await write();
  expect(await socket.next('poke')).toEqual({ type: 'poke', head: 3 });
});

test('[S26] a poke that nobody acted upon is taken for lost after 5 s', async () => {
  const { space, write } = fresh();
  const { pass } = stopClock();
  const socket = await listen(space, LIVE, asNode('far'));
  for (let round = 0; round < 3; round += 1) {
    await write();
    pass(2_500);
  }
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
  expect(await socket.next('poke')).toMatchObject({ head: 3 });
});

test('[S26] the source of the news is not poked, others hear of it, and no other space does', async () => {
  const [{ space, exchange, write }, other] = [fresh(), fresh()];
  const source = await listen(space, LIVE, asNode('far'));
  const relay = await listen(space, LIVE, asNode('near'));
  const foreign = await listen(other.space, LIVE, asNode('far'));
  const { entityType, entityId } = entityOf('note', 'x');
  const header = { nodeId: 'far', base: { cloud: 0 }, stamp: '0000000000ff-0000-far', timestamp: 1 };
  await exchange('far', [{ ...header, id: 'far:1', entityType, entityId, operation: 'create', data: {} }]);
  expect(await relay.next('poke')).toEqual({ type: 'poke', head: 1, source: 'far' });
  await write();
  await other.write();
  expect(await source.next('poke')).toMatchObject({ head: 2 });
  expect(await foreign.next('poke')).toMatchObject({ head: 1 });
});

test('it goes on after its object has slept: what was under way still is, and what was not is told', async () => {
  const { space, write, cloudObject, exchange } = fresh();
  stopClock();
  const socket = await listen(space, LIVE, asNode('far'));
  await evictDurableObject(cloudObject());
  await write();
  await evictDurableObject(cloudObject());
  await write();
  await exchange('far');
  await write();
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
  expect(await socket.next('poke')).toMatchObject({ head: 3 });
});

test.each([
  ['a client', { claims: { role: 'client' } }, '', 403, 'forbidden'],
  ['a node in the name of another', asNode('far'), '?node=near', 403, 'forbidden'],
  ['an admin for no node', { claims: { role: 'admin' } }, '', 400, 'bad_request'],
  ['an admin for no name', { claims: { role: 'admin' } }, '?node=cloud', 400, 'bad_name'],
  ['no WebSocket', { ...asNode('far'), headers: { Upgrade: '' } }, '', 426, 'protocol_unsupported'],
] as const)('[I9] %s is refused', async (_, sent, query, status, code) => {
  const answer = await knock(freshSpace().space, LIVE + query, sent as never);
  expect(answer.status).toBe(status);
  expect(await answer.json()).toMatchObject({ code });
});

test('an admin listens for any node; a token that has run out ends it before anything is sent', async () => {
  const { space, write } = fresh();
  const { pass } = stopClock();
  const exp = Math.floor(Date.now() / 1000) + 60;
  const socket = await listen(space, `${LIVE}?node=far`, { claims: { exp } });
  await write();
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
  pass(60_000);
  await write();
  expect(await socket.closed()).toMatchObject({ code: 4401 });
});

test('a message by a token that has run out ends its socket', async () => {
  const { space } = fresh();
  const { pass } = stopClock();
  const exp = Math.floor(Date.now() / 1000) + 60;
  const socket = await listen(space, LIVE, { claims: { role: 'node', node: 'far', exp } });
  pass(60_000);
  socket.say({ type: 'subscribe' });
  expect(await socket.closed()).toMatchObject({ code: 4401 });
});

test('[I10] of one node the newest sockets stay, and none takes messages', async () => {
  const { space, write } = fresh();
  const sockets: Listener[] = [];
  for (let index = 0; index <= LIMITS.pokeSocketsPerNode; index += 1) {
    sockets.push(await listen(space, LIVE, asNode('far')));
  }
  expect(await made(sockets[0]).closed()).toMatchObject({ code: 4429 });
  const last = made(sockets.at(-1));
  last.say({ type: 'subscribe' });
  expect(await last.next('error')).toMatchObject({ code: 'bad_request' });
  expect(await last.closed()).toMatchObject({ code: 4400 });
  await write();
  for (const socket of sockets.slice(1, -1)) expect(await socket.next('poke')).toMatchObject({ head: 1 });
});

test('[S26] what was not told before the cloud ended is told when it begins again', async () => {
  const { space, write, cloud, cloudObject } = fresh();
  const { pass } = stopClock();
  const socket = await listen(space, LIVE, asNode('far'));
  await write();
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
  pass(5_000);
  await evictDurableObject(cloudObject());
  await cloud().lag();
  expect(await socket.next('poke')).toMatchObject({ head: 1 });
});
