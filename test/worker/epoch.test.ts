import { abortAllDurableObjects, evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace, EdgeNode } from '../../src/worker.ts';
import { entityOf, freshSpace } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const AWAY = { ok: false, code: 'cloud_unavailable', detail: 'the cloud is away', details: {} } as const;

test('[I1] [I3] a cloud that lost all begins another history: its nodes read anew, keep their queues, and end alike', async () => {
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const { edge, edgeObject, cloud, cloudObject } = freshSpace();
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
  for (const id of ['new-b', 'b2', 'b3', 'b4']) await put('b', id);

  await runInDurableObject(cloudObject(), (_, { storage }) => storage.deleteAll());
  await abortAllDurableObjects();
  expect((await cloud().exportPage(0)).entities).toEqual([]);
  await edge('b').setNetwork({ online: true });
  expect(await edge('b').sync()).toMatchObject({ success: true });

  // Node a learns of the new history, and is stopped before it has read any of it; its cursor was of the old one.
  const exchange = vi
    .spyOn(CloudSpace.prototype, 'syncExchange')
    .mockResolvedValueOnce({ ...AWAY, code: 'session_expired' })
    .mockResolvedValue(AWAY);
  await edge('a').setNetwork({ online: true });
  expect(await edge('a').sync()).toMatchObject({ success: false });
  await evictDurableObject(edgeObject('a'));
  const stopped = await edge('a').status();
  expect(stopped.cursor).toBe(0);
  expect(stopped.epoch).not.toBe(epoch);
  expect(stopped.queue.pending).toBeGreaterThan(0);
  exchange.mockRestore();
  for (const node of ['a', 'b']) expect(await edge(node).sync()).toMatchObject({ success: true });

  const [a, b] = [await edge('a').status(), await edge('b').status()];
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
