import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Change, dotOf, type Priority } from '../../src/core/change.ts';
import { parseStamp, type Stamp } from '../../src/core/hlc.ts';
import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { batch as batchSchema } from '../../src/protocol/messages.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { OfflineQueue } from '../../src/sync/offline-queue.ts';
import type { QueuedChange } from '../../src/sync/ports.ts';
import { Replica } from '../../src/sync/replica.ts';
import { entityId, Node, nodeId, TYPE, World } from './world.ts';

const NOW = 10_000_000;
const all = { maxChanges: 1_000, maxBytes: 1e9, first: new Set<EntityKey>(), least: 'normal', nowMs: NOW } as const;

function queued(order: number, entity: string, priority: Priority, over: Partial<QueuedChange> = {}): QueuedChange {
  const change = {
    id: `a:${order}`,
    nodeId: 'a',
    entityType: TYPE,
    entityId: entityId(entity),
    operation: 'update',
    data: { order },
    base: {},
    stamp: '000000000001-0000-a',
    timestamp: 1,
    priority,
  } as unknown as Change;
  const row = { slot: order, order, change, queuedAtMs: NOW, bytes: 100 };
  return { ...row, retryCount: 0, lastAttemptMs: null, error: null, ...over };
}

const idsOf = (changes: readonly QueuedChange[]) => changes.map(({ change }) => change.id);

/** As over a poor link: what does not press waits, and what is new comes. */
function pull(world: World, { replica, nodeId }: Node): void {
  const sent = replica.nextBatch('b1', { maxChanges: 10, maxBytes: 1e6, least: 'critical' }, []);
  const session = replica.meta.session?.id ?? '';
  const answer = world.responder.exchange(session, batchSchema.parse(sent), { nodeId, relay: false });
  replica.confirm(sent, answer, replica.nowMs());
}

