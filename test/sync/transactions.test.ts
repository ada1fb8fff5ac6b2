import { describe, expect, test } from 'vitest';
import type { EntityType } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { batch } from '../../src/protocol/messages.ts';
import type { Write, WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

function writeOf(id: string, content: WriteContent, entityType: EntityType = TYPE): Write {
  return { entityType, entityId: entityId(id), ...content };
}

function putOf(id: string, data: JsonObject): Write {
  return writeOf(id, { kind: 'put', data });
}

function moved(amount: number): Write[] {
  const by = (value: number) => ({ kind: 'patch', operations: [{ op: 'increment', path: 'n', value }] }) as const;
  return [writeOf('x', by(-amount)), writeOf('y', by(amount))];
}

const HOUR_MS = 3_600_000;

async function began() {
  const world = new World({ policy: { conflict: 'merge' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const id of ['x', 'y']) a.put(id, { n: 10, text: 'long enough that operations are worth sending' });
  await syncAll(a, b);
  return { world, a, b };
}

async function syncAll(...nodes: Node[]): Promise<void> {
  for (let round = 0; round < 2; round += 1) for (const node of nodes) await node.link.sync();
}

const countsOf = (node: Node) => Object.fromEntries(Object.entries(node.list()).map(([id, { n }]) => [id, n]));

describe('a transaction', () => {
  test('[I8] is visible whole at once, here and elsewhere, and is told so', async () => {
    const { a, b } = await began();
    a.watches = () => true;
    const written = a.replica.transact([...moved(3), putOf('z', { n: 1 })], {});
    expect(written.map(({ changeId, created }) => [changeId, created])).toEqual([
      ['a:3', false],
      ['a:4', false],
      ['a:5', true],
    ]);
    expect(countsOf(a)).toEqual({ x: 7, y: 13, z: 1 });
    expect(a.seen).toHaveLength(3);
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 7, y: 13, z: 1 });
  });

  test('[S34] is taken whole where one of its records has met another write: that one’s policy decides about it alone', async () => {
    const world = new World({ policy: { conflict: 'manual' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    for (const id of ['x', 'y']) a.put(id, { n: 1 });
    await syncAll(a, b);
    b.put('x', { n: 9 });
    await b.link.sync();
    a.replica.transact([putOf('x', { n: 2 }), putOf('y', { n: 2 })], {});
    await syncAll(a, b);
    for (const node of [a, b]) expect(countsOf(node)).toEqual({ x: 9, y: 2 });
    const open = world.cloudStore.listConflicts({ status: 'open', after: '', limit: 9 });
    expect(open.map(({ entityId, remote }) => [entityId, remote.data])).toEqual([['x', { n: 2 }]]);
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I8] of which one write is refused here leaves nothing behind, and says which it was', async () => {
    const { a } = await began();
    const wrong = writeOf('y', { kind: 'patch', operations: [{ op: 'increment', path: 'text', value: 1 }] });
    expect(() => a.replica.transact([putOf('x', { n: 0 }), wrong], {})).toThrow(
      expect.objectContaining({ code: 'invalid_operation', details: expect.objectContaining({ index: 1 }) }),
    );
    const missing = writeOf('none', { kind: 'delete' });
    expect(() => a.replica.transact([putOf('x', { n: 0 }), missing], {})).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
    expect(countsOf(a)).toEqual({ x: 10, y: 10 });
    expect([a.replica.queueStats().total, a.put('q', {})]).toEqual([0, 'a:3']);
  });

  test('[I8] may write one record more than once: each write is on what the one before made', async () => {
    const { a, b } = await began();
    const [first] = moved(1);
    if (first === undefined) throw new Error('there are two');
    a.replica.transact([putOf('z', { n: 0 }), first, first, writeOf('z', { kind: 'delete' })], {});
    expect(countsOf(a)).toEqual({ x: 8, y: 10 });
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 8, y: 10 });
    expect(() => a.replica.transact([writeOf('x', { kind: 'delete' }), first], {})).toThrow(
      expect.objectContaining({ code: 'not_found' }),
    );
  });

  test('[I8] [I1] of which the cloud refuses one change is refused whole, stays at its node, and goes again whole', async () => {
    const { world, a, b } = await began();
    world.refuse = ({ data }) => data?.['n'] === 13;
    a.replica.transact(moved(3), {});
    a.put('free', { n: 1 });
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 10, y: 10, free: 1 });
    expect(countsOf(a)).toEqual({ x: 10, y: 10, free: 1 });
    const errors = a.replica.listQueue('dead', 0, 9).items.map(({ change, error }) => [change.id, error]);
    expect(errors).toEqual([
      ['a:3', { code: 'transaction_refused', detail: expect.stringContaining('a:4') }],
      ['a:4', expect.objectContaining({ code: 'invalid_data' })],
    ]);
    world.refuse = () => false;
    expect(a.replica.retryDead('a:4')).toBe('a:7');
    expect(a.replica.queueStats()).toMatchObject({ dead: 0, pending: 2 });
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 7, y: 13, free: 1 });
    expect(world.sequencer.meta.conflicts).toBe(0);
  });

  test.each(['manual', 'lww', 'merge'] as const)(
    '[S12] [S34] that goes again has seen what it made itself, and nothing else: %s',
    async (conflict) => {
      const world = new World({ policy: { conflict, coalesce: false } });
      const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
      a.put('x', { n: 10 });
      await syncAll(a, b);
      world.refuse = ({ data }) => data?.['bad'] === true;
      a.replica.transact(
        [putOf('z', { n: 1 }), putOf('q', { bad: true }), putOf('z', { n: 2 }), putOf('z', { n: 3 })],
        {},
      );
      await syncAll(a);
      world.refuse = () => false;
      a.replica.retryDead('a:2');
      expect(a.read('z')).toEqual({ n: 3 });
      await syncAll(a, b);
      expect([world.sequencer.meta.conflicts, b.read('z')]).toEqual([0, { n: 3 }]);

      world.refuse = ({ data }) => data?.['bad'] === true;
      a.replica.transact([putOf('x', { n: 1 }), putOf('x', { n: 2, bad: true })], {});
      await syncAll(a);
      a.put('x', { n: 5 });
      await syncAll(a);
      world.refuse = () => false;
      a.replica.retryDead('a:10');
      await syncAll(a, b);
      expect(world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 })[0]).toMatchObject({
        local: { data: { n: 5 } },
        remote: { data: { n: 1 } },
      });
    },
  );

  test('[I8] [S34] is discarded whole', async () => {
    const { world, a } = await began();
    world.refuse = ({ data }) => data?.['n'] === 13;
    a.replica.transact(moved(3), {});
    await syncAll(a);
    a.replica.discardDead('a:3');
    expect(a.replica.queueStats().total).toBe(0);
    a.restart();
    expect([a.replica.queueStats().total, a.put('z', {})]).toEqual([0, 'a:5']);
  });

  test('[I8] [S34] goes in one batch, however few changes that may have, with what it depends on before it', async () => {
    const { a, b } = await began();
    a.write('y', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 5 }] });
    a.put('other', { n: 1 });
    a.replica.transact(
      ['p', 'q', 'r']
        .map((id): Write => ({ ...putOf(id, { n: 1 }), priority: id === 'r' ? 'critical' : 'normal' }))
        .concat(moved(1)),
      {},
    );
    const { changes } = a.replica.nextBatch('b', { maxChanges: 2, maxBytes: 1e6, least: 'critical' }, []);
    expect(changes.map(({ id }) => id)).toEqual(['a:3']);
    const next = a.replica.nextBatch('c', { maxChanges: 2, maxBytes: 1e6, least: 'critical' }, []);
    expect(next.changes.map(({ id }) => id)).toEqual(['a:5', 'a:6', 'a:7', 'a:8', 'a:9']);
    a.replica.releaseBatch();
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 9, y: 16, other: 1, p: 1, q: 1, r: 1 });
    const sizes = a.exchanges.map(({ batch: { changes: sent } }) => sent.length);
    expect(Math.max(...sizes)).toBe(5);
  });

  test('[I8] [I2] survives a lost answer and a restart, and takes effect once', async () => {
    const { a, b } = await began();
    a.replica.transact(moved(2), {});
    a.restart();
    a.fault = 'answer-lost';
    await a.link.sync();
    a.restart();
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 8, y: 12 });
  });

  test('[I8] waits as a whole where one record is asked for', async () => {
    const { a, b } = await began();
    a.replica.transact(moved(2), {});
    // Under lww an increment can't be told from what is there: the record is asked for.
    b.put('x', { n: 100 });
    await b.link.sync();
    await a.link.sync();
    for (const { answer } of a.exchanges) {
      const statuses = new Set(answer.results.map(({ status }) => status === 'needs-full' || status === 'deferred'));
      expect(statuses.size).toBeLessThan(2);
    }
    expect(a.exchanges.some(({ answer }) => answer.results.some(({ status }) => status === 'deferred'))).toBe(true);
    await syncAll(a, b);
    expect(a.replica.queueStats().total).toBe(0);
    expect(countsOf(a)).toEqual(countsOf(b));
    expect(countsOf(b)['y']).toBe(12);
  });

  test('[I8] [I11] that the cloud fails at is tried and given up whole; what else waits goes on', async () => {
    const { world, a, b } = await began();
    const { writeEntity } = world.cloudStore;
    world.cloudStore.writeEntity = (entity) => {
      if (entity.data?.['n'] === 13) throw new Error('a bug');
      writeEntity.call(world.cloudStore, entity);
    };
    a.replica.transact(moved(3), {});
    a.put('free', { n: 1 });
    for (let round = 0; round < 5; round += 1) {
      await syncAll(a, b);
      world.nowMs += 10_000;
    }
    expect(countsOf(b)).toEqual({ x: 10, y: 10, free: 1 });
    expect(a.replica.queueStats()).toMatchObject({ dead: 2, total: 2 });
  });

  test('[S27] [S28] that is given up is as one change, where the cloud fails at all batches', async () => {
    const { world, a } = await began();
    const { writeEntity } = world.cloudStore;
    world.cloudStore.writeEntity = (entity) => {
      if (entity.data?.['n'] === 13) throw new Error('a bug');
      writeEntity.call(world.cloudStore, entity);
    };
    a.replica.transact([...moved(3), putOf('u', {}), putOf('v', {})], {});
    const sizes: number[] = [];
    a.beforeSend = ({ changes }) => {
      if ([...a.replica.queued()].some(({ retryCount }) => retryCount < LIMITS.maxRetries)) return;
      sizes.push(changes.length);
      throw new Error('the cloud is broken');
    };
    for (let round = 0; round < LIMITS.maxRetries; round += 1) {
      world.nowMs += 10_000;
      await a.link.sync();
    }
    expect(sizes).toEqual([4, 0]);
    a.beforeSend = () => undefined;
    world.nowMs += 10_000;
    await a.link.sync();
    expect(a.replica.queueStats()).toMatchObject({ dead: 4, total: 4 });
  });

  test('[I8] [I1] goes whole to a cloud that lost it', async () => {
    const { world, a, b } = await began();
    a.replica.transact(moved(3), {});
    await syncAll(a, b);
    world.loseCloud();
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ x: 7, y: 13 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I1] that is not all there any more is given back change by change', async () => {
    const { world, a } = await began();
    world.nowMs += 2 * HOUR_MS;
    a.replica.transact(moved(3), {});
    await syncAll(a);
    world.nowMs += 2 * LIMITS.retainSyncedMs;
    // Takes the rows of the two oldest changes, and of the first one of the transaction.
    for (const id of ['p', 'q', 'r']) a.put(id, { n: 0 });
    world.loseCloud();
    await syncAll(a);
    expect(countsOf(a)).toEqual({ y: 13, p: 0, q: 0, r: 0 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I8] [S18] gets new counters as a whole, where its node had lost its storage', async () => {
    const { a, b } = await began();
    a.restartEmpty();
    a.replica.transact([putOf('p', { n: 1 }), putOf('q', { n: 1 })], {});
    await syncAll(a, b);
    expect(countsOf(b)).toMatchObject({ p: 1, q: 1 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I7] [I8] at the strong level happens in the cloud, whole or not at all', async () => {
    const { world, a, b } = await began();
    const written = await a.access.transactStrong(moved(4), {}, 1_000);
    expect(written.map(({ data }) => data?.['n'])).toEqual([6, 14]);
    world.refuse = ({ data }) => data?.['n'] === 15;
    await expect(a.access.transactStrong(moved(1), {}, 1_000)).rejects.toThrow(
      expect.objectContaining({ code: 'invalid_data' }),
    );
    await syncAll(a, b);
    expect([countsOf(a), countsOf(b)]).toEqual([
      { x: 6, y: 14 },
      { x: 6, y: 14 },
    ]);
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I1] takes rows that are free, each of them once', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    for (const id of ['p', 'q']) a.put(id, { n: 1 });
    await syncAll(a);
    world.nowMs += 2 * HOUR_MS;
    a.put('s', { n: 1 });
    await syncAll(a);
    world.nowMs += 23 * HOUR_MS;
    a.put('r', { n: 1 });
    // The row of q was found free before, and is still; that of s is free by now.
    world.nowMs += 3 * HOUR_MS;
    a.replica.transact([putOf('u', { n: 1 }), putOf('v', { n: 1 })], {});
    a.restart();
    expect([...a.replica.queued()].map(({ change }) => change.entityId).sort()).toEqual(['r', 'u', 'v']);
  });

  test('[S34] at the strong level is on what it made itself: that is no conflict', async () => {
    const { world, a, b } = await began();
    b.put('y', { n: 1, unseen: true });
    await b.link.sync();
    const twice = [putOf('z', { n: 1 }), putOf('z', { n: 2 }), putOf('x', { n: 3 }), writeOf('x', { kind: 'delete' })];
    await a.access.transactStrong([...twice, putOf('y', { n: 4 }), putOf('y', { n: 5 })], {}, 1_000);
    await syncAll(a, b);
    expect(countsOf(b)).toEqual({ y: 5, z: 2 });
    // What others wrote, and its writer had not seen, is one.
    const records = world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });
    expect(records).toMatchObject([{ local: { data: { n: 1, unseen: true } }, remote: { data: { n: 4 } } }]);
  });

  test('[S34] at the strong level waits for no long queue, but for what it goes behind', async () => {
    const { a, b } = await began();
    a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 5 }] });
    for (let index = 0; index < 30; index += 1) a.put(`q${index}`, {});
    a.exchanges.length = 0;
    const written = await a.access.transactStrong([...moved(4), putOf('p', {}), putOf('q', {})], {}, 1_000);
    expect(written.map(({ data }) => data?.['n'])).toEqual([11, 14, undefined, undefined]);
    const place = a.exchanges.findIndex(({ batch: { changes } }) => changes.some(({ transaction }) => transaction));
    expect(place).toBe(1);
    expect(a.exchanges[place]?.batch.changes).toHaveLength(4);
    await syncAll(a, b);
    expect(Object.keys(b.list())).toHaveLength(34);
  });

  test('[I10] has a bound, and is not taken beyond it', async () => {
    const { a } = await began();
    const text = 'x'.repeat(200 * 1024);
    const large = ['p', 'q', 'r', 's', 't'].map((id) => putOf(id, { text }));
    expect(() => a.replica.transact(large, {})).toThrow(expect.objectContaining({ code: 'too_large' }));
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I10] [S34] does not grow beyond it by what is sent in the place of a dead part', async () => {
    const { world, a } = await began();
    world.refuse = ({ data }) => data?.['bad'] === true;
    const text = 'x'.repeat(200 * 1024);
    a.replica.transact([...['p', 'q', 'r', 's'].map((id) => putOf(id, { text })), putOf('t', { bad: true })], {});
    await syncAll(a);
    expect(() => a.replica.retryDead('a:7', { text })).toThrow(expect.objectContaining({ code: 'too_large' }));
    expect(a.replica.queueStats()).toMatchObject({ dead: 5, total: 5 });
    expect(a.replica.retryDead('a:7', { text: '' })).toBe('a:12');
    await syncAll(a);
    expect([a.replica.queueStats().total, world.sequencer.meta.seq]).toEqual([0, 7]);
  });
});

