import { expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const entity = { entityType: TYPE, entityId: entityId('x') };
const key = entityKey(entity);
const demand = { level: 'strong', after: {}, waitMs: 1_000 } as const;

/** What a strong reader is shown. */
async function strong({ access, replica }: Node): Promise<unknown> {
  const { source } = await access.satisfy(TYPE, demand);
  const one = replica.read(key, source);
  const { items } = replica.list(TYPE, '', 10, source);
  expect(items.find((item) => item.entityId === entity.entityId)?.data).toEqual(one?.data);
  expect(one?.synced ?? true).toBe(true);
  return one?.data;
}

async function began() {
  const world = new World();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 1 });
  await a.link.sync();
  await b.link.sync();
  return { world, a, b };
}

/** What a node shows, and can't send. */
const unsendable: readonly [string, WriteContent, Record<string, unknown> | undefined][] = [
  ['a record', { kind: 'put', data: { n: 13 } }, { n: 13 }],
  ['a delete', { kind: 'delete' }, undefined],
];
for (const [what, content, shown] of unsendable) {
  test(`[I7] a strong read shows none of ${what} that the cloud fails at, and that its node shows`, async () => {
    const { world, a, b } = await began();
    world.cloudStore.writeEntity = () => {
      throw new Error('a bug');
    };
    a.write('x', content);
    expect(await strong(a)).toEqual({ n: 1 });
    expect(a.read('x')).toEqual(shown);
    expect(await strong(b)).toEqual({ n: 1 });
  });

  test(`[I7] a strong read shows none of ${what} that the token of its node may not write`, async () => {
    const { a, b } = await began();
    a.grant = { writeTypes: ['other'] };
    a.write('x', content);
    expect(await strong(a)).toEqual({ n: 1 });
    expect(a.read('x')).toEqual(shown);
    expect(await strong(b)).toEqual({ n: 1 });
  });
}

test('[I7] a record that only its node has is in no strong list', async () => {
  const { a } = await began();
  a.grant = { writeTypes: ['other'] };
  a.put('y', { n: 1 });
  const { source } = await a.access.satisfy(TYPE, demand);
  expect(a.replica.list(TYPE, '', 10, source).items.map(({ entityId }) => entityId)).toEqual(['x']);
  expect(Object.keys(a.list())).toEqual(['x', 'y']);
});

test('[I7] a strong read shows nothing that was written after the cloud had answered', async () => {
  const { a, b } = await began();
  a.heard = (what) => {
    if (what === 'end' && a.read('x')?.['n'] === 1) a.put('x', { n: 2 });
  };
  expect(await strong(a)).toEqual({ n: 1 });
  expect(a.read('x')).toEqual({ n: 2 });
  expect(await strong(b)).toEqual({ n: 1 });
});

test('[I7] [S20] what waits and can be sent goes before a strong read, which shows it', async () => {
  const { a, b } = await began();
  a.plan = { ...a.plan, strategy: 'critical' };
  a.put('x', { n: 2 });
  expect(await strong(a)).toEqual({ n: 2 });
  expect(await strong(b)).toEqual({ n: 2 });
});

test('[I6] [I7] who has seen what can’t be sent is told so, and not shown less', async () => {
  const { a } = await began();
  a.grant = { writeTypes: ['other'] };
  a.put('x', { n: 2 });
  const read = a.access.satisfy(TYPE, { ...demand, after: a.replica.causalContext(), waitMs: 0 });
  await expect(read).rejects.toMatchObject({ code: 'causality_timeout' });
});
