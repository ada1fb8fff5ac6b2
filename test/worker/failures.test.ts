import { evictDurableObject, runDurableObjectAlarm } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import { CloudSpace } from '../../src/worker.ts';
import { freshSpace, stopClock } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** From now on the cloud fails at records of this id, as by a bug of its own. */
function poison(id: string): void {
  // It says so in its log.
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const { writeEntity } = SqlCloudStore.prototype;
  vi.spyOn(SqlCloudStore.prototype, 'writeEntity').mockImplementation(function (this: SqlCloudStore, entity) {
    if (entity.entityId === id) throw new RangeError('a bug');
    writeEntity.call(this, entity);
  });
}

/** A node over a limited link, where a write waits for the alarm. */
async function node() {
  const space = freshSpace();
  const { pass } = stopClock();
  await space.edge('a').setNetwork({ effectiveType: '3g' });
  const items = async (status: string) =>
    (await space.call('GET', `edge/a/queue?status=${status}`)).json['items'] as Record<string, unknown>[];
  const wake = () => runDurableObjectAlarm(space.edgeObject('a'));
  return { ...space, pass, items, wake, status: async () => (await space.call('GET', 'edge/a/status')).json };
}

test('[I11] [S12] [S27] a poisoned change is tried three times, is dead then, and can be sent again; others go on', async () => {
  const { call, pass, items, wake, alarmOf, status } = await node();
  poison('poison');
  await call('PUT', 'edge/a/data/note/poison', { body: { n: 1 } });
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  expect((await call('POST', 'edge/a/sync')).json).toMatchObject({
    success: true,
    uploaded: 1,
    failed: 1,
    rejected: 0,
  });
  const failed = { changeId: 'a:1', status: 'failed', error: { code: 'internal' }, data: { n: 1 } };
  for (const [tries, waitMs] of [
    [1, 1_000],
    [2, 2_000],
  ] as const) {
    expect(await items('failed')).toMatchObject([{ ...failed, retryCount: tries, lastAttempt: Date.now() }]);
    expect(await status()).toMatchObject({ queue: { failed: 1, pending: 0, dead: 0 } });
    expect(await alarmOf('a')).toBe(Date.now() + waitMs);
    expect((await call('GET', 'edge/a/data/note/poison')).json).toMatchObject({ data: { n: 1 }, synced: false });
    pass(waitMs);
    await call('PUT', 'edge/a/data/note/x', { body: { n: waitMs } });
    await wake();
    expect((await call('GET', 'data/note/x')).json).toMatchObject({ data: { n: waitMs } });
  }
  expect(await status()).toMatchObject({ queue: { failed: 0, dead: 1, total: 1 } });
  const detail = expect.stringContaining('the cloud failed at this change');
  expect(await items('dead')).toMatchObject([{ retryCount: 3, lastAttempt: Date.now(), error: { detail } }]);
  expect((await call('GET', 'edge/a/data/note/poison')).status).toBe(404);

  vi.restoreAllMocks();
  const { json } = await call('POST', 'edge/a/queue/a:1/retry');
  expect(await items('pending')).toMatchObject([{ changeId: json['changeId'], retryCount: 0, lastAttempt: null }]);
  pass(1_000);
  await wake();
  expect((await call('GET', 'data/note/poison')).json).toMatchObject({ data: { n: 1 }, version: json['changeId'] });
  expect(await status()).toMatchObject({ queue: { total: 0 } });
});

test('[S27] a strong write at which the cloud fails is refused at once, and nothing of it waits', async () => {
  const { call, status } = await node();
  poison('poison');
  const strong = { body: { n: 1 }, headers: { 'X-Consistency': 'strong' } };
  expect(await call('PUT', 'edge/a/data/note/poison', strong)).toMatchObject({ status: 500, code: 'internal' });
  expect(await status()).toMatchObject({ queue: { total: 0 } });
});