describe('what goes next', () => {
  test('[S11] what presses, with all that it depends on before it; then the rest in its order', () => {
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal'),
      queued(2, 'y', 'normal'),
      queued(3, 'x', 'critical'),
      queued(4, 'z', 'high'),
    ]);
    expect(idsOf(queue.select(all))).toEqual(['a:1', 'a:3', 'a:4', 'a:2']);
    expect(idsOf(queue.select({ ...all, least: 'high' }))).toEqual(['a:1', 'a:3', 'a:4']);
    expect(idsOf(queue.select({ ...all, least: 'critical' }))).toEqual(['a:1', 'a:3']);
    const first = new Set([entityKey(queued(2, 'y', 'normal').change)]);
    expect(idsOf(queue.select({ ...all, first }))).toEqual(['a:2', 'a:1', 'a:3', 'a:4']);
  });

  test('[I11] [S11] what is critical goes before what has waited too long, and that before the rest, by every plan', () => {
    const old = { queuedAtMs: NOW - LIMITS.maxQueueAgeMs };
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal', old),
      queued(2, 'y', 'critical'),
      queued(3, 'z', 'high'),
      queued(4, 'v', 'normal'),
    ]);
    expect(idsOf(queue.select(all))).toEqual(['a:2', 'a:1', 'a:3', 'a:4']);
    expect(idsOf(queue.select({ ...all, least: 'critical' }))).toEqual(['a:2', 'a:1']);
    expect(queue.hasUnsent('critical', NOW)).toBe(true);
    queue.remove('a:1');
    queue.remove('a:2');
    expect(queue.hasUnsent('critical', NOW)).toBe(false);
    expect(queue.hasUnsent('normal', NOW)).toBe(true);
  });

  test('[I11] [S11] neither holds up the other, however many there are: a quarter of a batch is for what has waited too long', () => {
    const old = { queuedAtMs: NOW - LIMITS.maxQueueAgeMs };
    const rows = Array.from({ length: 40 }, (_, n) => [
      queued(2 * n + 1, `old${n}`, 'normal', old),
      queued(2 * n + 2, `new${n}`, 'critical'),
    ]);
    const queue = new OfflineQueue(rows.flat());
    const prioritiesOf = (bounds: { maxChanges: number; maxBytes?: number }) =>
      Object.groupBy(queue.select({ ...all, ...bounds }), ({ change }) => change.priority ?? 'normal');
    expect(prioritiesOf({ maxChanges: 8 })).toMatchObject({ critical: { length: 6 }, normal: { length: 2 } });
    expect(prioritiesOf({ maxChanges: 40, maxBytes: 800 })).toMatchObject({
      critical: { length: 6 },
      normal: { length: 2 },
    });
    // What is left over is for whoever is there.
    for (let n = 3; n < 40; n += 1) queue.remove(`a:${2 * n + 2}`);
    expect(prioritiesOf({ maxChanges: 8 })).toMatchObject({ critical: { length: 3 }, normal: { length: 5 } });
    for (let n = 1; n < 40; n += 1) queue.remove(`a:${2 * n + 1}`);
    expect(prioritiesOf({ maxChanges: 4 })).toMatchObject({ critical: { length: 3 }, normal: { length: 1 } });
  });

  test('[I10] a batch is bounded in changes and bytes, but one goes whatever its size', () => {
    const queue = new OfflineQueue([1, 2, 3].map((order) => queued(order, `e${order}`, 'normal')));
    expect(queue.select({ ...all, maxChanges: 2 })).toHaveLength(2);
    expect(queue.select({ ...all, maxBytes: 250 })).toHaveLength(2);
    expect(queue.select({ ...all, maxBytes: 1 })).toHaveLength(1);
  });

  test('[S28] what a whole batch failed for goes alone when its time has come, behind all others; nothing of its record before it', () => {
    const tried = { retryCount: 2, lastAttemptMs: NOW - 1_999, isBlamed: true };
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal', tried),
      queued(2, 'x', 'critical'),
      queued(3, 'y', 'normal'),
      queued(4, 'x', 'normal'),
    ]);
    expect(queue.statusOf(queued(1, 'x', 'normal', tried))).toBe('failed');
    expect(idsOf(queue.select(all))).toEqual(['a:3']);
    expect(queue.hasUnsent('critical', NOW)).toBe(false);
    expect(queue.msUntilReady(NOW)).toBe(1);
    const first = new Set([entityKey(queued(1, 'x', 'normal').change)]);
    expect(idsOf(queue.select({ ...all, first }))).toEqual(['a:3']);
    const later = { ...all, nowMs: NOW + 1 };
    expect(idsOf(queue.select(later))).toEqual(['a:3']);
    expect(idsOf(queue.select({ ...later, first }))).toEqual(['a:3']);
    queue.remove('a:3');
    expect(idsOf(queue.select(later))).toEqual(['a:1']);
    expect(queue.select({ ...later, maxChanges: 0 })).toEqual([]);
    queue.put(queued(3, 'y', 'normal'));
    queue.put(queued(5, 'z', 'critical'));
    queue.put(queued(2, 'x', 'normal'));
    expect(idsOf(queue.select(later))).toEqual(['a:5', 'a:3']);
    // By a clock that was put back nobody knows how long it has waited.
    expect(queue.hasUnsent('normal', NOW - 10_000)).toBe(true);
    queue.put(queued(1, 'x', 'normal', { ...tried, error: { code: 'internal', detail: '' } }));
    expect(idsOf(queue.select(all)).sort()).toEqual(['a:2', 'a:3', 'a:4', 'a:5']);
    expect(queue.stats(NOW)).toMatchObject({ failed: 0, dead: 1, pending: 4 });
  });

  test('[I11] [S28] what goes before it at its record does not wait for it', () => {
    const blamed = { retryCount: 1, lastAttemptMs: NOW - 1_000, isBlamed: true };
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal'),
      queued(2, 'x', 'normal', blamed),
      queued(3, 'x', 'critical'),
    ]);
    const critical = { ...all, least: 'critical' } as const;
    expect(idsOf(queue.select(critical))).toEqual(['a:1']);
    queue.remove('a:1');
    expect(queue.hasUnsent('critical', NOW)).toBe(true);
    expect(idsOf(queue.select(critical))).toEqual(['a:2']);
  });

  test('[I11] [S27] what failed by itself goes with others, behind them; nothing of its record with what is given up', () => {
    const tried = { retryCount: 2, lastAttemptMs: NOW - 2_000 };
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal', tried),
      queued(2, 'w', 'normal', { ...tried, isBlamed: true, retryCount: LIMITS.maxRetries }),
      queued(3, 'w', 'critical'),
      queued(4, 'x', 'normal'),
      queued(5, 'y', 'normal'),
    ]);
    // What is given up is sent without what the cloud may fail at.
    expect(idsOf(queue.select(all))).toEqual(['a:2', 'a:1', 'a:4', 'a:5']);
    expect(idsOf(queue.select({ ...all, maxChanges: 1 }))).toEqual(['a:2']);
    for (const id of ['a:2', 'a:3', 'a:4']) queue.remove(id);
    expect(idsOf(queue.select(all))).toEqual(['a:5', 'a:1']);
    expect(idsOf(queue.select({ ...all, maxChanges: 1 }))).toEqual(['a:5']);
    // By a plan that it may not go by it waits, until it is old.
    queue.remove('a:5');
    expect(queue.select({ ...all, least: 'critical' })).toEqual([]);
    expect(idsOf(queue.select({ ...all, least: 'critical', nowMs: NOW + LIMITS.maxQueueAgeMs }))).toEqual(['a:1']);
  });

  test('[I5] nothing of a record goes before what of it has to be sent once more, also within one pull', () => {
    const queue = new OfflineQueue([queued(1, 'x', 'normal'), queued(2, 'x', 'normal'), queued(3, 'y', 'normal')]);
    for (const status of ['failed', 'needs-full', 'conflict'] as const) {
      queue.markAnswered([{ id: 'a:1', status }]);
      expect(idsOf(queue.select(all)), status).toEqual(['a:3']);
      queue.forgetAnswered();
    }
    queue.markAnswered([{ id: 'a:1', status: 'applied' }]);
    expect(idsOf(queue.select(all))).toEqual(['a:2', 'a:3']);
  });

  test('what is under way, answered or dead does not go', () => {
    const error = { code: 'invalid_data', detail: '' };
    const queue = new OfflineQueue([
      queued(1, 'x', 'normal'),
      queued(2, 'y', 'normal'),
      queued(3, 'z', 'normal', { error }),
    ]);
    queue.markInFlight(['a:1']);
    queue.markAnswered([{ id: 'a:2', status: 'applied' }]);
    expect(queue.select(all)).toEqual([]);
    expect(queue.stats(NOW)).toMatchObject({ syncing: 2, dead: 1, pending: 0, total: 3 });
    queue.markInFlight([]);
    queue.forgetAnswered();
    expect(idsOf(queue.select(all))).toEqual(['a:1', 'a:2']);
  });

  test('[I5] [S11] whatever happened before, also where one presses more than it did, it is what a plain list would give', () => {
    const order = fc.integer({ min: 1, max: 12 });
    const step = fc.oneof(
      fc.record({
        do: fc.constant('put' as const),
        order,
        entity: fc.constantFrom('x', 'y', 'z'),
        priority: fc.constantFrom<Priority>('critical', 'high', 'normal'),
      }),
      fc.record({ do: fc.constant('remove' as const), order }),
      fc.record({ do: fc.constant('fly' as const), orders: fc.uniqueArray(order, { maxLength: 4 }) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom<Priority>('critical', 'high', 'normal'),
        (steps, least) => {
          const queue = new OfflineQueue([]);
          const model = new Map<number, QueuedChange>();
          let flying: number[] = [];
          for (const one of steps) {
            if (one.do === 'fly') {
              flying = one.orders;
              queue.markInFlight(one.orders.map((n) => `a:${n}`));
            } else if (one.do === 'remove') {
              model.delete(one.order);
              queue.remove(`a:${one.order}`);
            } else {
              const next = queued(one.order, model.get(one.order)?.change.entityId ?? one.entity, one.priority);
              model.set(one.order, next);
              queue.put(next);
            }
          }
          const rank = (priority: Priority | undefined) => ['critical', 'high', 'normal'].indexOf(priority ?? 'normal');
          const unsent = [...model.values()]
            .filter(({ order: n }) => !flying.includes(n))
            .sort((a, b) => a.order - b.order);
          const wanted = unsent.filter(({ change }) => rank(change.priority) <= rank(least));
          const expected: QueuedChange[] = [];
          // Each behind what it depends on, and nothing else with it.
          for (const one of [...wanted].sort((a, b) => rank(a.change.priority) - rank(b.change.priority))) {
            const needed = unsent.filter(({ order: n, change }) => {
              return n <= one.order && change.entityId === one.change.entityId;
            });
            expected.push(...needed.filter((queued) => !expected.includes(queued)));
          }
          expect(idsOf(queue.select({ ...all, least }))).toEqual(idsOf(expected));
          expect(queue.hasUnsent(least, NOW)).toBe(wanted.length > 0);
          const counts = queue.stats(NOW);
          expect(counts.total).toBe(model.size);
          expect(counts.bytes).toBe(model.size * 100);
        },
      ),
    );
  });
});

