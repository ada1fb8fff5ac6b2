import { describe, expect, test, vi } from 'vitest';
import { joined } from '../../src/core/causal-context.ts';
import { parseStamp } from '../../src/core/hlc.ts';
import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { Access } from '../../src/sync/access.ts';
import type { Clock } from '../../src/sync/ports.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const entity = { entityType: TYPE, entityId: entityId('x') };
const key: EntityKey = entityKey(entity);
const put = (value: number) => ({ ...entity, kind: 'put', data: { value } }) as const;
const strongRead = { level: 'strong', after: {}, waitMs: 1_000 } as const;

function pair() {
  const world = new World();
  return { world, a: new Node(world, 'a'), b: new Node(world, 'b') };
}

test('[I7] a strong write is in the cloud and at its node when it is answered, and read strongly everywhere', async () => {
  const { world, a, b } = pair();
  await b.link.sync();
  const written = await a.access.writeStrong(put(1), {}, 1_000);
  expect(written).toMatchObject({ created: true, data: { value: 1 } });
  expect(world.cloudStore.readEntity(key)?.data).toEqual({ value: 1 });
  expect(a.replica.queueStats().total).toBe(0);
  expect(a.read('x')).toEqual({ value: 1 });
  expect(await b.access.satisfy(TYPE, strongRead)).toEqual({ source: 'cloud', stalenessMs: 0 });
  expect(b.read('x')).toEqual({ value: 1 });
});

test('[I7] a strong write is not undone by a version with a later stamp', async () => {
  const world = new World();
  const slow = new Node(world, 'slow', -3_600_000);
  const fast = new Node(world, 'fast', 50_000);
  await slow.link.sync();
  fast.put('x', { value: 1 });
  await fast.link.sync();
  // The slow node hasn't seen it: the two are concurrent, and its clock is an hour behind.
  const written = await slow.access.writeStrong(put(2), {}, 1_000);
  expect(written.conflictId).toBeDefined();
  expect(world.cloudStore.readEntity(key)?.data).toEqual({ value: 2 });
  await fast.link.sync();
  expect(fast.read('x')).toEqual({ value: 2 });
});

test('[S20] what is queued for an entity goes before a strong write of it', async () => {
  const { world, a } = pair();
  for (let other = 0; other < 5; other += 1) a.put(`other${other}`, { other });
  a.put('x', { value: 1 });
  const increment: WriteContent = { kind: 'patch', operations: [{ op: 'increment', path: 'value', value: 1 }] };
  const written = await a.access.writeStrong({ ...entity, ...increment }, {}, 1_000);
  expect(written.data).toEqual({ value: 2 });
  expect(world.cloudStore.readEntity(key)?.data).toEqual({ value: 2 });
});

test('a strong write at a node that is cut off is refused, and leaves nothing behind', async () => {
  const { a } = pair();
  a.link.setOnline(false);
  await expect(a.access.writeStrong(put(1), {}, 1_000)).rejects.toMatchObject({ code: 'cloud_unavailable' });
  await expect(a.access.satisfy(TYPE, strongRead)).rejects.toMatchObject({ code: 'cloud_unavailable' });
  expect(a.replica.queueStats().total).toBe(0);
  expect(a.read('x')).toBeUndefined();
});

test('[I2] [S16] a strong write whose answer is lost is unknown; sent late, it takes no effect any more', async () => {
  const { world, a, b } = pair();
  await a.link.sync();
  a.fault = 'answer-lost';
  await expect(a.access.writeStrong(put(1), {}, 1_000)).rejects.toMatchObject({ code: 'outcome_unknown' });
  expect(world.cloudStore.readEntity(key)?.data).toEqual({ value: 1 });
  a.fault = 'request-lost';
  await expect(a.access.writeStrong(put(2), {}, 1_000)).rejects.toMatchObject({ code: 'outcome_unknown' });
  await a.link.sync();
  // Both counters are known to the cloud now, one by its change and one as void: a prefix without holes.
  expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 2, extra: [] });
  expect(a.replica.hasUnsent('normal')).toBe(false);
  await b.link.sync();
  expect(b.read('x')).toEqual({ value: 1 });
});

test('[S20] a strong write of what is not there is not_found, and a condition that fails is precondition_failed', async () => {
  const { a, b } = pair();
  await expect(a.access.writeStrong({ ...entity, kind: 'delete' }, {}, 1_000)).rejects.toMatchObject({
    code: 'not_found',
  });
  const { version } = await b.access.writeStrong(put(1), {}, 1_000);
  await expect(a.access.writeStrong({ ...put(2), ifMatch: 'b:99' }, {}, 1_000)).rejects.toMatchObject({
    code: 'precondition_failed',
    details: { current: version },
  });
  await expect(a.access.writeStrong({ ...put(2), ifMatch: version }, {}, 1_000)).resolves.toMatchObject({
    created: false,
  });
});

