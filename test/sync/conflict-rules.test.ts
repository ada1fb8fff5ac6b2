import { describe, expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policy } from '../../src/core/policy.ts';
import type { Resolver, ResolverInput } from '../../src/core/resolver.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { utf8Bytes } from '../../src/protocol/record.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import { awaitResolution } from '../../src/sync/late-resolution.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

/** Two nodes that begin with the same record, and a third that only reads. */
async function began(policy: Partial<Policy>) {
  const world = new World({ policy });
  const [a, b, c] = [new Node(world, 'a'), new Node(world, 'b'), new Node(world, 'c')];
  a.put('x', { a: { p: 1, q: 1 }, n: 10, list: [1], text: 'long enough that a field is worth sending by itself' });
  await syncAll(a, b, c);
  return { world, a, b, c };
}

async function syncAll(...nodes: Node[]): Promise<void> {
  for (let round = 0; round < 2; round += 1) for (const node of nodes) await node.link.sync();
}

function conflicts(world: World) {
  return world.cloudStore.listConflicts({ status: 'all', after: '', limit: 100 });
}

function expectAgreement(world: World, ...nodes: Node[]): void {
  for (const node of nodes) {
    expect(node.replica.meta.digestMismatches).toBe(0);
    expect(node.replica.queueStats().total).toBe(0);
    expect(node.replica.meta.cursor).toBe(world.sequencer.meta.seq);
    expect(node.list()).toEqual(nodes[0]?.list());
  }
}

const patch = (op: 'set' | 'increment' | 'push' | 'pull', path: string, value: number | string) =>
  ({ kind: 'patch', operations: [{ op, path, value } as never] }) as const;

describe('merge', () => {
  test('[I3] fields that only one side changed both apply, by operations and by whole records', async () => {
    const { world, a, b, c } = await began({ conflict: 'merge' });
    a.write('x', patch('set', 'a.p', 2));
    b.put('x', { ...b.read('x'), a: { p: 1, q: 3 } });
    await syncAll(a, b, c);
    expect(c.read('x')).toMatchObject({ a: { p: 2, q: 3 }, n: 10 });
    expectAgreement(world, a, b, c);
    expect(conflicts(world)).toMatchObject([
      {
        type: 'update-update',
        base: { data: { a: { p: 1, q: 1 } } },
        local: { data: { a: { p: 2, q: 1 } } },
        remote: { version: 'b:1', data: { a: { p: 1, q: 3 } } },
        resolution: { winner: 'merged', resolvedData: { a: { p: 2, q: 3 } }, metadata: { strategy: 'merge' } },
        status: 'resolved',
      },
    ]);
  });

  test('increments add up, pushes and pulls both apply, and the later of two values stays', async () => {
    const { world, a, b, c } = await began({ conflict: 'merge' });
    a.write('x', patch('increment', 'n', 1));
    a.write('x', patch('push', 'list', 2));
    a.write('x', patch('set', 'a.p', 'of a'));
    world.nowMs += 10;
    b.write('x', patch('increment', 'n', 1));
    b.write('x', patch('pull', 'list', 1));
    b.write('x', patch('set', 'a.p', 'of b'));
    await syncAll(b, a, c);
    expect(c.read('x')).toMatchObject({ n: 12, list: [2], a: { p: 'of b', q: 1 } });
    expectAgreement(world, a, b, c);
  });

  test('[I1] [S4] a write that changes nothing takes nothing back that others wrote, and its record says so', async () => {
    const { world, a, b, c } = await began({ conflict: 'merge' });
    a.write('x', patch('set', 'n', 11));
    world.nowMs += 10;
    b.put('x', made(b.read('x')));
    b.write('x', { kind: 'merge-patch', patch: {} });
    await syncAll(a, b, c);
    expect(c.read('x')).toMatchObject({ n: 11 });
    expectAgreement(world, a, b, c);
    const metadata = { strategy: 'merge', reason: 'what came in changes nothing of what is here' };
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', resolution: { winner: 'local', metadata } }]);
  });

  test('[I3] a write that changes more fields than operations may say counts as all of its record', async () => {
    const { world, a, b, c } = await began({ conflict: 'merge' });
    const wide = Object.fromEntries(Array.from({ length: LIMITS.operations }, (_, index) => [`f${index}`, 1]));
    a.write('x', patch('set', 'n', 11));
    a.write('x', patch('set', 'of-a', 1));
    world.nowMs += 10;
    b.put('x', { ...b.read('x'), ...wide, last: 1 });
    await syncAll(a, b, c);
    // The later stamp's, also of what it left as it was; of what it doesn't name it says nothing.
    expect(c.read('x')).toMatchObject({ n: 10, 'of-a': 1, f0: 1, last: 1 });
    expectAgreement(world, a, b, c);
  });

  test('[I2] an increment whose answer was lost counts once', async () => {
    const { world, a, b, c } = await began({ conflict: 'merge' });
    b.write('x', patch('increment', 'n', 5));
    await b.link.sync();
    a.write('x', patch('increment', 'n', 1));
    a.fault = 'answer-lost';
    await a.link.sync();
    a.restart();
    await syncAll(a, b, c);
    expect(c.read('x')?.['n']).toBe(16);
    expectAgreement(world, a, b, c);
  });

  test('two creations keep what only one of them has', async () => {
    const world = new World();
    const [a, b, c] = [new Node(world, 'a'), new Node(world, 'b'), new Node(world, 'c')];
    a.put('y', { ofA: 1, both: 'a' });
    world.nowMs += 10;
    b.put('y', { ofB: 1, both: 'b' });
    await syncAll(b, a, c);
    expect(c.read('y')).toEqual({ ofA: 1, ofB: 1, both: 'b' });
    expectAgreement(world, a, b, c);
  });
});