describe('changes that go into one another', () => {
  const settle = async (world: World, ...nodes: Node[]) => {
    for (let round = 0; round < 2; round += 1) for (const node of nodes) await node.link.sync();
    return world.cloudStore.readNode(nodes[0]?.nodeId ?? ('a' as never))?.received;
  };

  test('a sensor that wrote 10,000 times offline uploads one record, and its counters are all known', async () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    for (let n = 1; n <= 10_000; n += 1) a.put(n % 2 === 0 ? 'even' : 'odd', { n });
    expect(a.replica.queueStats().pending).toBe(2);
    expect(await settle(world, a, b)).toEqual({ upTo: 10_000, extra: [] });
    const sent = a.exchanges.flatMap(({ batch }) => batch.changes);
    expect(sent.map(({ data }) => data)).toEqual([{ n: 9_999 }, { n: 10_000 }]);
    expect(b.list()).toEqual({ even: { n: 10_000 }, odd: { n: 9_999 } });
  });

  test('[S11] what was made and deleted is never sent, and leaves no hole; a restart does not use its counters again', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    a.write('x', { kind: 'delete' });
    expect(a.replica.queueStats().total).toBe(0);
    a.restart();
    expect(a.put('y', { n: 2 })).toBe('a:3');
    expect(await settle(world, a)).toEqual({ upTo: 3, extra: [] });
    expect(a.exchanges.flatMap(({ batch }) => batch.changes)).toHaveLength(1);
  });

  test('[I2] what may have left stays as it is: after a batch, and after a restart', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    a.fault = 'answer-lost';
    await a.link.sync();
    const increment = () => a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
    a.restart();
    increment();
    increment();
    expect(a.replica.queueStats().total).toBe(2);
    await settle(world, a);
    expect(a.read('x')).toEqual({ n: 3 });
  });

  test('[S11] what never left goes on to, over any number of restarts', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const increment = () => a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
    a.put('x', { n: 0 });
    await a.link.sync();
    a.beforeCall = () => {
      throw new SyncError('cloud_unavailable', 'away');
    };
    a.restart();
    a.put('new', { n: 0 });
    await a.link.sync();
    for (let n = 0; n < 20; n += 1) {
      increment();
      a.put('new', { n });
      a.put('newer', { n });
      a.restart();
    }
    // What was in a batch, and what is in the places behind it until the next start, counts as sent.
    const { items } = a.replica.listQueue(undefined, 0, 100);
    expect(items.map(({ change }) => change.entityId)).toEqual(['new', 'x', 'new', 'newer', 'x', 'new', 'newer']);
    a.beforeCall = () => undefined;
    expect(await settle(world, a)).toEqual({ upTo: 62, extra: [] });
    expect(a.list()).toEqual({ x: { n: 20 }, new: { n: 19 }, newer: { n: 19 } });
  });

  test('[I2] [S11] what others have written since then on its record, or deleted, ends that, also over a restart', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    for (const id of ['x', 'y', 'z']) a.put(id, { n: 0 });
    await settle(world, a, b);
    a.put('v', { n: 1 });
    a.restart();
    for (const id of ['x', 'y', 'z', 'w']) a.put(id, { n: 1 });
    b.put('x', { n: 0, by: 'b' });
    b.write('y', { kind: 'delete' });
    b.put('w', { n: 1, by: 'b' });
    await b.link.sync();
    pull(world, a);
    a.restart();
    for (const id of ['x', 'y', 'z', 'w']) a.put(id, { n: 2 });
    const { items } = a.replica.listQueue(undefined, 0, 100);
    expect(items.map(({ change }) => change.entityId)).toEqual(['v', 'x', 'y', 'z', 'w', 'x', 'y', 'w']);
  });

  test('[I10] [S16] so many counters that stand for nothing are told in parts', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const pairs = LIMITS.intervals + 10;
    for (let n = 0; n < pairs; n += 1) {
      a.put(`e${n}`, { n });
      a.put('gone', { n });
      a.write('gone', { kind: 'delete' });
    }
    await a.link.sync();
    expect(a.exchanges[0]?.batch.void).toHaveLength(LIMITS.intervals);
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 3 * pairs, extra: [] });
  });

  test('where the policy or the write says so, every step goes', async () => {
    const strict = new Node(new World({ policy: { coalesce: false } }), 'a');
    const usual = new Node(new World(), 'a');
    for (const node of [strict, usual]) for (let n = 0; n < 3; n += 1) node.put('x', { n });
    expect([strict.replica.queueStats().total, usual.replica.queueStats().total]).toEqual([3, 1]);
    usual.replica.write(
      { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 9 }, coalesce: false },
      {},
    );
    expect(usual.replica.queueStats().total).toBe(2);
  });

  test('what was written before a change from elsewhere arrived, and what was written after it, stay two', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 1, m: 1 });
    await settle(world, a, b);
    b.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'm', value: 2 }] });
    await b.link.sync();
    a.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'n', value: 2 }] });
    // A pull in between that takes nothing of the queue.
    a.fault = 'request-lost';
    await a.link.sync();
    a.restart();
    a.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'n', value: 3 }] });
    expect(a.replica.queueStats().total).toBe(2);
    await settle(world, a, b);
    expect(b.read('x')).toEqual({ n: 3, m: 2 });
  });
});

