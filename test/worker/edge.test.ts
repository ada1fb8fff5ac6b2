import { afterEach, expect, test, vi } from 'vitest';
import { EdgeNode } from '../../src/worker.ts';
import { freshSpace } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  ['http://localhost', { colo: 'OSL' }, 'local'],
  ['http://127.0.0.1:8787', { colo: 'OSL' }, 'local'],
  ['https://causeway.example', { colo: 'OSL' }, 'osl'],
  ['https://causeway.example', { colo: '../' }, 'local'],
  ['https://causeway.example', { colo: 7 }, 'local'],
  ['https://causeway.example', undefined, 'local'],
])('`nearest` at %s with %j is the node %s', async (origin, cf, nodeId) => {
  const { call } = freshSpace();
  expect((await call('GET', 'edge/nearest/status', { origin, cf })).json).toMatchObject({ nodeId });
  expect((await call('PUT', 'edge/nearest/data/note/x', { origin, cf, body: {} })).json).toMatchObject({
    version: `${nodeId}:1`,
  });
});

test('news is told to the nodes that somebody uses, and not to the one that it comes from', async () => {
  const { call } = freshSpace();
  const poke = vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const poked = (times: number) => vi.waitFor(() => expect(poke).toHaveBeenCalledTimes(times), { timeout: 20_000 });
  const write = async (node: string) => {
    await call('PUT', `edge/${node}/data/note/${node}`, { body: {} });
    expect((await call('POST', `edge/${node}/sync`)).json).toMatchObject({ success: true });
  };
  await write('a');
  await write('b');
  // Later than any poke of the writes before it: one to node a, of what b wrote.
  await poked(1);
  expect(poke.mock.calls).toEqual([[2, 'b']]);
  await write('a');
  await poked(2);
  await call('PUT', 'data/note/cloud', { body: {} });
  // What the cloud itself writes comes from none of them.
  await poked(4);
  expect(poke.mock.calls).toEqual([
    [2, 'b'],
    [3, 'a'],
    [4, undefined],
    [4, undefined],
  ]);
});

test('[I10] a full queue takes no more, says so, and has kept all that it took', async () => {
  const { call } = freshSpace();
  await call('PUT', 'edge/a/network', { body: { online: false } });
  const text = 'x'.repeat(250_000);
  let taken = 0;
  let answer = await call('PUT', 'edge/a/data/note/0', { body: { text } });
  for (; answer.status === 201 && taken < 100; taken += 1) {
    answer = await call('PUT', `edge/a/data/note/${taken + 1}`, { body: { text } });
  }
  expect(answer).toMatchObject({ status: 507, code: 'queue_full', json: { retryAfterMs: 30_000 } });
  expect(answer.headers.get('Retry-After')).toBe('30');
  expect((await call('GET', `edge/a/data/note/${taken}`)).status).toBe(404);
  const { queue } = (await call('GET', 'edge/a/status')).json as { queue: { total: number; bytes: number } };
  expect(queue.total).toBe(taken);
  expect(queue.bytes).toBeLessThanOrEqual(16 * 1024 * 1024);
  expect(queue.bytes).toBeGreaterThan(15 * 1024 * 1024);
  // What still fits is taken.
  expect((await call('PUT', 'edge/a/data/note/small', { body: {} })).status).toBe(201);
});
