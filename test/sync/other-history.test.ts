import { describe, expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const increment = { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] } as const;
const entity = { entityType: TYPE, entityId: entityId('x') };

async function sync(...nodes: Node[]): Promise<void> {
  for (let round = 0; round < 2; round += 1) for (const node of nodes) await node.link.sync();
}

describe('what a node gives back to a cloud that lost it', () => {
  test('[I1] goes whole: the cloud has no record to apply operations to', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 1, text: 'long enough that operations are worth it' });
    await sync(a, b);
    b.write('x', increment);
    await sync(b);
    world.loseCloud();
    await sync(b);
    expect(b.read('x')).toMatchObject({ n: 2 });
    expect(b.replica.queueStats().total).toBe(0);
  });

  test('[I1] [I11] is all sent, though places were given out again after a start', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    await sync(a);
    a.restart();
    a.put('y', { n: 2 });
    world.loseCloud();
    await sync(a);
    expect(a.replica.queueStats().total).toBe(0);
    expect(world.cloudStore.readNode(a.nodeId)?.received.upTo).toBe(2);
  });

  test('[I1] keeps its row, though that was free before', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    for (const id of ['x', 'y']) a.put(id, { n: 1 });
    await sync(a);
    world.nowMs += 2 * LIMITS.retainSyncedMs;
    a.put('z', { n: 2 });
    world.loseCloud();
    a.fault = 'request-lost';
    await a.link.sync();
    a.put('w', { n: 3 });
    a.restart();
    await sync(a);
    expect(Object.keys(a.list()).sort()).toEqual(expect.arrayContaining(['w', 'y', 'z']));
  });

  test('[I1] waits again as a whole or not at all, whenever the power goes off', async () => {
    const world = new World();
    const [a, b, c] = [new Node(world, 'a'), new Node(world, 'b'), new Node(world, 'c')];
    b.put('y', { n: 0 });
    await sync(b, a);
    a.put('x', { n: 1 });
    await sync(a);
    world.loseCloud();
    c.put('x', { n: 2 });
    await sync(c);
    const { writeQueued } = a.store;
    a.store.writeQueued = () => {
      throw new Error('the power went off');
    };
    await a.link.sync();
    a.store.writeQueued = writeQueued;
    a.restart();
    await sync(a);
    // Made on another history, it has not seen what is there now.
    expect(world.cloudStore.listConflicts({ status: 'all', after: '', limit: 9 })).not.toEqual([]);
  });
});

test('[I1] a strong write that was begun on another history has not seen the next one', async () => {
  const world = new World();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('y', { n: 0 });
  await sync(a);
  world.loseCloud();
  b.put('x', { n: 1 });
  await sync(b);
  await a.access.writeStrong({ ...entity, kind: 'put', data: { n: 2 } }, {}, 1_000);
  const [conflict] = world.cloudStore.listConflicts({ status: 'all', after: '', limit: 9 });
  expect(conflict).toMatchObject({ local: { data: { n: 1 } }, remote: { data: { n: 2 } } });
});

test('[I6] the first history that a node meets is the one that its callers have seen', async () => {
  const world = new World({ policy: { onCreate: 'rename' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 1 });
  await sync(a);
  b.replica.write({ ...entity, kind: 'put', data: { n: 2 } }, a.replica.causalClock());
  await sync(b);
  expect(b.read('x')).toEqual({ n: 2 });
});

test('[I2] a counter of a former life that arrives late is not given out again', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  await sync(a);
  const session = a.replica.meta.session?.id ?? '';
  a.restartEmpty();
  await sync(a);
  const late = new Node(world, 'a');
  late.put('x', { n: 1 });
  const batch = late.replica.nextBatch('late', { maxChanges: 9, maxBytes: 1e6, least: 'normal' }, []);
  world.responder.exchange(session, JSON.parse(JSON.stringify(batch)), { relay: false });
  await sync(a);
  expect(a.put('y', { n: 2 })).toBe('a:2');
  await sync(a);
  expect(world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId('y') }))?.data).toEqual({ n: 2 });
});
