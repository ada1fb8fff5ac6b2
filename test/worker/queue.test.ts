import { runDurableObjectAlarm } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace } from '../../src/worker.ts';
import { freshSpace, stopClock } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

type Space = ReturnType<typeof freshSpace>;
type Page = { readonly items: readonly { readonly changeId: string }[]; readonly next: string | null };

async function pageOf({ call }: Space, query: string): Promise<Page> {
  return (await call('GET', `edge/a/queue?${query}`)).json as unknown as Page;
}

/** Node `a`, cut off, with notes n1 to n4 in its queue. */
async function waiting(): Promise<Space> {
  const space = freshSpace();
  await space.call('PUT', 'edge/a/network', { body: { online: false } });
  for (const n of [1, 2, 3, 4]) await space.call('PUT', `edge/a/data/note/n${n}`, { body: { n } });
  return space;
}

/** From now on the cloud refuses all changes that it is sent. */
function refuseAll(): void {
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async (_, text) => {
    const { batchId, changes } = JSON.parse(text) as { batchId: string; changes: { id: string }[] };
    const results = changes.map(({ id }) => ({ id, status: 'rejected', code: 'invalid_data', detail: 'not here' }));
    const answer = { batchId, results, changes: [], cursor: 0, more: false, vectorClock: {}, serverTime: Date.now() };
    return { ok: true, value: JSON.stringify(answer) };
  });
}

test('a list of what waits goes on behind a place, also where its change went into a later one', async () => {
  const space = await waiting();
  const first = await pageOf(space, 'limit=2');
  expect(first.items).toMatchObject([
    { changeId: 'a:1', entityType: 'note', entityId: 'n1', operation: 'create', status: 'pending', retryCount: 0 },
    { changeId: 'a:2', priority: 'normal', error: null, lastAttempt: null, data: { n: 2 } },
  ]);
  await space.call('PUT', 'edge/a/data/note/n2', { body: { n: 22 } });
  const second = await pageOf(space, `limit=2&after=${first.next}`);
  expect(second).toMatchObject({ items: [{ changeId: 'a:3' }, { changeId: 'a:4' }], next: null });
  expect((await pageOf(space, 'status=dead')).items).toEqual([]);
  for (const query of ['after=a:2', 'after=-1', 'status=lost', 'limit=0']) {
    expect(await space.call('GET', `edge/a/queue?${query}`)).toMatchObject({ status: 400, code: 'bad_request' });
  }
});

test('[I11] what the cloud refuses is dead, and can be sent again, mended, or given up', async () => {
  const space = await waiting();
  const { call } = space;
  await call('PUT', 'edge/a/network', { body: { online: true } });
  refuseAll();
  await call('POST', 'edge/a/sync');
  const error = { code: 'invalid_data', detail: 'not here' };
  const dead = await pageOf(space, 'status=dead');
  expect(dead.items).toMatchObject(['a:1', 'a:2', 'a:3', 'a:4'].map((changeId) => ({ changeId, error })));
  vi.restoreAllMocks();

  expect((await call('DELETE', 'edge/a/queue/a:4')).status).toBe(200);
  expect(await call('DELETE', 'edge/a/queue/a:4')).toMatchObject({ status: 404, code: 'not_found' });
  expect((await call('POST', 'edge/a/queue/a:1/retry')).json).toEqual({ changeId: 'a:5' });
  expect((await call('POST', 'edge/a/queue/a:2/retry', { body: { data: { n: 'mended' } } })).json).toEqual({
    changeId: 'a:6',
  });
  const strange = await call('POST', 'edge/a/queue/a:3/retry', { body: { data: [] } });
  expect(strange).toMatchObject({ status: 400, code: 'bad_request' });
  await call('POST', 'edge/a/sync');
  expect((await call('GET', 'data/note/n1')).json['data']).toEqual({ n: 1 });
  expect((await call('GET', 'data/note/n2')).json['data']).toEqual({ n: 'mended' });
  expect((await call('GET', 'data/note/n4')).status).toBe(404);
  expect((await pageOf(space, 'status=dead')).items).toMatchObject([{ changeId: 'a:3' }]);
});

test('what waits is not dead: it can be neither sent again nor given up', async () => {
  const { call } = await waiting();
  for (const [method, path] of [
    ['DELETE', 'a:1'],
    ['POST', 'a:1/retry'],
  ] as const) {
    expect(await call(method, `edge/a/queue/${path}`)).toMatchObject({ status: 409, code: 'not_dead' });
  }
});

test('a queue is not for apps, nor for other nodes', async () => {
  const { call } = await waiting();
  for (const claims of [{ role: 'client' }, { role: 'node', node: 'b' }]) {
    for (const [method, path] of [
      ['GET', ''],
      ['POST', '/a:1/retry'],
      ['DELETE', '/a:1'],
    ] as const) {
      expect(await call(method, `edge/a/queue${path}`, { claims })).toMatchObject({ status: 403, code: 'forbidden' });
    }
  }
});

test('[S14] over a poor link what is critical goes; the rest waits for a better one, or five minutes', async () => {
  const { call, edgeObject, alarmOf } = freshSpace();
  const { pass } = stopClock();
  const wake = () => runDurableObjectAlarm(edgeObject('a'));
  const isThere = async (id: string) => (await call('GET', `data/note/${id}`)).status === 200;
  await call('PUT', 'edge/a/network', { body: { effectiveType: 'slow-2g' } });
  await call('PUT', 'edge/a/data/note/old', { body: { n: 1 } });
  await call('PUT', 'edge/a/data/note/urgent', { body: { n: 1 }, headers: { 'X-Priority': 'critical' } });
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  expect(await wake()).toBe(true);
  expect([await isThere('urgent'), await isThere('old')]).toEqual([true, false]);
  const { queue, plan } = (await call('GET', 'edge/a/status')).json;
  expect([queue, plan]).toMatchObject([{ pending: 1 }, { strategy: 'critical', batchSize: 10 }]);

  // Nobody is there any more; it wakes when that has waited for long enough, and not before.
  pass(120_000);
  await wake();
  expect(await isThere('old')).toBe(false);
  expect(await alarmOf('a')).toBe(Date.now() + 180_000);
  pass(180_000);
  await wake();
  expect(await isThere('old')).toBe(true);

  await call('PUT', 'edge/a/data/note/new', { body: { n: 1 } });
  await wake();
  expect(await isThere('new')).toBe(false);
  await call('PUT', 'edge/a/network', { body: { effectiveType: '4g' } });
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  await wake();
  expect(await isThere('new')).toBe(true);
});

test('[I7] a strong read brings up what waits for a better link, and does not wait for that', async () => {
  const { call } = freshSpace();
  stopClock();
  await call('PUT', 'edge/a/network', { body: { saveData: true } });
  const written = await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  const headers = { 'X-Consistency': 'strong', 'X-Causal-Token': String(written.headers.get('X-Causal-Token')) };
  const read = await call('GET', 'edge/a/data/note/x', { headers });
  expect(read).toMatchObject({ status: 200, json: { data: { n: 1 }, source: 'cloud', synced: true } });
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 1 });
});