test('[S2] lww: of two records the later stays whole; two that count to the same are no agreement', async () => {
  const { world, a, b, c } = await began({ conflict: 'lww' });
  a.write('x', patch('increment', 'n', 1));
  b.write('x', patch('increment', 'n', 1));
  await syncAll(a, b, c);
  expect(c.read('x')?.['n']).toBe(11);
  expect(conflicts(world)).toMatchObject([{ resolution: { metadata: { strategy: 'lww' } } }]);
  expectAgreement(world, a, b, c);
});

test('manual: what the cloud has stays, and the conflict is open', async () => {
  const { world, a, b, c } = await began({ conflict: 'manual' });
  a.write('x', patch('set', 'n', 1));
  world.nowMs += 10;
  b.write('x', patch('set', 'n', 2));
  await syncAll(a, b, c);
  expect(c.read('x')?.['n']).toBe(1);
  expectAgreement(world, a, b, c);
  expect(conflicts(world)).toMatchObject([{ status: 'open', local: { data: { n: 1 } }, remote: { data: { n: 2 } } }]);
});

describe('rename', () => {
  test('[I1] both records stay; what the second writer wrote after its creation goes to its new id', async () => {
    const world = new World({ policy: { onCreate: 'rename' } });
    const [a, b, c] = [new Node(world, 'a'), new Node(world, 'b'), new Node(world, 'c')];
    a.put('x', { by: 'a' });
    b.put('x', { by: 'b' });
    for (let n = 1; n <= 4; n += 1) b.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'n', value: n }] });
    await syncAll(a, b, c);
    expect(c.list()).toEqual({ x: { by: 'a' }, 'x~b': { by: 'b', n: 4 } });
    expectAgreement(world, a, b, c);
    // From now on both mean what they say.
    b.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'seen', value: true }] });
    await syncAll(a, b, c);
    expect(c.read('x')).toEqual({ by: 'a', seen: true });
    expect(conflicts(world)).toMatchObject([
      { type: 'create-create', resolution: { metadata: { strategy: 'rename' } } },
    ]);
  });

  test('also where the answer that said so was lost', async () => {
    const world = new World({ policy: { onCreate: 'rename' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { by: 'a' });
    await a.link.sync();
    b.put('x', { by: 'b' });
    b.fault = 'answer-lost';
    await b.link.sync();
    b.restart();
    b.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'n', value: 1 }] });
    await syncAll(b, a);
    expect(a.list()).toEqual({ x: { by: 'a' }, 'x~b': { by: 'b', n: 1 } });
    expectAgreement(world, a, b);
  });
});