describe('what may not go into one another', () => {
  const merging = () => {
    const world = new World({ policy: { conflict: 'manual', onCreate: 'rename' } });
    return { world, a: new Node(world, 'a'), b: new Node(world, 'b') };
  };

  test('[I6] a write of who has seen what the node has not, and one of who has not', async () => {
    const { a } = merging();
    a.put('x', { n: 2 });
    a.replica.write(
      { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 3 } },
      { clock: { cloud: 1 } },
    );
    expect(a.replica.queueStats().total).toBe(2);
    a.replica.write(
      { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 4 } },
      { clock: { cloud: 1 } },
    );
    expect(a.replica.queueStats().total).toBe(2);
  });

  test('[I6] nor where what was seen is of a node that the cloud has not heard of yet', () => {
    const { a } = merging();
    const write = (n: number, seen: number) => {
      a.replica.write({ entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n } }, { clock: { b: seen } });
    };
    a.put('x', { n: 1 });
    write(2, 1);
    expect(a.replica.queueStats().total).toBe(2);
    write(3, 1);
    expect(a.replica.queueStats().total).toBe(2);
    write(4, 2);
    const written = [...a.replica.queued()].map(({ change: { base, data } }) => ({ seen: base['b'], data }));
    expect(written).toEqual([
      { seen: undefined, data: { n: 1 } },
      { seen: 1, data: { n: 3 } },
      { seen: 2, data: { n: 4 } },
    ]);
  });

  test('[I12] what was written on a record before all was read again, where it is gone, and what was written after it', async () => {
    const { world, a, b } = merging();
    b.put('x', { n: 1 });
    await b.link.sync();
    a.entityTypes = [TYPE];
    a.restart();
    await a.link.sync();
    b.write('x', { kind: 'delete' });
    await b.link.sync();
    // It asks for more types than it had, and so begins at 0, where what was deleted is left out.
    a.entityTypes = undefined;
    a.restart();
    const { sessionId } = world.responder.connect({ nodeId: a.nodeId, protocol: 1 });
    const all = a.replica.nextBatch('all', { maxChanges: 9, maxBytes: 1e6, least: 'normal' }, []);
    a.put('x', { n: 2 });
    const answer = world.responder.exchange(sessionId, batchSchema.parse(all), { nodeId: a.nodeId, relay: false });
    expect(answer).toMatchObject({ more: false, changes: [] });
    a.replica.confirm(all, answer, world.nowMs);
    expect(all.cursor).toBe(0);
    a.put('x', { n: 3 });
    expect([...a.replica.queued()].map(({ change: { operation, data } }) => [operation, data])).toEqual([
      ['update', { n: 2 }],
      ['update', { n: 3 }],
    ]);
  });

  test('[I12] what was written before a record was deleted elsewhere, and what was written after it', async () => {
    const { a, b } = merging();
    await a.link.sync();
    b.put('x', { n: 1 });
    await b.link.sync();
    b.write('x', { kind: 'delete' });
    await b.link.sync();
    const bounds = { maxChanges: 9, maxBytes: 1e6, least: 'normal' } as const;
    const read = a.replica.nextBatch('read', bounds, []);
    a.put('x', { n: 2 });
    const { exchanges } = b;
    const deletion = exchanges.flatMap(({ batch }) => batch.changes).find(({ operation }) => operation === 'delete');
    if (deletion?.operation !== 'delete') throw new Error('nothing was deleted');
    const { entityType, stamp, id: version } = deletion;
    const remote = {
      entityType,
      entityId: entityId('x'),
      seq: 2,
      version,
      stamp,
      operation: 'delete',
      origin: 'b',
    } as const;
    const page = { changes: [remote], cursor: 2, more: false, vectorClock: { cloud: 2 }, serverTime: 0 };
    a.replica.confirm(read, { batchId: 'read', results: [], ...page }, 1);
    a.put('x', { n: 3 });
    expect(a.replica.queueStats().total).toBe(2);
  });
});