describe('a batch with part of a transaction', () => {
  let batches = 0;
  function send(world: World, transaction: string, ...counters: number[]) {
    return sendAll(
      world,
      counters.map((counter) => [counter, transaction]),
    );
  }

  function sendAll(world: World, all: readonly (readonly [counter: number, transaction?: string])[]) {
    const { sessionId } = world.responder.connect({ nodeId: new Node(world, 'p').nodeId, protocol: 1 });
    const changes = all.map(([counter, transaction]) => ({
      id: `p:${counter}`,
      nodeId: 'p',
      entityType: 'note',
      entityId: `e${counter}`,
      operation: 'create',
      data: { n: counter },
      base: {},
      stamp: '0000000000ff-0000-p',
      timestamp: 1,
      transaction,
    }));
    batches += 1;
    const text = { batchId: `b${batches}`, sourceNodeId: 'p', targetNodeId: 'cloud', cursor: 0, changes };
    const { results } = world.responder.exchange(sessionId, batch.parse(text), { relay: false });
    return results.map(({ status, code }) => code ?? status);
  }

  test('[I8] is refused, where its name says that there is more', () => {
    const world = new World();
    expect(send(world, 'p:1-3', 1, 2)).toEqual(['transaction_refused', 'transaction_refused']);
    expect(world.sequencer.meta.seq).toBe(0);
    expect(send(world, 'p:4-5', 4, 5)).toEqual(['applied', 'applied']);
  });

  test('[I8] by any other name is all there is', () => {
    const world = new World();
    world.refuse = ({ data }) => data?.['n'] === 2;
    expect(send(world, 'mine', 1, 2)).toEqual(['transaction_refused', 'invalid_data']);
    expect(send(world, 'mine', 3, 4)).toEqual(['applied', 'applied']);
    expect(send(world, 'mine', 3, 4)).toEqual(['duplicate', 'duplicate']);
    expect(world.sequencer.meta.seq).toBe(2);
  });

  test('[I8] [S34] by a name that only looks like one that tells is all there is', () => {
    const world = new World();
    expect(send(world, 'invoice:2024-2025', 1, 2, 3)).toEqual(['applied', 'applied', 'applied']);
    expect(send(world, 'booking:1-2', 4)).toEqual(['applied']);
    expect(send(world, 'p:50-51', 5, 6, 7)).toEqual(['applied', 'applied', 'applied']);
    // As many as the name says, but others.
    expect(send(world, 'p:8-10', 8, 10, 8)).toEqual(Array(3).fill('transaction_refused'));
  });

  test('[S34] is judged where its first change stands, before what stands between', () => {
    const world = new World();
    expect(sendAll(world, [[1, 'mine'], [2], [3, 'mine']])).toEqual(['applied', 'applied', 'applied']);
    expect(world.cloudStore.readAfter(0, 9).map(({ entityId }) => entityId)).toEqual(['e1', 'e3', 'e2']);
  });
});