describe('custom', () => {
  const sum: Resolver = ({ local, remote }) => ({
    winner: 'merged',
    resolvedData: { ...local.data, n: Number(local.data['n']) + Number(remote.data['n']) },
    metadata: { reason: 'both count' },
  });

  async function bothWrite(custom: Policy['custom'], onNode?: Resolver) {
    const { world, a, b, c } = await began({ conflict: 'custom', custom });
    b.resolve = onNode;
    a.write('x', patch('set', 'n', 1));
    world.nowMs += 10;
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b, c);
    return { world, a, b, c };
  }

  test('in the cloud: its answer is what becomes of the two', async () => {
    const asked: ResolverInput[] = [];
    const resolver: Resolver = (conflict) => {
      asked.push(conflict);
      return sum(conflict);
    };
    const { world, a, b, c } = await bothWrite(resolver);
    expect(c.read('x')?.['n']).toBe(3);
    expectAgreement(world, a, b, c);
    expect(asked.at(-1)).toMatchObject({
      kind: 'update-update',
      local: { data: { n: 1 } },
      remote: { data: { n: 2 }, version: 'b:1' },
    });
    const metadata = { strategy: 'custom', reason: 'both count' };
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', resolution: { winner: 'merged', metadata } }]);
  });

  test.each<[string, Resolver]>([
    [
      'throws',
      () => {
        throw new Error('not today');
      },
    ],
    ['answers nonsense', () => ({ winner: 'nobody' }) as never],
    ['answers what may not be stored', () => ({ winner: 'merged', resolvedData: { big: 'x'.repeat(300_000) } })],
  ])('[I1] [S3] a resolver that %s leaves the conflict to people, and nothing is lost', async (_, resolver) => {
    const { world, a, b, c } = await bothWrite(resolver);
    expect(c.read('x')?.['n']).toBe(1);
    expectAgreement(world, a, b, c);
    expect(conflicts(world)).toMatchObject([{ status: 'open', local: { data: { n: 1 } }, remote: { data: { n: 2 } } }]);
  });

  /** Things that code which nothing is known about may throw or answer. */
  const odd: [string, () => unknown, string][] = [
    ['throws what is no text', () => raise(Object.create(null)), 'it does not say why'],
    ['throws a symbol', () => raise(Symbol('odd')), 'Symbol(odd)'],
    ['throws an error that throws', () => raise(errorOf({ get: () => raise(new Error('again')) })), 'it does not say'],
    ['throws an error without a text', () => raise(errorOf({ value: Object.create(null) })), 'it does not say why'],
    ['throws half a surrogate pair', () => raise(new Error('\ud800')), '\ufffd'],
    ['answers what throws when it is asked', () => new Proxy({}, { has: () => raise(new Error('has')) }), 'has'],
  ];

  test.each(odd)('[I1] [S3] one that %s too, and reads go on', async (_, resolver, reason) => {
    const { world, a, b, c } = await bothWrite(resolver as Resolver);
    expect(c.read('x')?.['n']).toBe(1);
    expectAgreement(world, a, b, c);
    const metadata = { reason: expect.stringContaining(`the resolver failed: ${reason}`) };
    expect(conflicts(world)).toMatchObject([{ status: 'open', resolution: { metadata } }]);
  });

  test('[S3] of an error a record keeps no more than a reason may have', async () => {
    const { world } = await bothWrite(() => raise(new Error('x'.repeat(100_000))));
    expect(conflicts(world)[0]?.resolution.metadata.reason).toBe(`the resolver failed: ${'x'.repeat(1_024)}`);
  });

  const settleBoth = (settle: (value: unknown) => void) => settle({ winner: 'merged', resolvedData: { n: 'both' } });
  const thenables: [string, () => unknown, unknown][] = [
    ['throws', () => thenable({}, () => raise(new Error('odd'))), 1],
    ['returns nothing', () => thenable({}, settleBoth), 'both'],
    ['is that of a function', () => thenable(() => 1, settleBoth), 'both'],
  ];

  test.each(thenables)('[I1] [S3] one whose `then` %s is waited for, as any', async (_, resolver, n) => {
    const { world, a, b, c } = await bothWrite(resolver as Resolver);
    for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
    await syncAll(a, b, c);
    expect(world.awaited).toHaveLength(1);
    expect(c.read('x')?.['n']).toBe(n);
    expectAgreement(world, a, b, c);
  });

  test('[S3] one that rejects where nobody waits for it ends nothing', async () => {
    const rejected: unknown[] = [];
    const note = (reason: unknown) => rejected.push(reason);
    process.on('unhandledRejection', note);
    const { b } = await bothWrite(() => Promise.reject(new Error('nobody waits')));
    expect(b.read('x')).toBeDefined();
    await new Promise((resolve) => setImmediate(resolve));
    process.off('unhandledRejection', note);
    expect(rejected).toEqual([]);
  });

  test('a resolver that takes its time is waited for', async () => {
    const { world, a, b, c } = await bothWrite(async (conflict) => sum(conflict));
    expect(conflicts(world)).toMatchObject([{ status: 'open' }]);
    for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
    await syncAll(a, b, c);
    expect(c.read('x')?.['n']).toBe(3);
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', resolution: { winner: 'merged' } }]);
    expectAgreement(world, a, b, c);
  });

  test.each<[string, () => Promise<never>]>([
    ['fails', () => Promise.reject(new Error('not today'))],
    ['takes too long', () => new Promise<never>(() => undefined)],
  ])('[I1] one that %s in the end leaves the conflict to people', async (_, answer) => {
    const { world, a, b, c } = await bothWrite(answer);
    const atOnce = { ...world.clock, sleep: async () => undefined };
    for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, atOnce);
    await syncAll(a, b, c);
    expect(world.awaited).toHaveLength(1);
    expect(c.read('x')?.['n']).toBe(1);
    expect(conflicts(world)).toMatchObject([{ status: 'open' }]);
  });

  test('an answer that comes after the record moved on changes nothing', async () => {
    const { world, a, b, c } = await bothWrite(async (conflict) => sum(conflict));
    a.write('x', patch('set', 'n', 50));
    await syncAll(a, b, c);
    for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
    await syncAll(a, b, c);
    expect(c.read('x')?.['n']).toBe(50);
    expect(conflicts(world)).toMatchObject([{ status: 'open' }]);
  });

  test('at the node that pushed: its answer goes out again, and the conflict is told who decided', async () => {
    const { world, a, b, c } = await bothWrite('node', sum);
    expect(c.read('x')?.['n']).toBe(3);
    expectAgreement(world, a, b, c);
    const metadata = { strategy: 'custom', reason: 'both count', node: 'b' };
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', resolution: { winner: 'merged', metadata } }]);
  });

  test('[I11] [S3] three times at most, if somebody is always faster', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node' });
    let calls = 0;
    b.resolve = async (conflict) => {
      calls += 1;
      a.write('x', patch('set', 'n', 100 + calls));
      await a.link.sync();
      return await sum(conflict);
    };
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b);
    expect(calls).toBe(3);
    expect(a.read('x')?.['n']).toBe(103);
    expectAgreement(world, a, b);
    expect(conflicts(world)).toMatchObject([{ status: 'open', remote: { version: 'b:1' } }]);
  });

  test('[I1] what a node wrote stays in the record, however often its resolver gives way to others', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node' });
    let calls = 0;
    b.resolve = async ({ local }) => {
      calls += 1;
      if (calls === 1) {
        a.write('x', patch('set', 'n', 100));
        await a.link.sync();
      }
      return { winner: 'local', resolvedData: local.data };
    };
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'secret', 'of b'));
    await syncAll(a, b);
    expect(calls).toBe(2);
    expect(a.read('x')).toMatchObject({ n: 100 });
    expectAgreement(world, a, b);
    expect(conflicts(world)).toMatchObject([
      { status: 'resolved', local: { data: { n: 100 } }, remote: { version: 'b:1', data: { secret: 'of b' } } },
    ]);
  });

  test('an answer that the record has already decides the conflict', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node' });
    b.resolve = async (conflict) => {
      const answer = await sum(conflict);
      a.put('x', answer.resolvedData as JsonObject);
      await a.link.sync();
      return answer;
    };
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b);
    expect(a.read('x')?.['n']).toBe(3);
    expectAgreement(world, a, b);
    const { seq } = made(world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId('x') })));
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', seq, resolution: { resolvedData: { n: 3 } } }]);
  });

  test('so it does where that is the earlier of the two, and becomes the later', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node' });
    b.resolve = async (conflict) => {
      const answer = await sum(conflict);
      world.nowMs -= 1_000;
      a.put('x', answer.resolvedData as JsonObject);
      await a.link.sync();
      return answer;
    };
    a.write('x', patch('set', 'n', 1));
    await a.link.sync();
    world.nowMs += 2_000;
    b.write('x', patch('set', 'n', 2));
    await syncAll(b, a);
    expectAgreement(world, a, b);
    const { seq, version } = made(
      world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId('x') })),
    );
    expect(version).toBe(`cloud:${seq}`);
    expect(conflicts(world)).toMatchObject([{ status: 'resolved', seq, resolution: { resolvedData: { n: 3 } } }]);
  });

  test('an answer that meets another write wins under the name of what it is', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node', onDelete: 'delete-wins' });
    b.resolve = async () => {
      a.write('x', patch('set', 'n', 100));
      await a.link.sync();
      return { winner: 'merged', resolvedData: null };
    };
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b);
    expect(a.read('x')).toBeUndefined();
    expectAgreement(world, a, b);
    expect(conflicts(world)).toMatchObject([
      { type: 'delete-update', remote: { data: { n: 2 } }, resolution: { winner: 'merged', resolvedData: null } },
    ]);
  });

  test('where somebody decides before the node has answered, that stays', async () => {
    const { world, a, b } = await began({ conflict: 'custom', custom: 'node' });
    b.resolve = async (conflict) => {
      const { id } = made(conflicts(world)[0]);
      world.sequencer.commit((commit) => resolveConflict(commit, id, { winner: 'local' }, 'ann'));
      return await sum(conflict);
    };
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b);
    expect(a.read('x')?.['n']).toBe(1);
    expectAgreement(world, a, b);
    expect(conflicts(world)).toMatchObject([
      { status: 'resolved', decidedBy: 'ann', resolution: { winner: 'local' }, remote: { data: { n: 2 } } },
    ]);
  });

  test('what else a node says of its decision is kept, and of a long reason the beginning', async () => {
    const metadata = { reason: 'r'.repeat(5_000), score: 5 };
    const { world } = await bothWrite('node', ({ remote }) => ({
      winner: 'remote',
      resolvedData: remote.data,
      metadata,
    }));
    expect(conflicts(world)).toMatchObject([
      { status: 'resolved', resolution: { metadata: { reason: 'r'.repeat(1_024), score: 5, node: 'b' } } },
    ]);
  });

  test('[I11] a reason that is cut within a character is sent all the same', async () => {
    const reason = `${'r'.repeat(1_023)}\u{1F600}`;
    const { world } = await bothWrite('node', ({ remote }) => {
      return { winner: 'remote', resolvedData: remote.data, metadata: { reason } };
    });
    expect(conflicts(world)).toMatchObject([
      { status: 'resolved', resolution: { metadata: { reason: `${'r'.repeat(1_023)}\uFFFD` } } },
    ]);
  });

  test('[I10] an answer waits with the size that it has', async () => {
    const { a, b } = await began({ conflict: 'custom', custom: 'node' });
    const sizes: { told: number; real: number }[] = [];
    b.beforeExchange = async () => {
      for (const { change, bytes } of b.replica.queued()) {
        if (change.resolves?.metadata !== undefined) {
          sizes.push({ told: bytes, real: utf8Bytes(JSON.stringify(change)) });
        }
      }
    };
    b.resolve = ({ remote }) => ({
      winner: 'remote',
      resolvedData: remote.data,
      metadata: { reason: 'long', log: 'x'.repeat(10_000) },
    });
    a.write('x', patch('set', 'n', 1));
    b.write('x', patch('set', 'n', 2));
    await syncAll(a, b);
    expect(sizes.length).toBeGreaterThan(0);
    for (const { told, real } of sizes) expect(told).toBe(real);
    expect(a.read('x')?.['n']).toBe(2);
  });

  test.each(['local', 'remote', 'merged'] as const)(
    'whose record it is says the record that a resolver gives, not that it calls it %s',
    async (winner) => {
      for (const isLate of [false, true]) {
        for (const n of [1, 2, 55]) {
          const answer: Resolver = ({ local }) => ({ winner, resolvedData: { ...local.data, n } });
          const { world, a, b, c } = await bothWrite(isLate ? async (conflict) => answer(conflict) : answer);
          for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
          await syncAll(a, b, c);
          expect(c.read('x')?.['n']).toBe(n);
          expectAgreement(world, a, b, c);
          const { seq } = made(world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId('x') })));
          const resolution = { winner: { 1: 'local', 2: 'remote', 55: 'merged' }[n], resolvedData: { n } };
          expect(conflicts(world)).toMatchObject([{ status: 'resolved', seq, resolution }]);
        }
      }
    },
  );

  test.each<[string, Resolver | undefined]>([
    ['has no resolver', undefined],
    ['has one that throws', () => Promise.reject(new Error('not today'))],
  ])('[I1] a node that %s leaves the conflict to people', async (_, resolver) => {
    const { world, a, b, c } = await bothWrite('node', resolver);
    expect(c.read('x')?.['n']).toBe(1);
    expectAgreement(world, a, b, c);
    expect(conflicts(world)).toMatchObject([{ status: 'open', remote: { data: { n: 2 } } }]);
  });
});