test('[I6] what went into a change that waits is not said to be in the cloud before that is', async () => {
  const world = new World();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const n of [1, 2]) a.put('x', { n });
  const bounds = { maxChanges: 9, maxBytes: 1e6, least: 'critical' } as const;
  expect(a.replica.nextBatch('held', bounds, []).void).toBeUndefined();
  expect(a.replica.hasUnsent('critical')).toBe(false);
  a.restart();
  expect(a.replica.nextBatch('held', bounds, []).void).toBeUndefined();
  await a.link.sync();
  expect((await b.link.sync({ requires: { [a.nodeId]: 1 } })).covered).toBe(true);
  expect(b.read('x')).toEqual({ n: 2 });
});

test('[I6] nor before a change that has to be sent once more has been', async () => {
  const world = new World({ policy: { conflict: 'custom', custom: 'node' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 0 });
  for (let round = 0; round < 2; round += 1) for (const node of [a, b]) await node.link.sync();
  b.put('x', { n: 1 });
  await b.link.sync();
  for (const n of [2, 3]) a.put('x', { n });
  const received: (number | undefined)[] = [];
  a.resolve = () => {
    received.push(world.cloudStore.readNode(a.nodeId)?.received.upTo);
    return { winner: 'remote', resolvedData: { n: 3 } };
  };
  await a.link.sync();
  expect(received).toEqual([1]);
  expect(world.cloudStore.readNode(a.nodeId)?.received.upTo).toBe(3);
});

test('[I5] behind a change that its node has to resolve nothing goes, of other records neither, also between two pages', async () => {
  const world = new World({ policy: { conflict: 'custom', custom: 'node' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 0 });
  for (const node of [a, b]) await node.link.sync();
  b.put('x', { n: 1 });
  for (const id of ['p', 'q', 'r']) b.put(id, { n: 1 });
  await b.link.sync();
  world.pageLimit = 1;
  a.put('x', { n: 2 });
  a.resolve = () => ({ winner: 'remote', resolvedData: { n: 2 } });
  a.beforeExchange = async () => {
    // The batch with the change is on its way.
    a.beforeExchange = async () => undefined;
    a.put('y', { n: 2 });
  };
  await a.link.sync();
  const sent = a.exchanges
    .slice(1)
    .map(({ batch: { changes }, answer: { more } }) => [more, changes.map(({ id }) => id)]);
  expect(sent.slice(0, 2)).toEqual([
    [true, ['a:2']],
    [true, []],
  ]);
  expect(sent.filter(([, ids]) => JSON.stringify(ids).includes('a:3'))).toEqual([[expect.anything(), ['a:2', 'a:3']]]);
});

test('[I5] what gets new counters keeps its order', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  await a.link.sync();
  a.restartEmpty();
  for (const id of ['x', 'y', 'x']) a.put(id, { n: 2 });
  await a.link.sync();
  expect(a.exchanges.at(-1)?.batch.changes.map(({ entityId: id }) => id)).toEqual(['x', 'y']);
});

describe('what the cloud has', () => {
  test('stays for a day, and its rows are used again after that', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const write = async (count: number) => {
      for (let n = 0; n < count; n += 1) a.put(`e${n}`, { at: world.nowMs });
      await a.link.sync();
    };
    await write(5);
    expect(a.store.lastSlot()).toBe(5);
    world.nowMs += 3_600_000;
    await write(3);
    expect(a.store.lastSlot()).toBe(8);
    world.nowMs += LIMITS.retainSyncedMs;
    await write(7);
    expect(a.store.lastSlot()).toBe(8);
    a.restart();
    await write(1);
    expect(a.store.lastSlot()).toBeLessThanOrEqual(9);
  });

  test('[S18] its rows are used again at a node that lost its storage, too, where a change had to be sent twice', async () => {
    const world = new World({ policy: { conflict: 'merge', coalesce: false } });
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.restartEmpty();
    world.nowMs += 1;
    a.put('x', { n: 2 });
    a.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'm', value: 3 }] });
    await a.link.sync();
    const results = a.exchanges.flatMap(({ answer }) => answer.results);
    expect(results.map(({ id, status }) => `${id} ${status}`).slice(1)).toEqual([
      'a:3 applied',
      'a:4 needs-full',
      'a:4 applied',
    ]);
    world.nowMs += 3_600_000;
    a.put('y', { n: 4 });
    await a.link.sync();
    expect(a.store.lastSlot()).toBe(3);
    world.nowMs += LIMITS.retainSyncedMs;
    for (const id of ['p', 'q', 'r']) a.put(id, { n: 5 });
    expect(a.store.lastSlot()).toBe(3);
  });

  test('[I1] is given back to a cloud that lost it', async () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 1 });
    await a.link.sync();
    a.put('y', { n: 2 });
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
    world.loseCloud();
    await a.link.sync();
    await a.link.sync();
    await b.link.sync();
    expect(b.list()).toEqual({ x: { n: 1 }, y: { n: 2 } });
    expect(a.list()).toEqual(b.list());
  });

  test('[I2] [S11] and counts as sent then, also after a restart', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    for (let start = 0; start < 3; start += 1) {
      a.restart();
      for (let n = 0; n < 50; n += 1) a.put(`e${start}-${n}`, { n });
      await a.link.sync();
    }
    world.loseCloud();
    a.beforeCall = (call) => {
      if (call === 'exchange') throw new SyncError('cloud_unavailable', 'away');
    };
    a.replica.saveSession(null);
    await a.link.sync();
    const { items } = a.replica.listQueue(undefined, 0, 1_000);
    expect(items).toHaveLength(150);
    expect(a.store.readMeta()?.sentTo).toBeGreaterThanOrEqual(items.at(-1)?.order ?? 0);
  });
});