test('[I11] [S28] a batch that the cloud fails at goes in parts, and what it fails at alone is to blame', async () => {
  const { call, items } = await node();
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const { syncExchange } = CloudSpace.prototype;
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async function (
    this: CloudSpace,
    session,
    text,
    caller,
  ) {
    if (text.includes('poison')) return { ok: false, code: 'internal', detail: 'a bug', details: {} };
    return await syncExchange.call(this, session, text, caller);
  });
  for (const id of ['n1', 'n2', 'poison', 'n3', 'n4']) await call('PUT', `edge/a/data/note/${id}`, { body: { id } });
  expect((await call('POST', 'edge/a/sync')).json).toMatchObject({ success: true, uploaded: 4, failed: 1 });
  expect(await items('failed')).toMatchObject([{ entityId: 'poison', retryCount: 1, error: { code: 'internal' } }]);
  for (const id of ['n1', 'n2', 'n3', 'n4']) expect((await call('GET', `data/note/${id}`)).status).toBe(200);
});

test('[S23] a node whose token is refused says so, keeps all, asks seldom, and goes on when it is let in', async () => {
  const { call, pass, wake, alarmOf, status } = await node();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const refusal = { ok: false, code: 'unauthenticated', detail: 'the token is too old', details: {} } as const;
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(refusal);
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  pass(1_000);
  await wake();
  const waitMs = 225_000;
  expect(await status()).toMatchObject({
    paused: 'needs-auth',
    state: 'idle',
    queue: { pending: 1, dead: 0 },
    nextAttemptAt: Date.now() + waitMs,
    lastSyncResult: { success: false, error: { code: 'unauthenticated', detail: 'the token is too old' } },
  });
  expect(await alarmOf('a')).toBe(Date.now() + waitMs);
  exchange.mockRestore();
  await call('PUT', 'edge/a/network', { body: { online: true } });
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  pass(1_000);
  await wake();
  expect(await status()).toMatchObject({ paused: null, queue: { total: 0 } });
  expect((await call('GET', 'data/note/x')).status).toBe(200);
});

test('[S23] a cloud that asks for time gets it also from a node that was evicted, and that is called', async () => {
  const { call, pass, wake, alarmOf, status, edgeObject } = await node();
  const busy = { ok: false, code: 'overloaded', detail: 'busy', details: { retryAfterMs: 600_000 } } as const;
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(busy);
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  await call('POST', 'edge/a/sync');
  const dueMs = Date.now() + 600_000;
  await evictDurableObject(edgeObject('a'));
  pass(30_000);
  await wake();
  expect(await status()).toMatchObject({ nextAttemptAt: dueMs, queue: { pending: 1 } });
  await call('GET', 'edge/a/data/note/y', { headers: { 'X-Max-Staleness-Ms': '0' } });
  await call('PUT', 'edge/a/network', { body: { effectiveType: '4g' } });
  const strong = await call('GET', 'edge/a/data/note/x', { headers: { 'X-Consistency': 'strong' } });
  expect(strong).toMatchObject({ status: 503, code: 'overloaded', json: { retryAfterMs: 570_000 } });
  expect(strong.headers.get('Retry-After')).toBe('570');
  expect(exchange).toHaveBeenCalledTimes(1);
  exchange.mockRestore();
  pass(570_000);
  expect(await alarmOf('a')).toBeLessThanOrEqual(Date.now());
  await wake();
  expect(await status()).toMatchObject({ nextAttemptAt: null, queue: { total: 0 } });
});

test('[S23] a cloud that asks for time gets it: an alarm that rings earlier asks nothing', async () => {
  const { call, pass, wake, alarmOf } = await node();
  const busy = { ok: false, code: 'overloaded', detail: 'busy', details: { retryAfterMs: 90_000 } } as const;
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(busy);
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  await call('POST', 'edge/a/sync');
  const dueMs = Date.now() + 90_000;
  // It was set for the write.
  expect(await alarmOf('a')).toBeLessThan(dueMs);
  pass(1_000);
  await wake();
  expect(exchange).toHaveBeenCalledTimes(1);
  expect(await alarmOf('a')).toBe(dueMs);
});
