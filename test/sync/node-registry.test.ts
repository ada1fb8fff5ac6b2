import { expect, test } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { NodeRegistry } from '../../src/sync/node-registry.ts';
import { entityType, Node, nodeId, World } from './world.ts';

/** A world whose cloud keeps a registry, as its object does. */
function registered() {
  const world = new World();
  const live = new Set<string>();
  const make = () =>
    new NodeRegistry({
      store: world.cloudStore,
      clock: world.clock,
      head: () => world.sequencer.meta.seq,
      isLive: (node) => live.has(node),
    });
  const parts = { registry: make() };
  const sync = async (node: Node) => {
    const before = node.exchanges.length;
    await node.link.sync();
    for (const { batch, answer } of node.exchanges.slice(before)) parts.registry.heard(batch, answer);
  };
  const of = (name: string) => parts.registry.get(nodeId(name));
  return { world, live, sync, of, parts, restart: () => Object.assign(parts, { registry: make() }) };
}

test('[S35] a node has what its last answer brought, and is behind by what came since', async () => {
  const { world, sync, of } = registered();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 1 });
  await sync(a);
  expect(of('a')).toMatchObject({ cursor: 1, lag: 0, pending: 0, lastSeenAtMs: world.nowMs, state: 'idle' });
  a.put('y', { n: 1 });
  a.put('z', { n: 1 });
  await sync(b);
  await sync(a);
  expect(of('b')).toMatchObject({ cursor: 1, lag: 2, online: true, state: 'syncing' });
  await sync(b);
  expect(of('b')).toMatchObject({ cursor: 3, lag: 0, online: true, state: 'idle' });
});

test('[S35] a node is there for a while after it was heard, and as long as it listens and comes for what it is told', async () => {
  const { world, live, sync, of } = registered();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  await sync(a);
  world.nowMs += 89_999;
  expect(of('a')).toMatchObject({ online: true, state: 'idle' });
  world.nowMs += 1;
  expect(of('a')).toMatchObject({ online: false, state: 'offline' });
  live.add('a');
  expect(of('a')).toMatchObject({ online: true, state: 'idle' });
  b.put('x', { n: 1 });
  await sync(b);
  expect(of('a')).toMatchObject({ lag: 1, online: false, state: 'offline' });
});

test('[S35] what waits at a node grows old while nobody hears of it', async () => {
  const { world, sync, of } = registered();
  const a = new Node(world, 'a');
  for (const id of ['w', 'x', 'y', 'z']) a.put(id, { n: 1 });
  a.beforeCall = () => {
    if (a.exchanges.length > 0) throw new Error('it breaks');
  };
  world.nowMs += 10;
  await sync(a);
  world.nowMs += 100_000;
  expect(of('a')).toMatchObject({ pending: 1, queue: { critical: 0, high: 0, normal: 1 }, oldestMs: 100_010 });
  expect(of('a').state).toBe('offline');
});

test('[S35] a cloud that begins again knows of nodes what stands in their rows', async () => {
  const { world, sync, of, restart } = registered();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  world.refuse = ({ data }) => data?.['bad'] === true;
  a.put('x', { bad: true });
  a.put('y', { n: 1 });
  await sync(a);
  await sync(b);
  const [ofA, ofB] = [of('a'), of('b')];
  expect(ofA).toMatchObject({ dead: 1, cursor: 1, lag: 0 });
  expect(ofB).toMatchObject({ dead: 0, cursor: 1, lag: 0 });
  restart();
  expect([of('a'), of('b')]).toEqual([ofA, ofB]);

  // One that only reads has a row a minute at most; it has more then than that says.
  a.put('z', { n: 1 });
  await sync(a);
  world.nowMs += 59_999;
  await sync(b);
  restart();
  expect(of('b')).toMatchObject({ cursor: 1, lag: 1 });
  world.nowMs += 1;
  await sync(b);
  restart();
  expect(of('b')).toMatchObject({ cursor: 2, lag: 0 });
});

test('[S35] nodes are listed by their ids, in pages, also those that others brought changes of', () => {
  const { world, parts } = registered();
  const names = ['a', 'b', 'c'];
  for (const name of names) world.responder.connect({ nodeId: nodeId(name), protocol: 1 });
  const ids = (after: string, limit: number) => {
    const { items, next } = parts.registry.list(after, limit);
    return [...items.map((node) => node.nodeId), next];
  };
  expect(ids('', 3)).toEqual(['a', 'b', 'c', null]);
  expect(ids('', 2)).toEqual(['a', 'b', 'b']);
  expect(ids('b', 2)).toEqual(['c', null]);
  expect(ids('c', 2)).toEqual([null]);
  const { sessionId } = world.responder.connect({ nodeId: nodeId('relay'), protocol: 1 });
  const below = { id: 'below:1', nodeId: 'below', entityType: entityType('note'), entityId: 'x', operation: 'create' };
  const change = { ...below, data: {}, base: {}, stamp: '000000000001-0000-below', timestamp: 1 };
  const batch = { batchId: 'b', sourceNodeId: nodeId('relay'), targetNodeId: 'cloud', cursor: 0 } as const;
  world.responder.exchange(sessionId, { ...batch, changes: [{ ...change, nodeId: nodeId('below') }] }, { relay: true });
  const [found] = parts.registry.list('b', 1).items;
  expect(found).toMatchObject({ nodeId: 'below', lastSeenAtMs: null, online: false, state: 'offline' });
});

test('[I10] [S35] of how many nodes are is kept in memory has a bound, and the others are read again', () => {
  const { world, parts } = registered();
  const { registry } = parts;
  const read = { pending: 1, report: { dead: 1 } };
  const first = nodeId('n0');
  world.responder.connect({ nodeId: first, protocol: 1 });
  registry.heard({ ...read, sourceNodeId: first }, { cursor: 0 });
  expect(registry.get(first).dead).toBe(1);
  for (let index = 1; index <= LIMITS.registryNodes; index += 1) {
    registry.heard({ ...read, sourceNodeId: nodeId(`n${index}`) }, { cursor: 0 });
  }
  // That was never written with its record.
  expect(registry.get(first).dead).toBe(0);
});