describe('the feed with fields', () => {
  test('[I4] who reads from the beginning gets no tombstones, but of what was there when it began', async () => {
    const { world, a, b } = await began({});
    for (const id of ['k', 'l', 'm', 'n', 'o']) a.put(id, { id });
    await a.link.sync();
    for (const id of ['k', 'm', 'o']) a.write(id, { kind: 'delete' });
    await a.link.sync();
    world.pageLimit = 1;
    const reader = new Node(world, 'reader');
    let pages = 0;
    reader.beforeExchange = async () => {
      pages += 1;
      if (pages === 3) reader.fault = 'request-lost';
    };
    expect((await reader.link.sync()).summary.success).toBe(false);
    // It has this one by now, and goes on where it was.
    b.write('x', { kind: 'delete' });
    await syncAll(b);
    reader.restart();
    await reader.link.sync();
    const told = reader.exchanges.flatMap(({ answer }) => answer.changes);
    expect(told.map(({ entityId: id, data }) => (data === undefined ? `no ${id}` : id))).toEqual([
      'x',
      'l',
      'n',
      'no x',
    ]);
    await syncAll(a);
    expectAgreement(world, a, reader);
  });

  test('[I4] [S10] a pull brings the fields that changed after the cursor, and not the record', async () => {
    const { a, b } = await began({});
    a.write('x', patch('set', 'n', 11));
    a.write('x', patch('push', 'list', 2));
    await a.link.sync();
    await b.link.sync();
    const changes = b.exchanges.at(-1)?.answer.changes;
    expect(changes).toMatchObject([
      {
        entityId: 'x',
        operations: [
          { op: 'set', path: 'n', value: 11 },
          { op: 'set', path: 'list', value: [1, 2] },
        ],
      },
    ]);
    expect(changes?.[0]?.data).toBeUndefined();
    expect(b.read('x')).toEqual(a.read('x'));
  });

  test("what a node wrote itself isn't sent back to it", async () => {
    const { a } = await began({});
    a.write('x', patch('set', 'n', 11));
    await a.link.sync();
    expect(a.exchanges.at(-1)?.answer.changes).toEqual([]);
  });

  test('[I4] a record that changes between two pages of one pull comes with all that the reader lacks', async () => {
    const { world, a, b } = await began({});
    a.put('y', { y: 1 });
    a.write('x', patch('set', 'n', 11));
    a.put('z', { z: 1 });
    await a.link.sync();
    world.pageLimit = 1;
    // Between the pages of b's pull the record that comes first changes again, and moves to the end.
    let pages = 0;
    b.beforeExchange = async () => {
      pages += 1;
      if (pages !== 2) return;
      a.write('x', patch('push', 'list', 7));
      await a.link.sync();
    };
    await b.link.sync();
    expect(b.read('x')).toMatchObject({ n: 11, list: [1, 7] });
    expect(b.replica.meta.digestMismatches).toBe(0);
  });

  test('[I3] a change goes up by its operations, where these are smaller; whole where its base is gone', async () => {
    const { world, a, b } = await began({});
    a.write('x', patch('set', 'n', 11));
    await a.link.sync();
    expect(a.exchanges.at(-1)?.batch.changes).toMatchObject([{ operations: [{ op: 'set', path: 'n', value: 11 }] }]);
    expect(a.exchanges.at(-1)?.batch.changes[0]?.data).toBeUndefined();
    world.nowMs += 10;
    b.write('x', patch('set', 'n', 12));
    await b.link.sync();
    const sent = b.exchanges.slice(-2);
    expect(sent.map(({ answer }) => answer.results[0]?.status)).toEqual(['needs-full', 'applied']);
    expect(sent[1]?.batch.changes[0]?.data).toMatchObject({ n: 12 });
    await syncAll(a, b);
    expectAgreement(world, a, b);
  });
});

