import { runDurableObjectAlarm } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { describe, expect, test } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { freshCaller } from './caller.ts';

/** Records in D1. */
async function projected(records: Record<string, unknown>) {
  const { space, call } = freshCaller();
  for (const [id, data] of Object.entries(records)) await call('PUT', `data/note/${id}`, { body: data });
  const cloud = env.CLOUD.getByName(space);
  const isBehind = async () => Number((await call('GET', 'data/note')).json['lagMs']) > 0;
  while (await isBehind()) await runDurableObjectAlarm(cloud);
  const query = async (parameters: Record<string, string>, more = {}) => {
    return await call('GET', `data/note?${new URLSearchParams(parameters)}`, more);
  };
  const ids = async (parameters: Record<string, string>) => {
    const { json } = await query(parameters);
    return (json['items'] as { entityId: string }[]).map(({ entityId }) => entityId);
  };
  return { space, call, query, ids };
}

describe('[I10] a page of a query is bounded in bytes', () => {
  const text = 'ä'.repeat(100_000);
  const records = Object.fromEntries(['a', 'b', 'c', 'd', 'e'].map((id, n) => [id, { text, n, odd: n % 2 === 1 }]));

  test.each<[Record<string, string>, string]>([
    [{}, 'abcde'],
    [{ order: '-n' }, 'edcba'],
    [{ order: 'text', where: 'odd:eq:false' }, 'ace'],
  ])('[S7] %j', async (parameters, wanted) => {
    const { query } = await projected(records);
    const found: string[] = [];
    let pages = 0;
    for (let after: string | null = ''; after !== null; pages += 1) {
      const { json } = await query({ ...parameters, limit: '300', ...(after === '' ? {} : { after }) });
      const items = json['items'] as { entityId: string; data: unknown }[];
      expect(JSON.stringify(items.map(({ data }) => data)).length).toBeLessThanOrEqual(LIMITS.listBytes);
      expect(items.length).toBeGreaterThan(0);
      found.push(...items.map(({ entityId }) => entityId));
      after = json['next'] as string | null;
    }
    expect(found.join('')).toBe(wanted);
    expect(pages).toBe(Math.ceil(wanted.length / 2));
  });

  test('and in items, as asked for', async () => {
    const { query } = await projected({ a: {}, b: {}, c: {} });
    expect((await query({ limit: '2' })).json).toMatchObject({
      items: [{ entityId: 'a' }, { entityId: 'b' }],
      next: '[null,"b"]',
    });
    expect((await query({ limit: '3' })).json).toMatchObject({ items: [{}, {}, {}], next: null });
    expect((await query({ limit: '2', where: 'a:eq:1' })).json).toMatchObject({ items: [], next: null });
  });
});

test('[S7] digits in a field are the index of an element, or a name, whichever is there', async () => {
  const { ids } = await projected({
    list: { tags: ['a', 'b'], grid: [[1], [2, 3]] },
    names: { tags: { '0': 'a', '01': 'c' }, grid: { '1': { '1': 3 } } },
    mixed: { tags: ['b'], grid: [{ '1': 3 }, { '1': 3 }] },
    none: { tags: 'a' },
  });
  expect(await ids({ where: 'tags.0:eq:a' })).toEqual(['list', 'names']);
  expect(await ids({ where: '/tags/1:eq:b' })).toEqual(['list']);
  expect(await ids({ where: 'grid.1.1:eq:3' })).toEqual(['list', 'mixed', 'names']);
  expect(await ids({ where: 'tags.01:eq:c' })).toEqual(['names']);
  expect(await ids({ where: 'tags.0:eq:null' })).toEqual(['none']);
  expect(await ids({ where: 'tags.4294967296:eq:a' })).toEqual([]);
  expect(await ids({ where: 'tags.0:ge:a', order: '-tags.0' })).toEqual(['mixed', 'list', 'names']);
});

test('what D1 would stumble over is told, and everything else is found', async () => {
  const { query, ids } = await projected({ x: { 'ö "': 1, '': 2, a: { b: 'x%y' }, 'c d': 3 } });
  const refused = { status: 400, code: 'bad_request' };
  const longest = '%'.repeat(LIMITS.likePatternBytes);
  expect(await ids({ where: `a.b:like:${longest}` })).toEqual(['x']);
  expect(await query({ where: `a.b:like:${longest}x` })).toMatchObject(refused);
  expect(await query({ where: 'a.b:eq:1e999' })).toMatchObject(refused);
  for (const field of ['a\\b', 'a"b', 'a\u0000b', 'a\nb']) {
    expect(await query({ where: `${field}:eq:1` })).toMatchObject(refused);
    expect(await query({ order: field })).toMatchObject(refused);
  }
  for (const where of ['/:eq:2', 'c d:eq:3', `${'a.'.repeat(500)}a:eq:null`, "a.b:ne:it's"]) {
    expect(await ids({ where }), where).toEqual(['x']);
  }
  const all = Array.from({ length: LIMITS.queryConditions }, () => ['where', 'a.0.1:eq:null']);
  expect((await query({ order: 'a.0.1' }, {})).status).toBe(200);
  const parameters = new URLSearchParams([...all, ['order', '-a.0.1'], ['after', '[null,"w"]']]);
  expect((await freshCaller().call('GET', `data/note?${parameters}`)).status).toBe(200);
});

test('a query says again which part stands there twice', async () => {
  const { call } = freshCaller();
  for (const twice of ['limit=1&limit=2', 'after=[null,"a"]&after=[null,"b"]', 'order=a&order=b']) {
    expect(await call('GET', `data/note?${twice}`)).toMatchObject({ status: 400, code: 'bad_request' });
  }
});

test('where D1 does not answer, the failure is one that passes', async () => {
  const { call } = freshCaller();
  const broken = { prepare: () => ({ bind: () => ({ all: () => Promise.reject(new Error('D1_ERROR: away')) }) }) };
  expect(await call('GET', 'data/note', { bindings: { DB: broken } })).toMatchObject({
    status: 503,
    code: 'cloud_unavailable',
    json: { retryAfterMs: 1_000 },
  });
});

test('a query carries on what its caller has seen, with what D1 holds', async () => {
  const { call, query } = await projected({ x: { n: 1 } });
  expect(await query({}, { headers: { 'X-Causal-Token': 'forged' } })).toMatchObject({
    status: 400,
    code: 'bad_token',
  });
  await call('PUT', 'edge/a/network', { body: { online: false } });
  const atEdge = await call('PUT', 'edge/a/data/note/y', { body: { n: 2 } });
  const token = { 'X-Causal-Token': atEdge.headers.get('X-Causal-Token') ?? '' };
  const seenBy = (headers: Headers) =>
    JSON.parse(atob((headers.get('X-Causal-Token') ?? '').split('.')[0] ?? '')) as unknown;
  const epoch = expect.any(String);
  expect(seenBy((await query({})).headers)).toEqual({ epoch, clock: { cloud: 1 }, atMs: expect.any(Number) });
  expect(seenBy((await query({}, { headers: token })).headers)).toEqual({
    epoch,
    clock: { cloud: 1, a: 1 },
    atMs: expect.any(Number),
  });
});