describe('dead letters', () => {
  const strict = async () => {
    const world = new World({ policy: { coalesce: false } });
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    await a.link.sync();
    world.refuse = (change) => change.data?.['bad'] === true;
    const bad = a.put('x', { bad: true });
    a.put('y', { n: 2 });
    await a.link.sync();
    return { world, a, bad };
  };

  test('[I11] [S12] a change that is refused is dead, with its reason; the record is what it was without it', async () => {
    const { a, bad } = await strict();
    expect(a.list()).toEqual({ x: { n: 1 }, y: { n: 2 } });
    const { items } = a.replica.listQueue('dead', 0, 10);
    expect(items).toMatchObject([{ change: { id: bad }, status: 'dead', error: { code: 'invalid_data' } }]);
  });

  test('[S12] can be sent again, as it is or mended, under a new counter', async () => {
    const { world, a, bad } = await strict();
    const again = a.replica.retryDead(bad);
    expect(dotOf({ id: again }).counter).toBeGreaterThan(dotOf({ id: bad }).counter);
    await a.link.sync();
    const { items } = a.replica.listQueue('dead', 0, 10);
    expect(items.map(({ change }) => change.id)).toEqual([again]);
    a.replica.retryDead(again, { mended: true });
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
    expect(a.read('x')).toEqual({ mended: true });
    expect(world.cloudStore.readNode(a.nodeId)?.received.extra).toEqual([]);
  });

  test('is sent again from the row that it has', async () => {
    const { a, bad } = await strict();
    const last = a.store.lastSlot();
    a.replica.retryDead(bad, { mended: true });
    a.put('z', { n: 3 });
    expect(a.store.lastSlot()).toBe(last + 1);
  });

  test('can be given up; what is not dead can not', async () => {
    const { world, a, bad } = await strict();
    const pending = a.put('z', { n: 3 });
    expect(() => a.replica.discardDead(pending)).toThrow(expect.objectContaining({ code: 'not_dead' }));
    expect(() => a.replica.retryDead(pending)).toThrow(expect.objectContaining({ code: 'not_dead' }));
    expect(() => a.replica.discardDead('a:99')).toThrow(expect.objectContaining({ code: 'not_found' }));
    a.replica.discardDead(bad);
    a.restart();
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
    expect(world.cloudStore.readNode(a.nodeId)?.received.extra).toEqual([]);
  });
});

