import { describe, expect, test } from 'vitest';
import { CONSISTENCY_LEVELS } from '../../src/core/consistency.ts';
import type { Write } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const entity = { entityType: TYPE, entityId: entityId('x') };
const increment = { ...entity, kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] } as const;

/** A record in the cloud, and a node that has never been there. */
async function began() {
  const world = new World();
  const [a, fresh] = [new Node(world, 'a'), new Node(world, 'fresh')];
  a.put('x', { n: 1 });
  await a.link.sync();
  return { world, fresh };
}

for (const level of CONSISTENCY_LEVELS) {
  test(`[S45] a node that never had everything pulls before a read at the level ${level}`, async () => {
    const { fresh } = await began();
    await fresh.access.satisfy(TYPE, { level, after: {}, waitMs: 1_000 });
    expect(fresh.read('x')).toEqual({ n: 1 });
  });
}

for (const level of ['eventual', 'causal', 'session'] as const) {
  test(`[S45] out of reach of the cloud what is here is served at the level ${level}, to who has seen no more`, async () => {
    const { fresh } = await began();
    const demand = { level, after: {}, waitMs: 1_000 } as const;
    const served = { source: 'edge', stalenessMs: null };
    fresh.connectFault = 'request-lost';
    expect(await fresh.access.satisfy(TYPE, demand)).toEqual(served);
    fresh.link.setOnline(false);
    expect(await fresh.access.satisfy(TYPE, demand)).toEqual(served);
    expect(fresh.exchanges).toEqual([]);
  });
}

describe('[S45] a write that depends on what is there pulls first, at a node that never had everything', () => {
  const writes: readonly [string, Write, Record<string, unknown> | undefined][] = [
    ['operations', increment, { n: 2 }],
    ['a merge patch', { ...entity, kind: 'merge-patch', patch: { m: 1 } }, { n: 1, m: 1 }],
    ['a delete', { ...entity, kind: 'delete' }, undefined],
    ['a condition', { ...entity, kind: 'put', data: { n: 5 }, ifMatch: 'a:1' }, { n: 5 }],
  ];
  for (const [what, write, shown] of writes) {
    test(what, async () => {
      const { fresh } = await began();
      await fresh.access.write(write, {}, 1_000);
      expect(fresh.read('x')).toEqual(shown);
    });

    test(`${what} in a transaction`, async () => {
      const { fresh } = await began();
      await fresh.access.transact([{ ...entity, entityId: entityId('y'), kind: 'put', data: {} }, write], {}, 1_000);
      expect(fresh.read('x')).toEqual(shown);
    });
  }

  test('one that is to find nothing finds what is there', async () => {
    const { fresh } = await began();
    const create = fresh.access.write({ ...entity, kind: 'put', data: {}, ifNoneMatch: '*' }, {}, 1_000);
    await expect(create).rejects.toMatchObject({ code: 'precondition_failed', details: { current: 'a:1' } });
  });

  test('a whole record does not wait for that', async () => {
    const { fresh } = await began();
    await fresh.access.write({ ...entity, kind: 'put', data: { n: 7 } }, {}, 1_000);
    expect(fresh.exchanges).toEqual([]);
    expect(fresh.read('x')).toEqual({ n: 7 });
  });

  test('out of reach of the cloud it meets what is here', async () => {
    const { fresh } = await began();
    fresh.link.setOnline(false);
    await expect(fresh.access.write(increment, {}, 1_000)).rejects.toMatchObject({ code: 'not_found' });
    fresh.put('x', { n: 10 });
    await fresh.access.write(increment, {}, 1_000);
    expect(fresh.read('x')).toEqual({ n: 11 });
  });
});
