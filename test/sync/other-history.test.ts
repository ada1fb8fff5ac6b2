import { describe, expect, test } from 'vitest';
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

  test('[I12] deletes, though the cloud has nothing there yet: what comes after it is older', async () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 1 });
    await sync(a, b);
    world.nowMs += 10;
    b.write('x', { kind: 'delete' });
    await sync(b);
    world.loseCloud();
    await sync(b, a);
    expect([a.list(), b.list()]).toEqual([{}, {}]);
    expect([a.replica.meta.digestMismatches, b.replica.meta.digestMismatches]).toEqual([0, 0]);
  });

  test('[S19] has the stamp that the lost cloud put right', async () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b', 3_600_000)];
    // Before it could ask for the time.
    b.put('x', { n: 1 });
    await sync(b, a);
    world.nowMs += 10;
    a.put('x', { n: 2 });
    await sync(a, b);
    b.restart();
    world.nowMs += 1_000;
    world.loseCloud();
    await sync(b, a);
    expect([a.read('x'), b.read('x')]).toEqual([{ n: 2 }, { n: 2 }]);
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
  b.replica.write({ ...entity, kind: 'put', data: { n: 2 } }, a.replica.causalContext());
  await sync(b);
  expect(b.read('x')).toEqual({ n: 2 });
});

test('[I2] what a former life of a node had sent is not taken any more once the next one has come', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  await sync(a);
  const session = a.replica.meta.session?.id ?? '';
  a.put('x', { n: 1 });
  const late = a.replica.nextBatch('late', { maxChanges: 9, maxBytes: 1e6, least: 'normal' }, []);
  a.restartEmpty();
  await sync(a);
  const arrive = () => world.responder.exchange(session, JSON.parse(JSON.stringify(late)), { relay: false });
  expect(arrive).toThrow(expect.objectContaining({ code: 'session_expired' }));
  expect(a.put('y', { n: 2 })).toBe('a:1');
  await sync(a);
  expect(a.list()).toEqual({ y: { n: 2 } });
});

test('[I1] [S18] a node that lost its storage has not seen what it wrote before', async () => {
  const world = new World({ policy: { onCreate: 'lww', coalesce: false } });
  const a = new Node(world, 'a');
  a.put('x', { life: 1 });
  await sync(a);
  a.restartEmpty();
  world.nowMs += 1;
  a.put('x', { life: 2 });
  a.put('x', { life: 2, again: true });
  await sync(a);
  expect(a.list()).toEqual({ x: { life: 2, again: true } });
  expect(world.cloudStore.listConflicts({ status: 'all', after: '', limit: 9 })).toMatchObject([
    { local: { data: { life: 1 } }, remote: { data: { life: 2 } } },
    { local: { data: { life: 2 } }, remote: { data: { life: 2, again: true } } },
  ]);
  // It has seen all of it now.
  a.put('x', { life: 3 });
  await sync(a);
  expect(world.sequencer.meta.conflicts).toBe(2);
});

describe('a token of a history that was lost', () => {
  async function afterLoss() {
    const world = new World();
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    for (const id of ['x', 'y', 'z']) a.put(id, { of: 'a' });
    await sync(a);
    const token = a.replica.causalContext();
    world.loseCloud();
    return { world, a, b, token };
  }

  test('[I11] asks for nothing of its places in the order of the next one', async () => {
    const { b, token } = await afterLoss();
    await b.access.satisfy(TYPE, { level: 'causal', after: token, waitMs: 1_000 });
    expect(b.replica.causalContext(token)).toMatchObject({ epoch: b.replica.meta.epoch, clock: {} });
  });

  test('[I1] has not seen what the next one has at those places', async () => {
    const { world, a, b, token } = await afterLoss();
    b.put('x', { of: 'b' });
    await sync(b);
    const c = new Node(world, 'c');
    // It has never been there, and takes the token for one of the history that it will meet.
    c.replica.write({ ...entity, kind: 'put', data: { of: 'c' } }, token);
    await sync(c);
    expect(world.sequencer.meta.conflicts).toBe(1);
    b.replica.write({ ...entity, kind: 'put', data: { of: 'token' } }, token);
    await sync(b, a);
    expect(b.replica.causalContext(token).epoch).not.toBe(token.epoch);
  });

  test('[I6] still asks for what nodes wrote, which these give back', async () => {
    const { world, a, b } = await afterLoss();
    a.put('w', { of: 'a' });
    const waiting = a.replica.causalContext();
    expect(waiting.clock).toEqual({ cloud: 3, a: 4 });
    await sync(b);
    expect((await b.link.sync({ requires: waiting })).covered).toBe(false);
    await sync(a);
    expect((await b.link.sync({ requires: waiting })).covered).toBe(true);
    expect(Object.keys(b.list()).sort()).toEqual(['w', 'x', 'y', 'z']);
    expect(world.sequencer.meta.seq).toBe(4);
  });
});

test('[I6] a node that lags behind in a lost history asks before it takes a token of the next one for covered', async () => {
  const world = new World();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const id of ['x', 'y', 'z']) a.put(id, { n: 1 });
  await sync(a, b);
  world.loseCloud();
  const c = new Node(world, 'c');
  c.put('new', { n: 1 });
  await sync(c);
  const token = c.replica.causalContext();
  expect(b.replica.covers(token)).toBe(false);
  await b.access.satisfy(TYPE, { level: 'causal', after: token, waitMs: 1_000 });
  expect(b.read('new')).toEqual({ n: 1 });
});