test('[I12] [I3] what was written between two deletes that had not seen each other stays deleted, in whatever order they come', async () => {
  const orders = [
    ['a', 'b', 'c'],
    ['a', 'c', 'b'],
    ['b', 'a', 'c'],
    ['b', 'c', 'a'],
    ['c', 'a', 'b'],
    ['c', 'b', 'a'],
  ];
  for (const order of orders) {
    const world = new World();
    const nodes = new Map(['a', 'b', 'c'].map((name) => [name, new Node(world, name)]));
    const node = (name: string) => nodes.get(name) ?? expect.fail(name);
    node('a').put('x', { n: 1 });
    for (const name of ['a', 'b', 'c']) await node(name).link.sync();
    world.nowMs += 10;
    node('a').write('x', { kind: 'delete' });
    world.nowMs += 10;
    node('c').put('x', { n: 2 });
    world.nowMs += 10;
    node('b').write('x', { kind: 'delete' });
    for (const name of [...order, ...order]) await node(name).link.sync();
    for (const name of order) expect(node(name).list(), order.join()).toEqual({});
    for (const name of order) expect(node(name).replica.meta.digestMismatches).toBe(0);
  }
});

function raise(thrown: unknown): never {
  throw thrown;
}

function errorOf(message: PropertyDescriptor): Error {
  return Object.defineProperty(new Error('odd'), 'message', message);
}

function thenable(target: object, then: (settle: (value: unknown) => void) => void): object {
  const name = 'then';
  return Object.defineProperty(target, name, { value: then });
}
