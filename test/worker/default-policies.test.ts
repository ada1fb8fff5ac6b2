import { afterEach, describe, expect, test, vi } from 'vitest';
import { EdgeNode } from '../../src/worker.ts';
import { freshSpace, stopClock } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** Two nodes that are not told of news, and whose link waits before it sends: they stay apart until they sync. */
function apart() {
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const { call } = freshSpace();
  return {
    ...stopClock(),
    call,
    put: (node: string, path: string, body: object, headers = {}) =>
      call('PUT', `edge/${node}/data/${path}`, { body, headers: { ECT: '3g', ...headers } }),
    get: (node: string, path: string) => call('GET', `edge/${node}/data/${path}`),
    sync: async (...nodes: string[]) => {
      for (const node of nodes) {
        expect((await call('POST', `edge/${node}/sync`)).json).toMatchObject({ success: true });
      }
    },
    conflicts: async (type: string) => (await call('GET', `conflicts?status=all&entityType=${type}`)).json['items'],
  };
}

describe('transactions', () => {
  const PATH = 'transactions/t1';

  test('are written and read in the cloud, unless a request asks for less', async () => {
    const { call, put, get } = apart();
    expect(await put('a', PATH, { amount: 1 })).toMatchObject({ status: 201, json: { synced: true } });
    expect((await call('GET', `data/${PATH}`)).json).toMatchObject({ data: { amount: 1 } });
    expect((await get('b', PATH)).json).toMatchObject({
      data: { amount: 1 },
      source: 'cloud',
      consistency: 'strong',
      stalenessMs: 0,
    });
    await call('PUT', 'edge/b/network', { body: { online: false } });
    expect(await get('b', PATH)).toMatchObject({ status: 503, code: 'cloud_unavailable' });
    const less = { headers: { 'X-Consistency': 'eventual' } };
    expect((await call('GET', `edge/b/data/${PATH}`, less)).json).toMatchObject({
      source: 'edge',
      consistency: 'eventual',
    });
  });

  test('that are settled stay so, whatever comes later', async () => {
    const { pass, call, put, sync, conflicts } = apart();
    const local = { 'X-Consistency': 'eventual' };
    await put('a', PATH, { status: 'open', amount: 1 }, local);
    await sync('a', 'b');
    await put('a', PATH, { status: 'settled', amount: 1 }, local);
    pass(1_000);
    await put('b', PATH, { status: 'open', amount: 2 }, local);
    await sync('a', 'b');
    expect((await call('GET', `data/${PATH}`)).json).toMatchObject({
      data: { status: 'settled', amount: 1 },
    });
    expect(await conflicts('transactions')).toMatchObject([
      {
        status: 'resolved',
        resolution: { winner: 'local', metadata: { strategy: 'custom', reason: 'only this one is settled' } },
      },
    ]);
  });
});

describe('user-config', () => {
  const PATH = 'user-config/u1';

  test('is served by the session, and both of two changes apart hold', async () => {
    const { put, get, sync } = apart();
    expect(await put('a', PATH, { theme: 'light', size: 1 })).toMatchObject({ status: 201, json: { synced: false } });
    await sync('a', 'b');
    await put('a', PATH, { theme: 'dark', size: 1 });
    await put('b', PATH, { theme: 'light', size: 2 });
    await sync('a', 'b', 'a');
    for (const node of ['a', 'b']) {
      expect((await get(node, PATH)).json).toMatchObject({
        data: { theme: 'dark', size: 2 },
        consistency: 'session',
        source: 'edge',
      });
    }
  });
});

describe('sensor-data', () => {
  const PATH = 'sensor-data/s1';

  test('is served as it is here for a minute, and then asked for', async () => {
    const { pass, put, get, sync } = apart();
    await put('a', PATH, { celsius: 1 });
    await sync('a', 'b');
    await put('a', PATH, { celsius: 2 });
    await sync('a');
    pass(60_000);
    const served = { consistency: 'eventual', source: 'edge' };
    expect((await get('b', PATH)).json).toMatchObject({ ...served, data: { celsius: 1 }, stalenessMs: 60_000 });
    pass(1);
    expect((await get('b', PATH)).json).toMatchObject({ ...served, data: { celsius: 2 }, stalenessMs: 0 });
  });

  test('is what was measured last, whoever comes last', async () => {
    const { pass, call, put, sync, conflicts } = apart();
    await put('a', PATH, { celsius: 0 });
    await sync('a', 'b');
    await put('a', PATH, { celsius: 1, by: 'a' });
    pass(1_000);
    await put('b', PATH, { celsius: 2 });
    await sync('b', 'a');
    expect((await call('GET', `data/${PATH}`)).json['data']).toEqual({ celsius: 2 });
    expect(await conflicts('sensor-data')).toMatchObject([{ resolution: { metadata: { strategy: 'lww' } } }]);
  });
});

test('what is not named is eventual, of any age, and last-writer-wins', async () => {
  const { pass, put, get, sync } = apart();
  await put('a', 'note/n1', { n: 1 });
  await sync('a', 'b');
  await put('a', 'note/n1', { n: 2 });
  await sync('a');
  pass(3600_000);
  expect((await get('b', 'note/n1')).json).toMatchObject({
    data: { n: 1 },
    consistency: 'eventual',
    stalenessMs: 3600_000,
  });
});