test('[I5] a causal read with a token of another node waits for what that node wrote', async () => {
  const { a, b } = pair();
  a.put('x', { value: 1 });
  const token = a.replica.causalContext();
  const demand = { level: 'causal', after: token, waitMs: 0 } as const;
  await expect(b.access.satisfy(TYPE, demand)).rejects.toMatchObject({ code: 'causality_timeout' });
  await a.link.sync();
  expect(await b.access.satisfy(TYPE, { ...demand, waitMs: 1_000 })).toMatchObject({ source: 'edge' });
  expect(b.read('x')).toEqual({ value: 1 });
});

test('[I1] a patch made on an older state than its caller has seen is a conflict, and undoes nothing silently', async () => {
  const { world, a, b } = pair();
  a.put('x', { value: 1 });
  await a.link.sync();
  await b.link.sync();
  a.put('x', { value: 1, seen: 'elsewhere' });
  await a.link.sync();
  b.link.setOnline(false);
  const patch: WriteContent = { kind: 'patch', operations: [{ op: 'set', path: 'value', value: 2 }] };
  await b.access.write({ ...entity, ...patch }, a.replica.causalContext(), 0);
  b.link.setOnline(true);
  await b.link.sync();
  expect(world.sequencer.meta.conflicts).toBe(1);
});

test('an eventual read pulls first where the replica is older than the caller allows, and serves it where it cannot', async () => {
  const { world, a, b } = pair();
  await b.link.sync();
  a.put('x', { value: 1 });
  await a.link.sync();
  world.nowMs += 5_000;
  const demand = { level: 'eventual', after: {}, waitMs: 1_000, maxStalenessMs: 10_000 } as const;
  expect(await b.access.satisfy(TYPE, demand)).toEqual({ source: 'edge', stalenessMs: 5_000 });
  expect(b.read('x')).toBeUndefined();
  b.link.setOnline(false);
  expect(await b.access.satisfy(TYPE, { ...demand, maxStalenessMs: 1_000 })).toEqual({
    source: 'edge',
    stalenessMs: 5_000,
  });
  b.link.setOnline(true);
  expect(await b.access.satisfy(TYPE, { ...demand, maxStalenessMs: 1_000 })).toEqual({
    source: 'edge',
    stalenessMs: 0,
  });
  expect(b.read('x')).toEqual({ value: 1 });
});

