import { describe, expect, test } from 'vitest';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import type { Once, Write } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

function added(id: string, value: number): Write {
  const operations = [{ op: 'increment', path: 'n', value }] as const;
  return { entityType: TYPE, entityId: entityId(id), kind: 'patch', operations };
}

const ONCE = { key: 'k', hash: 'h' };
const SECOND = { key: 'second', hash: 'h' };

async function began() {
  const world = new World({ policy: { conflict: 'merge' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const id of ['x', 'y']) a.put(id, { n: 10 });
  for (const node of [a, b]) await node.link.sync();
  return { world, a, b };
}

describe('a strong write that is repeated by its key', () => {
  test('[I4] [S37] changes nothing of what its node has, whatever came in between', async () => {
    const { world, a, b } = await began();
    await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    world.nowMs += 1;
    b.put('x', { n: 50 });
    for (const node of [b, a]) await node.link.sync();
    const again = await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    expect(again).toMatchObject({ changeId: 'a:3', data: { n: 11 } });
    expect([a.read('x'), a.replica.meta.digestMismatches]).toEqual([{ n: 50 }, 0]);
  });

  test('[I6] [S37] is not seen by its own node before that has what it did', async () => {
    const { world, a, b } = await began();
    await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    for (const id of ['p', 'q']) a.put(id, {});
    await a.link.sync();
    world.pageLimit = 1;
    let calls = 0;
    b.beforeCall = () => {
      calls += 1;
      if (calls > 1) throw new SyncError('cloud_unavailable', 'gone');
    };
    const again = await b.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    expect(again).toMatchObject({ changeId: 'a:3', data: { n: 11 } });
    expect(b.read('x')).toEqual({ n: 10 });
    expect(b.replica.covers(b.replica.causalContext())).toBe(false);
  });
});

describe('a write here that is repeated by its key', () => {
  test('[I2] [S37] happens once, also where both wait for what their writer has seen', async () => {
    const { a, b } = await began();
    b.put('q', {});
    await b.link.sync();
    const after = b.replica.causalContext();
    const one = () => a.access.write(added('x', 1), after, 1_000, ONCE);
    const [first, again] = await Promise.all([one(), one()]);
    expect(again).toEqual(first);
    b.put('q', {});
    await b.link.sync();
    const all = () => a.access.transact([added('x', 1), added('y', 1)], b.replica.causalContext(), 1_000, SECOND);
    const [firsts, agains] = await Promise.all([all(), all()]);
    expect(agains).toEqual(firsts);
    expect([a.read('x'), a.read('y')]).toEqual([{ n: 12 }, { n: 11 }]);
  });
});

test.each([-25, 25])(
  '[S37] a key is remembered for a day by its node’s clock, wrong by %i h as it may be',
  async (hours) => {
    const HOUR_MS = 3_600_000;
    const world = new World({ policy: { conflict: 'merge' } });
    const a = new Node(world, 'a', hours * HOUR_MS);
    a.put('x', { n: 0 });
    await a.link.sync();
    const one = () => a.access.write(added('x', 1), {}, 1_000, ONCE);
    for (const passed of [0, 23]) {
      world.nowMs += passed * HOUR_MS;
      await one();
      expect(a.read('x')).toEqual({ n: 1 });
    }
    world.nowMs += 2 * HOUR_MS;
    await one();
    expect(a.read('x')).toEqual({ n: 2 });
  },
);

test('[I10] [S37] what is older than a day goes with a later one, and is looked for once an hour', async () => {
  const { world, a } = await began();
  const swept: number[] = [];
  const { forgetMemos } = a.store;
  a.store.forgetMemos = (beforeMs) => {
    swept.push(beforeMs);
    forgetMemos.call(a.store, beforeMs);
  };
  const keys = ['written/k', 'written/second', 'written/third'];
  await a.access.write(added('x', 1), {}, 1_000, ONCE);
  await a.access.write(added('x', 1), {}, 1_000, SECOND);
  expect(swept).toHaveLength(1);
  world.nowMs += LIMITS.memoMs + 1;
  await a.access.write(added('x', 1), {}, 1_000, { ...ONCE, key: 'third' });
  expect(swept).toHaveLength(2);
  expect(keys.map((key) => a.store.readMemo(key) !== undefined)).toEqual([false, false, true]);
});

describe('a key that another write had', () => {
  const OTHER = { ...ONCE, hash: 'other' };
  const both = [added('x', 1), added('y', 1)];
  type Way = (node: Node, once: Once) => Promise<unknown>;
  const WAYS: Readonly<Record<string, Way>> = {
    'a write here': (node, once) => node.access.write(added('x', 1), {}, 1_000, once),
    'a transaction here': (node, once) => node.access.transact(both, {}, 1_000, once),
    'a strong write': (node, once) => node.access.writeStrong(added('x', 1), {}, 1_000, once),
    'a strong transaction': (node, once) => node.access.transactStrong(both, {}, 1_000, once),
  };
  const names = Object.keys(WAYS);
  const pairs = names.flatMap((first) => names.filter((other) => other !== first).map((other) => [first, other]));

  test.each(pairs)('[S37] %s, is refused to %s, and that does nothing', async (first, other) => {
    const { a } = await began();
    await WAYS[first]?.(a, ONCE);
    const before = a.read('x');
    for (let turn = 0; turn < 2; turn += 1) {
      await expect(WAYS[other]?.(a, OTHER)).rejects.toMatchObject({ code: 'idempotency_key_reused' });
      a.restart();
    }
    expect(a.read('x')).toEqual(before);
  });

  test('[S37] a strong one, is refused to strong ones at other nodes and at the cloud', async () => {
    const { world, a, b } = await began();
    const [one, several] = [WAYS['a strong write'], WAYS['a strong transaction']];
    await several?.(a, ONCE);
    await expect(one?.(b, OTHER)).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    const atCloud = () => world.sequencer.commit((commit) => writeAtCloud(commit, added('x', 1), { once: OTHER }));
    expect(atCloud).toThrow(expect.objectContaining({ code: 'idempotency_key_reused' }));
    await one?.(a, SECOND);
    await expect(several?.(b, { ...SECOND, hash: 'other' })).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    await b.link.sync();
    expect([b.read('x'), b.read('y')]).toEqual([{ n: 12 }, { n: 11 }]);
  });

  test.each(['a write here', 'a transaction here'])(
    '[S37] %s, is refused as that was, until that is given up',
    async (way) => {
      const { world, a } = await began();
      const write = () => WAYS[way]?.(a, ONCE);
      await write();
      world.refuse = ({ data }) => data?.['n'] === 11;
      await a.link.sync();
      for (let turn = 0; turn < 2; turn += 1) {
        await expect(write()).rejects.toMatchObject({ code: 'invalid_data' });
        a.restart();
      }
      world.refuse = () => false;
      const [dead] = a.replica.listQueue('dead', 0, 1).items;
      const again = a.replica.retryDead(dead?.change.id ?? '', undefined);
      await write();
      await a.link.sync();
      expect([a.read('x'), a.replica.fateOf(again)]).toEqual([{ n: 11 }, 'there']);
      await write();
      expect(a.replica.queueStats().total).toBe(0);
    },
  );

  test.each(['a write here', 'a transaction here'])(
    '[S37] %s, is free where that was refused and given up',
    async (way) => {
      const { world, a } = await began();
      const write = () => WAYS[way]?.(a, ONCE);
      await write();
      world.refuse = ({ data }) => data?.['n'] === 11;
      await a.link.sync();
      const [dead] = a.replica.listQueue('dead', 0, 1).items;
      // Sent again, it is refused again.
      const again = a.replica.retryDead(dead?.change.id ?? '', undefined);
      await a.link.sync();
      a.replica.discardDead(again);
      world.refuse = () => false;
      for (let turn = 0; turn < 2; turn += 1) await write();
      await a.link.sync();
      expect(a.read('x')).toEqual({ n: 11 });
    },
  );

  test('[S37] is free where that was refused, or never happened; not where nobody knows', async () => {
    const { world, a } = await began();
    const [here, strong] = [WAYS['a write here'], WAYS['a strong write']];
    world.refuse = ({ data }) => data?.['n'] === 11;
    await expect(strong?.(a, ONCE)).rejects.toMatchObject({ code: 'invalid_data' });
    world.refuse = () => false;
    await strong?.(a, OTHER);
    a.connectFault = 'request-lost';
    a.replica.saveSession(null);
    await expect(strong?.(a, SECOND)).rejects.toMatchObject({ code: 'cloud_unavailable' });
    await here?.(a, { ...SECOND, hash: 'other' });
    const third = { ...ONCE, key: 'third' };
    await a.link.sync();
    a.fault = 'answer-lost';
    await expect(strong?.(a, third)).rejects.toMatchObject({ code: 'outcome_unknown' });
    await expect(here?.(a, { ...third, hash: 'other' })).rejects.toMatchObject({ code: 'idempotency_key_reused' });
    await strong?.(a, third);
    expect(a.read('x')).toEqual({ n: 13 });
    // That a repeated one was out of reach says nothing of the first.
    a.link.setOnline(false);
    await expect(strong?.(a, third)).rejects.toMatchObject({ code: 'cloud_unavailable' });
    a.link.setOnline(true);
    a.connectFault = 'request-lost';
    a.replica.saveSession(null);
    await expect(strong?.(a, third)).rejects.toMatchObject({ code: 'cloud_unavailable' });
    await expect(here?.(a, { ...third, hash: 'other' })).rejects.toMatchObject({ code: 'idempotency_key_reused' });
  });
});
