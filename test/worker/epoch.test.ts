import { abortAllDurableObjects, runInDurableObject } from 'cloudflare:test';
import { expect, test, vi } from 'vitest';
import { EdgeNode } from '../../src/worker.ts';
import { entityOf, freshSpace } from './space.ts';

test('[I1] [I3] a cloud that lost all begins another history: its nodes read anew, keep their queues, and end alike', async () => {
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const { edge, cloud, cloudObject } = freshSpace();
  const put = (node: string, id: string) =>
    edge(node).write({ ...entityOf('note', id), kind: 'put', data: { by: node } }, {}, 0);
  for (const [node, id] of [
    ['a', 'old-a'],
    ['b', 'old-b'],
    ['a', 'more'],
  ] as const) {
    await put(node, id);
    await edge(node).sync();
  }
  await edge('b').sync();
  const { epoch } = await edge('a').status();
  for (const node of ['a', 'b']) await edge(node).setNetwork({ online: false });
  await put('a', 'new-a');
  await put('b', 'new-b');

  await runInDurableObject(cloudObject(), (_, { storage }) => storage.deleteAll());
  await abortAllDurableObjects();
  expect((await cloud().exportPage(0)).entities).toEqual([]);
  for (const node of ['a', 'b']) {
    // Until it has read anew, a node serves what it has.
    expect(await edge(node).status()).toMatchObject({ epoch, queue: { pending: 1 } });
    await edge(node).setNetwork({ online: true });
  }
  for (const node of ['a', 'b', 'a']) expect(await edge(node).sync()).toMatchObject({ success: true });

  const [a, b] = [await edge('a').status(), await edge('b').status()];
  expect(a.epoch).not.toBe(epoch);
  expect([b.epoch, b.cursor, b.digest]).toEqual([a.epoch, a.cursor, a.digest]);
  for (const { queue, digestMismatches } of [a, b]) expect([queue.total, digestMismatches]).toEqual([0, 0]);
  const { entities } = await cloud().exportPage(0);
  expect(entities.map(({ entityId, data }) => [entityId, data])).toEqual(
    expect.arrayContaining([
      ['new-a', { by: 'a' }],
      ['new-b', { by: 'b' }],
    ]),
  );
  for (const node of ['a', 'b']) {
    const { result } = await edge(node).list(entityOf('note', 'x').entityType, '', 10, {
      level: 'eventual',
      after: {},
      waitMs: 0,
    });
    if (!result.ok) throw new Error(result.detail);
    expect(result.value.items.map(({ entityId }) => entityId)).toEqual(entities.map(({ entityId }) => entityId).sort());
  }
});
