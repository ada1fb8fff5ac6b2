import { evictDurableObject } from 'cloudflare:test';
import { describe, expect, test, vi } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { CloudSpace } from '../../src/worker.ts';
import { freshSpace } from './space.ts';

const add = { operations: [{ op: 'increment', path: 'n', value: 1 }] };
const keyed = (key: string, more = {}) => ({ 'Idempotency-Key': key, ...more });
const STRONG = { 'X-Consistency': 'strong' };

/** The ways to write: at an edge, through it, at the cloud. */
const WAYS: readonly (readonly [string, string, Record<string, string>])[] = [
  ['an eventual write', 'edge/a/data/note/x', {}],
  ['a strong write', 'edge/a/data/note/x', STRONG],
  ['a write at the cloud', 'data/note/x', {}],
];

describe('Idempotency-Key', () => {
  test.each(WAYS)(
    '[I2] [S37] %s that is repeated by its key happens once, and is answered as before',
    async (_, path, headers) => {
      const { call, edgeObject, cloudObject } = freshSpace();
      await call('PUT', path, { body: { n: 0 }, headers });
      const first = await call('PATCH', path, { body: add, headers: keyed('k', headers) });
      expect(first).toMatchObject({ status: 200, json: { data: { n: 1 } } });
      if (path.startsWith('edge')) await evictDurableObject(edgeObject('a'));
      else await evictDurableObject(cloudObject());
      const again = await call('PATCH', path, { body: add, headers: keyed('k', headers) });
      const { changeId, version, data } = first.json;
      expect(again).toMatchObject({ status: 200, json: { changeId, version, data } });
      expect(await call('PATCH', path, { body: add, headers: keyed('other', headers) })).toMatchObject({
        json: { data: { n: 2 } },
      });
    },
  );

  test.each(WAYS)('[S37] %s by the key of another one is refused, and does nothing', async (_, path, headers) => {
    const { call } = freshSpace();
    await call('PUT', path, { body: { n: 0 }, headers: keyed('k', headers) });
    const other = await call('PUT', path, { body: { n: 9 }, headers: keyed('k', headers) });
    expect(other).toMatchObject({ status: 422, code: 'idempotency_key_reused' });
    expect((await call('GET', path, { headers })).json['data']).toEqual({ n: 0 });
  });

  test.each(WAYS)('[S37] %s that was refused may be tried again by its key', async (_, path, headers) => {
    const { call } = freshSpace();
    expect(await call('PATCH', path, { body: add, headers: keyed('k', headers) })).toMatchObject({ code: 'not_found' });
    await call('PUT', path, { body: { n: 5 }, headers });
    expect(await call('PATCH', path, { body: add, headers: keyed('k', headers) })).toMatchObject({
      json: { data: { n: 6 } },
    });
  });

  test('[I2] [I7] [S37] a strong write whose answer was lost is done once, at whichever node it is repeated', async () => {
    const { call } = freshSpace();
    await call('PUT', 'data/note/x', { body: { n: 0 } });
    await call('POST', 'edge/a/sync');
    const { syncExchange } = CloudSpace.prototype;
    const lost = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async function (
      this: CloudSpace,
      ...args
    ) {
      await syncExchange.apply(this, args);
      return { ok: false, code: 'cloud_unavailable', detail: 'the answer was lost', details: {} };
    });
    const path = 'edge/a/data/note/x';
    const unknown = await call('PATCH', path, { body: add, headers: keyed('k', STRONG) });
    expect(unknown.code).toBe('outcome_unknown');
    lost.mockRestore();
    for (const node of ['a', 'b']) {
      const again = await call('PATCH', `edge/${node}/data/note/x`, { body: add, headers: keyed('k', STRONG) });
      expect(again).toMatchObject({ status: 200, json: { data: { n: 1 }, changeId: expect.stringMatching(/^a:/) } });
    }
    expect(await call('PATCH', 'data/note/x', { body: add, headers: keyed('k') })).toMatchObject({
      json: { data: { n: 1 } },
    });
    expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 1 });
  });

  test('[I2] [I8] [S37] a transaction that is repeated by its key happens once', async () => {
    const { call } = freshSpace();
    for (const id of ['x', 'y']) await call('PUT', `edge/a/data/note/${id}`, { body: { n: 0 } });
    const changes = ['x', 'y'].map((entityId) => ({ operation: 'update', entityType: 'note', entityId, ...add }));
    for (const level of [{}, STRONG]) {
      const headers = keyed(`k${Object.keys(level).length}`, level);
      const first = await call('POST', 'edge/a/transactions', { body: { changes }, headers });
      const again = await call('POST', 'edge/a/transactions', { body: { changes }, headers });
      expect(again.status).toBe(200);
      const told = ({ json }: typeof first) =>
        (json['changes'] as { changeId: string }[]).map(({ changeId }) => changeId);
      expect(told(again)).toEqual(told(first));
    }
    expect((await call('GET', 'edge/a/data/note/y')).json['data']).toEqual({ n: 2 });
  });

  test('[S37] the same write at another level, or as a transaction, is another one', async () => {
    const { call } = freshSpace();
    for (const node of ['a', 'b']) await call('PUT', `edge/${node}/data/note/x`, { body: { n: 0 }, headers: STRONG });
    const one = (node: string, key: string, level = {}) =>
      call('PATCH', `edge/${node}/data/note/x`, { body: add, headers: keyed(key, level) });
    const several = (node: string, key: string, level = {}) => {
      const changes = [{ operation: 'update', entityType: 'note', entityId: 'x', ...add }];
      return call('POST', `edge/${node}/transactions`, { body: { changes }, headers: keyed(key, level) });
    };
    const reused = { status: 422, code: 'idempotency_key_reused' };
    expect((await one('a', 'here')).status).toBe(200);
    expect(await one('a', 'here', STRONG)).toMatchObject(reused);
    expect(await several('a', 'here')).toMatchObject(reused);
    expect((await one('a', 'strong', STRONG)).status).toBe(200);
    expect(await one('a', 'strong')).toMatchObject(reused);
    expect(await several('b', 'strong', STRONG)).toMatchObject(reused);
    expect((await several('a', 'all', STRONG)).status).toBe(200);
    expect(await several('a', 'all')).toMatchObject(reused);
    expect(await one('b', 'all', STRONG)).toMatchObject(reused);
    expect((await call('GET', 'edge/a/data/note/x', { headers: STRONG })).json['data']).toEqual({ n: 3 });
  });

  test('[I9] [S37] a key is its caller’s own', async () => {
    const { call } = freshSpace();
    const put = (n: number, sub: string) =>
      call('PUT', 'edge/a/data/note/x', { body: { n }, headers: keyed('k'), claims: { sub } });
    expect((await put(1, 'ann')).json['data']).toEqual({ n: 1 });
    expect((await put(2, 'bob')).json['data']).toEqual({ n: 2 });
    expect((await put(1, 'ann')).json['data']).toEqual({ n: 1 });
    expect((await call('GET', 'edge/a/data/note/x')).json['data']).toEqual({ n: 2 });
  });

  test('[I10] [S37] a key that is none is refused, and one is forgotten after a day', async () => {
    const { call } = freshSpace();
    for (const key of ['a b', 'x'.repeat(LIMITS.idempotencyKeyChars + 1), 'ü']) {
      const answer = await call('PUT', 'edge/a/data/note/x', { body: {}, headers: keyed(key) });
      expect(answer).toMatchObject({ status: 400, code: 'bad_request' });
    }
    const put = (n: number) => call('PUT', 'edge/a/data/note/x', { body: { n }, headers: keyed('k') });
    await put(1);
    const now = Date.now();
    vi.spyOn(Date, 'now').mockReturnValue(now + LIMITS.memoMs + 1_000);
    expect((await put(2)).json['data']).toEqual({ n: 2 });
    vi.restoreAllMocks();
  });
});