test('[I7] a strong write goes out once more with the change of the same record that the cloud needs whole', async () => {
  const world = new World({ policy: { conflict: 'merge' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  await a.access.writeStrong(put(1), {}, 1_000);
  await b.link.sync();
  const increment: WriteContent = { kind: 'patch', operations: [{ op: 'increment', path: 'value', value: 10 }] };
  b.write('x', increment);
  await a.access.writeStrong({ ...entity, ...increment }, {}, 1_000);
  const written = await b.access.writeStrong({ ...entity, ...increment }, {}, 1_000);
  expect(written.data).toEqual({ value: 31 });
  expect(world.cloudStore.readEntity(key)?.data).toEqual({ value: 31 });
});

describe('[I6] a strong read shows what its caller has seen elsewhere', () => {
  /** Of a caller of `b` who has seen what still waits at `a`. `pause` runs in each pause of `b`, which takes no time. */
  function reader({ world, a, b }: ReturnType<typeof pair>, pause: () => Promise<void>) {
    a.put('x', { value: 1 });
    const clock: Clock = {
      nowMs: () => world.nowMs,
      sleep: (ms) => (ms <= 1_000 ? pause() : new Promise(() => undefined)),
    };
    const access = new Access(b.replica, b.link, clock);
    return () => access.satisfy(TYPE, { level: 'strong', after: a.replica.causalContext(), waitMs: 30_000 });
  }

  test('it waits until the cloud has it', async () => {
    const nodes = pair();
    const read = reader(nodes, async () => {
      await nodes.a.link.sync();
    });
    expect(await read()).toEqual({ source: 'cloud', stalenessMs: 0 });
    expect(nodes.b.read('x')).toEqual({ value: 1 });
  });

  test('and says so where that takes longer than the caller waits', async () => {
    const nodes = pair();
    const read = reader(nodes, async () => {
      nodes.world.nowMs += 30_000;
    });
    await expect(read()).rejects.toMatchObject({ code: 'causality_timeout' });
  });
});

test.each(['causal', 'strong'] as const)(
  '[I10] a %s read ends, though the clock is put back while it waits',
  async (level) => {
    const { b } = pair();
    let nowMs = 1_000_000_000_000;
    const sleep = async () => {
      nowMs -= 3_600_000;
    };
    // What the link is asked takes no time: only the clock says when to end.
    const clock: Clock = { nowMs: () => nowMs, sleep: (ms) => (ms === 1_000 ? new Promise(() => undefined) : sleep()) };
    const access = new Access(b.replica, b.link, clock);
    const demand = { level, after: { clock: { other: 1 } }, waitMs: 1_000, maxStalenessMs: undefined };
    await expect(access.satisfy(TYPE, demand)).rejects.toMatchObject({ code: 'causality_timeout' });
  },
);

test('[I6] an eventual read with a token asks the cloud for what that has seen, once, and serves what is here where it cannot', async () => {
  const { a, b } = pair();
  await b.link.sync();
  a.put('x', { value: 1 });
  await a.link.sync();
  const demand = { level: 'eventual', after: a.replica.causalContext(), waitMs: 1_000 } as const;
  b.link.setOnline(false);
  expect(await b.access.satisfy(TYPE, demand)).toMatchObject({ source: 'edge' });
  expect(b.read('x')).toBeUndefined();
  b.link.setOnline(true);
  expect(await b.access.satisfy(TYPE, demand)).toMatchObject({ source: 'edge' });
  expect(b.read('x')).toEqual({ value: 1 });
  // What waits at its node is not waited for.
  a.put('y', { value: 2 });
  const exchanges = b.exchanges.length;
  await b.access.satisfy(TYPE, { ...demand, after: a.replica.causalContext() });
  expect(b.exchanges).toHaveLength(exchanges + 1);
});

test('[I6] a token of a strong write is not covered by the node that made it while its page waits for the others', async () => {
  const { world, a, b } = pair();
  await a.link.sync();
  for (const id of ['p', 'q', 'r']) b.put(id, { value: 0 });
  await b.link.sync();
  world.pageLimit = 1;
  const covered: boolean[] = [];
  a.beforeExchange = async () => {
    covered.push(a.replica.covers({ clock: { a: 1 } }));
  };
  await a.access.writeStrong(put(1), {}, 1_000);
  const [first, ...others] = a.exchanges.slice(1).map(({ answer }) => answer);
  expect(first).toMatchObject({ more: true, results: [{ id: 'a:1', status: 'applied' }] });
  // From the first answer on the cloud has it, and this node doesn't show it before the last.
  expect(others.length).toBeGreaterThan(1);
  expect(covered.slice(1)).toEqual(others.map(() => false));
  expect(a.replica.covers({ clock: { a: 1 } })).toBe(true);
  expect(a.read('x')).toEqual({ value: 1 });
});

test('[I11] [S20] strong writes, however many, leave half of each batch to what is queued, and get the other half', async () => {
  const { a } = pair();
  await a.link.sync();
  a.plan = { ...a.plan, batchSize: 4 };
  const ids = Array.from({ length: 8 }, (_, index) => `s${index}`);
  for (let n = 0; n < 6; n += 1) a.put(`queued${n}`, { n });
  const sent = a.exchanges.length;
  await Promise.all(ids.map((id) => a.access.writeStrong({ ...put(1), entityId: entityId(id) }, {}, 1_000)));
  const shares = a.exchanges.slice(sent).map(({ batch }) => {
    const strong = batch.changes.filter(({ consistency }) => consistency === 'strong').length;
    return [batch.changes.length - strong, strong];
  });
  expect(shares.slice(0, 3)).toEqual([
    [2, 2],
    [2, 2],
    [2, 2],
  ]);
  expect(shares.slice(3)).toEqual([[0, 2]]);
});

test('[I6] what a node has of others is asked of the cloud once, and then is in no token any more', async () => {
  const { a, b } = pair();
  await b.link.sync();
  await a.access.write(put(1), {}, 1_000);
  const seen = a.replica.causalContext();
  await a.link.sync();
  const read = { level: 'causal', after: seen, waitMs: 1_000 } as const;
  await b.access.satisfy(TYPE, read);
  const { length } = b.exchanges;
  await b.access.satisfy(TYPE, read);
  expect(b.exchanges).toHaveLength(length);
  expect(Object.keys(b.replica.causalContext(seen).clock ?? {})).toEqual(['cloud']);
});

test('[I6] what a lost cloud said that a node has is not taken for what the next one has', async () => {
  const { world, a, b } = pair();
  await a.access.write(put(1), {}, 1_000);
  const seen = a.replica.causalContext();
  await a.link.sync();
  await b.access.satisfy(TYPE, { level: 'causal', after: seen, waitMs: 1_000 });
  world.loseCloud();
  await b.link.sync();
  expect(b.replica.covers({ clock: { a: 1 } })).toBe(false);
});

describe('[I6] a write follows what its writer has seen, also where that was written by a clock that is ahead', () => {
  for (const level of ['strong', 'eventual'] as const) {
    test(level, async () => {
      const world = new World();
      const [a, b] = [new Node(world, 'a', 30_000), new Node(world, 'b')];
      await b.link.sync();
      a.put('x', { value: 1 });
      const seen = a.replica.causalContext();
      b.link.setOnline(level === 'strong');
      if (level === 'strong') await b.access.writeStrong(put(2), seen, 1_000);
      else await b.access.write(put(2), seen, 1_000);
      b.link.setOnline(true);
      for (const node of [b, a, b]) await node.link.sync();
      for (const node of [a, b]) expect(node.read('x')).toEqual({ value: 2 });
    });
  }

  test('one that is further ahead than a clock may be takes no other with it', async () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a', 24 * 3600_000), new Node(world, 'b')];
    await b.link.sync();
    a.put('x', { value: 1 });
    await b.access.write(put(2), a.replica.causalContext(), 1_000);
    const { stamp } = b.replica.read(key) ?? expect.fail();
    expect(parseStamp(stamp)?.wallMs).toBe(world.nowMs + LIMITS.maxClockDriftMs);
  });

  test('it goes on with the token, from node to node and over the cloud', () => {
    const world = new World();
    const [a, b] = [new Node(world, 'a', 30_000), new Node(world, 'b')];
    a.put('x', { value: 1 });
    const seen = a.replica.causalContext();
    const there = world.sequencer.seenAfter(b.replica.causalContext(seen));
    expect(joined(there, {}, there.epoch).atMs).toBe(world.nowMs + 30_000);
  });
});

test('[I6] what one caller waits for holds up no other, and what has arrived is not asked for again, nor carried on', async () => {
  const { world, a, b } = pair();
  a.put('x', { value: 1 });
  await a.link.sync();
  a.put('x', { value: 2 });
  const c = new Node(world, 'c');
  c.put('y', { value: 1 });
  await b.link.sync();
  const asked = [{ clock: { a: 1 } }, { clock: { a: 2 } }, { clock: { a: 1, c: 1 } }];
  const runs = await Promise.all(asked.map((requires) => b.link.sync({ requires })));
  expect(runs.map(({ covered }) => covered)).toEqual([true, false, false]);
  expect(asked.map((seen) => b.replica.covers(seen))).toEqual([true, false, false]);
  expect(b.replica.causalContext({ clock: { a: 1, c: 1 } }).clock).toEqual({ cloud: 1, c: 1 });
  world.loseCloud();
  await b.link.sync();
  expect(b.replica.covers({ clock: { a: 1 } })).toBe(false);
});

test('[I6] of what has not arrived a caller carries no more than the next node takes', async () => {
  const { a, b } = pair();
  await b.link.sync();
  const clock = Object.fromEntries(Array.from({ length: LIMITS.clockEntries }, (_, n) => [`n${n}`, 1]));
  await expect(b.access.fit({ clock }, 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  const long = Object.fromEntries(Array.from({ length: 45 }, (_, n) => [`${'n'.repeat(60)}${n}`, 1]));
  await expect(b.access.fit({ clock: long }, 1_000)).rejects.toMatchObject({ code: 'causality_timeout' });
  a.put('x', { value: 1 });
  await a.link.sync();
  // With two less there is room, for the place in the cloud's history too; and that has arrived.
  const { n0: _, n1: __, ...others } = clock;
  await b.access.fit({ clock: { ...others, a: 1 } }, 1_000);
  b.put('y', { value: 1 });
  const { changeId } = await b.access.write(put(2), { clock: { ...others, a: 1 } }, 1_000);
  await b.link.sync();
  expect(b.replica.fateOf(changeId)).toBe('there');
});

test('[I6] what a cloud has that a node has not all got is not there to be read', async () => {
  const { world, a } = pair();
  await a.link.sync();
  const run = await a.link.sync();
  vi.spyOn(a.link, 'sync').mockResolvedValue({ ...run, isAtHead: false, covered: true });
  const clock: Clock = {
    nowMs: () => world.nowMs,
    sleep: async (ms) => {
      world.nowMs += ms;
    },
  };
  const access = new Access(a.replica, a.link, clock);
  const demand = { level: 'causal', after: { clock: { b: 1 } }, waitMs: 1_000 } as const;
  await expect(access.satisfy(TYPE, demand)).rejects.toMatchObject({ code: 'causality_timeout' });
});