describe('a dead letter that is edited', () => {
  test.each([
    ['rename', { x: { by: 'b' }, 'x~a': { by: 'a' } }],
    ['merge', { x: { by: 'a', of: 'b' } }],
  ] as const)('[S2] [S12] makes a record still, where it did: %s', async (onCreate, records) => {
    const world = new World({ policy: { onCreate } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    await a.link.sync();
    world.refuse = ({ data }) => data?.['bad'] === true;
    const bad = a.put('x', { bad: true });
    await a.link.sync();
    b.put('x', onCreate === 'merge' ? { by: 'b', of: 'b' } : { by: 'b' });
    await b.link.sync();
    world.nowMs += 1;
    a.replica.retryDead(bad, { by: 'a' });
    await a.link.sync();
    await b.link.sync();
    expect(b.list()).toEqual(records);
  });

  test('[S4] [S12] is a write of now, still answers the conflict that its node was asked for, and has to fit as any', async () => {
    const world = new World({ policy: { conflict: 'custom', custom: 'node' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 0 });
    await a.link.sync();
    await b.link.sync();
    a.resolve = () => ({ winner: 'merged', resolvedData: { bad: true }, metadata: { reason: 'a test' } }) as never;
    world.refuse = ({ data }) => data?.['bad'] === true;
    b.put('x', { n: 1 });
    await b.link.sync();
    const answer = a.put('x', { n: 2 });
    await a.link.sync();
    const [dead] = a.replica.listQueue('dead', 0, 10).items;
    expect(dead?.change).toMatchObject({ id: answer, resolves: { attempts: 1 } });
    expect(() => a.replica.retryDead(answer, { text: 'x'.repeat(LIMITS.recordBytes) })).toThrow(
      expect.objectContaining({ code: 'too_large' }),
    );
    expect(a.replica.queueStats()).toMatchObject({ dead: 1, pending: 0 });
    world.nowMs += 60_000;
    const again = a.replica.retryDead(answer, { n: 3 });
    const [waiting] = a.replica.listQueue('pending', 0, 10).items;
    expect(waiting?.change.id).toBe(again);
    expect(waiting?.change.resolves).toMatchObject({ conflictId: 'c000000000001', attempts: 0 });
    expect((waiting?.change.stamp ?? '') > (dead?.change.stamp ?? '')).toBe(true);
    expect(parseStamp(waiting?.change.stamp as Stamp)?.wallMs).toBe(world.nowMs);
  });
});

describe('[I10] dead letters', () => {
  const big = 'x'.repeat(200_000);
  async function full() {
    const world = new World({ policy: { coalesce: false } });
    const a = new Node(world, 'a');
    world.refuse = ({ data }) => data?.['bad'] === true;
    const fill = async () => {
      for (let n = 0; n < 84; n += 1) {
        a.put(`d${n}`, { bad: true, big });
        if (n % 20 === 19) await a.link.sync();
      }
    };
    await fill();
    await a.link.sync();
    return { world, a };
  }

  test('take no room of what waits; beyond their own bound a write is refused, which says so', async () => {
    const { a } = await full();
    expect(a.replica.queueStats().bytes).toBeGreaterThan(LIMITS.deadBytes);
    const write = () => a.put('y', { n: 1 });
    expect(write).toThrow(
      expect.objectContaining({ code: 'queue_full', message: expect.stringContaining('dead letters') }),
    );
    const [dead, other] = a.replica.listQueue('dead', 0, 2).items;
    a.replica.discardDead(dead?.change.id ?? '');
    expect(write()).toBeDefined();
    a.restart();
    expect(write()).toBeDefined();
    expect(a.replica.retryDead(other?.change.id ?? '')).toBeDefined();
  });

  test('are sent again only as far as there is room for what waits', async () => {
    const { a } = await full();
    const { total } = a.replica.queueStats();
    const retry = () => {
      for (;;) a.replica.retryDead(a.replica.listQueue('dead', 0, 1).items[0]?.change.id ?? '');
    };
    expect(retry).toThrow(expect.objectContaining({ code: 'queue_full', details: { retryAfterMs: 30_000 } }));
    expect(a.replica.queueStats()).toMatchObject({ total, dead: 1 });
  });
});

test('[I10] a write costs no more where many of its record wait', () => {
  const { policies, clock } = new World({ policy: { coalesce: false } });
  let looks = 0;
  const types = new Proxy(policies.types, {
    get: (target, name, receiver) => {
      looks += 1;
      return Reflect.get(target, name, receiver);
    },
    getOwnPropertyDescriptor: (target, name) => {
      looks += 1;
      return Reflect.getOwnPropertyDescriptor(target, name);
    },
  });
  const store = new MemoryReplicaStore();
  const replica = new Replica({ store, nodeId: nodeId('a'), policies: { ...policies, types }, clock });
  const write = (n: number) => {
    const before = looks;
    replica.write({ entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n } }, {});
    return looks - before;
  };
  const costs = Array.from({ length: 100 }, (_, n) => write(n));
  expect(Math.max(...costs)).toBeLessThanOrEqual(20);
  expect(costs[99]).toBeGreaterThan(0);
  expect(replica.read(entityKey({ entityType: TYPE, entityId: entityId('x') }))?.data).toEqual({ n: 99 });
});

test('[I4] what waits is made of what is confirmed now, also where several changes of a record wait', async () => {
  const world = new World({ policy: { conflict: 'merge', coalesce: false } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 0 });
  for (const node of [a, b]) await node.link.sync();
  const increment = () => a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
  for (let n = 0; n < 3; n += 1) increment();
  expect(a.read('x')).toEqual({ n: 3 });
  b.put('x', { n: 0, by: 'b' });
  await b.link.sync();
  pull(world, a);
  expect(a.read('x')).toEqual({ n: 3, by: 'b' });
  increment();
  expect(a.read('x')).toEqual({ n: 4, by: 'b' });
});

test('[I10] what goes into another one counts once', () => {
  const a = new Node(new World(), 'a');
  const big = 'x'.repeat(230_000);
  for (let n = 0; n < 72; n += 1) a.put(`e${n}`, { big });
  expect(() => a.put('e99', { big })).toThrow(expect.objectContaining({ code: 'queue_full' }));
  for (let n = 0; n < 72; n += 1) expect(a.put(`e${n}`, { big, n })).toBeDefined();
});

test('[I10] a list of what waits is bounded in bytes', () => {
  const a = new Node(new World(), 'a');
  for (let n = 0; n < 9; n += 1) a.put(`e${n}`, { big: 'x'.repeat(200_000) });
  const { items, next } = a.replica.listQueue(undefined, 0, 100);
  expect(items).toHaveLength(2);
  expect(a.replica.listQueue(undefined, next ?? 0, 100).items.map(({ change }) => change.entityId)).toEqual([
    'e2',
    'e3',
  ]);
});

test('[I10] a queue that is full refuses a write, and keeps what it has', () => {
  const a = new Node(new World({ policy: { coalesce: false } }), 'a');
  const data = { text: 'x'.repeat(200_000) };
  const fill = () => {
    for (let n = 0; n < 200; n += 1) a.put(`e${n}`, data);
  };
  expect(fill).toThrow(expect.objectContaining({ code: 'queue_full' }));
  const { total, bytes } = a.replica.queueStats();
  expect(bytes).toBeLessThanOrEqual(LIMITS.queueBytes);
  a.restart();
  expect(a.replica.queueStats()).toMatchObject({ total, bytes });
});
