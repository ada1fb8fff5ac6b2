import { afterEach, describe, expect, test, vi } from 'vitest';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import { CloudSpace, EdgeNode } from '../../src/worker.ts';
import { freshSpace, made, seen, stopClock } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const STRONG = { 'X-Consistency': 'strong' };

describe('data at the cloud', () => {
  test('is written whole, by operations and by a merge patch, and deleted', async () => {
    const { call } = freshSpace();
    const merge = { 'Content-Type': 'application/merge-patch+json; charset=utf-8' };
    const operations = [
      { op: 'increment', path: 'n', value: 2 },
      { op: 'push', path: 'tags', value: 'b' },
    ];
    const created = await call('PUT', 'data/note/x', { body: { n: 1, tags: ['a'] } });
    expect(created).toMatchObject({
      status: 201,
      json: { success: true, version: 'cloud:1', synced: true, vectorClock: { cloud: 1 } },
    });
    expect(created.headers.get('ETag')).toBe('"cloud:1"');
    expect(await call('PATCH', 'data/note/x', { body: { operations } })).toMatchObject({
      status: 200,
      json: { version: 'cloud:2', changeId: 'cloud:2', synced: true, data: { n: 3, tags: ['a', 'b'] } },
    });
    const merged = await call('PATCH', 'data/note/x', { headers: merge, body: { tags: null, m: 1 } });
    expect(merged.json['data']).toEqual({ n: 3, m: 1 });
    expect((await call('GET', 'data/note/x')).json).toMatchObject({
      data: { n: 3, m: 1 },
      version: 'cloud:3',
      source: 'cloud',
      consistency: 'strong',
    });
    expect(await call('DELETE', 'data/note/x')).toMatchObject({
      status: 200,
      json: { data: null, version: 'cloud:4' },
    });
    const gone = await call('GET', 'data/note/x');
    expect(gone).toMatchObject({ status: 404, code: 'not_found' });
    expect(seen(gone)).toBeDefined();
    expect((await call('PUT', 'data/note/x', { body: {} })).status).toBe(201);
  });

  test('is not changed by what does not fit', async () => {
    const { call } = freshSpace();
    await call('PUT', 'data/note/x', { body: { text: 'a' } });
    const cases: [string, string, unknown, number, string][] = [
      ['PATCH', 'x', { operations: [{ op: 'increment', path: 'text', value: 1 }] }, 422, 'invalid_operation'],
      ['PATCH', 'x', { operations: [] }, 400, 'bad_request'],
      ['PATCH', 'x', { text: 'b' }, 400, 'bad_request'],
      ['PATCH', 'none', { operations: [{ op: 'unset', path: 'a' }] }, 404, 'not_found'],
      ['DELETE', 'none', undefined, 404, 'not_found'],
    ];
    for (const [method, id, body, status, code] of cases) {
      expect(await call(method, `data/note/${id}`, { body }), `${method} ${id}`).toMatchObject({ status, code });
    }
    expect((await call('GET', 'data/note/x')).json).toMatchObject({ data: { text: 'a' }, version: 'cloud:1' });
  });

  test.each(['data', 'edge/a/data'])('is written on condition, and read where it is new: /v1/%s', async (place) => {
    const { call } = freshSpace();
    const path = `${place}/note/x`;
    const put = (headers: Record<string, string>) => call('PUT', path, { body: {}, headers });
    const failed = { status: 412, code: 'precondition_failed' };
    expect(await put({ 'If-Match': '*' })).toMatchObject(failed);
    expect((await put({ 'If-None-Match': '*' })).status).toBe(201);
    const { headers, json } = await call('GET', path);
    const tag = made(headers.get('ETag'));
    expect(tag).toBe(`"${json['version']}"`);
    for (const conditions of [{ 'If-Match': '"a:99"' }, { 'If-None-Match': '*' }, { 'If-None-Match': tag }]) {
      expect(await put(conditions)).toMatchObject({ ...failed, json: { current: json['version'] } });
    }
    const deleted = await call('DELETE', path, { headers: { 'If-Match': '"a:99"' } });
    expect(deleted).toMatchObject(failed);
    const operations = [{ op: 'set', path: 'n', value: 1 }];
    const patched = await call('PATCH', path, { body: { operations }, headers: { 'If-Match': '"a:99"' } });
    expect(patched).toMatchObject(failed);

    for (const condition of [tag, `W/${tag}`, String(json['version']), '*']) {
      const answer = await call('GET', path, { headers: { 'If-None-Match': condition } });
      expect(answer, condition).toMatchObject({ status: 304, json: {} });
      expect(answer.headers.get('ETag')).toBe(tag);
      expect(seen(answer)).toBeDefined();
    }
    const changed = await put({ 'If-Match': tag });
    expect(changed.status).toBe(200);
    const answer = await call('GET', path, { headers: { 'If-None-Match': tag } });
    expect(answer).toMatchObject({ status: 200, json: { version: changed.json['version'] } });
  });
});

describe('a strong write at an edge', () => {
  test('[I7] is in the cloud when it is answered, and says where it met another one', async () => {
    vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
    const { call } = freshSpace();
    const created = await call('PUT', 'edge/a/data/note/x', { body: { n: 1 }, headers: STRONG });
    expect(created).toMatchObject({
      status: 201,
      json: { success: true, synced: true, version: 'cloud:1', changeId: 'a:1', data: { n: 1 } },
    });
    expect(created.json).not.toHaveProperty('conflict');
    expect((await call('GET', 'data/note/x')).json).toMatchObject({ data: { n: 1 }, version: 'cloud:1' });

    await call('POST', 'edge/b/sync');
    await call('PUT', 'data/note/x', { body: { n: 2 } });
    // Node b has not seen that.
    const met = await call('PUT', 'edge/b/data/note/x', { body: { n: 3 }, headers: STRONG });
    expect(met).toMatchObject({
      status: 200,
      json: { synced: true, data: { n: 3 }, conflict: { id: expect.any(String) } },
    });
    const { id } = met.json['conflict'] as { id: string };
    expect((await call('GET', `conflicts/${id}`)).json).toMatchObject({
      local: { data: { n: 2 } },
      remote: { data: { n: 3 } },
      resolution: { winner: 'remote' },
    });
    for (const path of ['data/note/x', 'edge/b/data/note/x']) {
      expect((await call('GET', path)).json).toMatchObject({ data: { n: 3 }, version: met.json['version'] });
    }
  });

  test('by operations, of one that is deleted, and a deletion', async () => {
    const { call } = freshSpace();
    const operations = [{ op: 'increment', path: 'n', value: 1 }];
    const patch = () => call('PATCH', 'edge/a/data/note/x', { body: { operations }, headers: STRONG });
    await call('PUT', 'data/note/x', { body: { n: 1 } });
    expect(await patch()).toMatchObject({ status: 200, json: { data: { n: 2 }, synced: true } });
    expect((await call('DELETE', 'edge/a/data/note/x', { headers: STRONG })).json).toMatchObject({
      data: null,
      synced: true,
    });
    expect((await call('GET', 'data/note/x')).status).toBe(404);
    expect(await patch()).toMatchObject({ status: 404, code: 'not_found' });
    expect((await call('GET', 'edge/a/status')).json).toMatchObject({ queue: { total: 0 } });
  });
});

test.each([
  ['cloud_unavailable', 'GET', 503, 'cloud_unavailable'],
  // An exchange that broke may have been taken, unless the cloud itself said no.
  ['cloud_unavailable', 'PUT', 504, 'outcome_unknown'],
  ['overloaded', 'GET', 503, 'overloaded'],
  ['overloaded', 'PUT', 503, 'overloaded'],
  ['rate_limited', 'GET', 429, 'rate_limited'],
  ['rate_limited', 'PUT', 429, 'rate_limited'],
] as const)('where an exchange ends with %s, a strong %s is %i %s, and nothing is queued', async (...given) => {
  const [failure, method, status, code] = given;
  const { call } = freshSpace();
  await call('POST', 'edge/a/sync');
  const away = { ok: false, code: failure, detail: 'not now', details: {} } as const;
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(away);
  const body = method === 'PUT' ? {} : undefined;
  const answer = await call(method, 'edge/a/data/note/x', { body, headers: STRONG });
  expect(answer).toMatchObject({ status, code });
  if (code !== 'outcome_unknown') {
    expect([answer.headers.get('Retry-After'), answer.json['retryAfterMs']]).toEqual(['1', 1_000]);
  }
  expect((await call('GET', 'edge/a/status')).json).toMatchObject({ queue: { total: 0 } });
});

test('X-Max-Staleness-Ms asks the cloud first where the node is older, and is served where it can’t be asked', async () => {
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const { call } = freshSpace();
  const { pass } = stopClock();
  const put = (n: number) => call('PUT', 'data/note/x', { body: { n } });
  const get = async (maxMs?: number) => {
    const headers = maxMs === undefined ? {} : { 'X-Max-Staleness-Ms': String(maxMs) };
    const { json } = await call('GET', 'edge/a/data/note/x', { headers });
    return [(json['data'] as { n: number }).n, json['stalenessMs'], json['source']];
  };
  await put(1);
  // Has never asked: what it has is of no age at all.
  expect(await get()).toEqual([1, 0, 'edge']);
  await put(2);
  pass(5_000);
  expect(await get()).toEqual([1, 5_000, 'edge']);
  expect(await get(5_000)).toEqual([1, 5_000, 'edge']);
  expect(await get(4_999)).toEqual([2, 0, 'edge']);
  await put(3);
  pass(1);
  expect(await get(0)).toEqual([3, 0, 'edge']);
  await put(4);
  await call('PUT', 'edge/a/network', { body: { online: false } });
  pass(1_000);
  expect(await get(0)).toEqual([3, 1_000, 'edge']);
  for (const text of ['-1', '1.5', 'soon', '', '1e999']) {
    const headers = { 'X-Max-Staleness-Ms': text };
    expect(await call('GET', 'edge/a/data/note/x', { headers }), text).toMatchObject({ code: 'bad_request' });
  }
});

test('[I7] strong reads at an edge, of one and of a list, show what the cloud has, and not what it fails to take', async () => {
  const { call } = freshSpace();
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 }, headers: STRONG });
  vi.spyOn(SqlCloudStore.prototype, 'writeEntity').mockImplementation(() => {
    throw new Error('a bug');
  });
  vi.spyOn(console, 'error').mockReturnValue(undefined);
  await call('PUT', 'edge/a/data/note/x', { body: { n: 2 } });
  await call('PUT', 'edge/a/data/note/y', { body: { n: 2 } });
  for (const path of ['edge/a/data/note/x', 'data/note/x']) {
    const read = await call('GET', path, { headers: STRONG });
    expect(read.json, path).toMatchObject({ data: { n: 1 }, source: 'cloud', synced: true });
  }
  const list = await call('GET', 'edge/a/data/note', { headers: STRONG });
  expect(list.json['items']).toMatchObject([{ entityId: 'x', data: { n: 1 }, source: 'cloud' }]);
  expect((await call('GET', 'edge/a/data/note/x')).json).toMatchObject({ data: { n: 2 }, source: 'edge' });
});
