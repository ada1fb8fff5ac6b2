import { evictDurableObject } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace } from '../../src/worker.ts';
import { freshSpace, stopClock, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** A note, a task and a user in the cloud, and at node `a`. */
async function threeTypes() {
  const space = freshSpace();
  stopClock();
  const { call } = space;
  for (const type of ['note', 'task', 'user']) await call('PUT', `data/${type}/x`, { body: { of: type } });
  await call('POST', 'edge/a/sync');
  const held = async () => {
    const found: string[] = [];
    for (const type of ['note', 'task', 'user']) {
      if ((await call('GET', `edge/a/data/${type}/x`)).status === 200) found.push(type);
    }
    return found;
  };
  const ask = (entityTypes: unknown, claims: Record<string, unknown> = {}) =>
    call('PUT', 'edge/a/filter', { body: { entityTypes }, claims });
  const status = async () => (await call('GET', 'edge/a/status')).json;
  return { ...space, held, ask, status };
}

test('[S21] a node asks for what it is told to, from then on, over an eviction; a wider filter brings what is missing', async () => {
  const { call, held, ask, status, edgeObject } = await threeTypes();
  expect(await held()).toEqual(['note', 'task', 'user']);
  expect(await status()).toMatchObject({ filter: null });
  expect(await ask(['note'])).toMatchObject({ status: 200, json: { filter: ['note'] } });
  expect(await held()).toEqual(['note']);
  for (const type of ['note', 'task', 'user']) await call('PUT', `data/${type}/y`, { body: { of: type } });
  expect((await call('POST', 'edge/a/sync')).json).toMatchObject({ success: true });
  expect((await call('GET', 'edge/a/data/note/y')).status).toBe(200);
  expect((await call('GET', 'edge/a/data/task/y')).status).toBe(404);
  await evictDurableObject(edgeObject('a'));
  expect([await held(), (await status())['filter']]).toEqual([['note'], ['note']]);

  expect((await ask(['task', 'note'])).json).toMatchObject({ filter: ['task', 'note'] });
  await until(async () => (await held()).includes('task'));
  expect(await held()).toEqual(['note', 'task']);
  expect((await call('GET', 'edge/a/data/task/y')).json).toMatchObject({ data: { of: 'task' } });
  expect((await ask(null)).json).toMatchObject({ filter: null });
  await until(async () => (await held()).includes('user'));
  expect(await held()).toEqual(['note', 'task', 'user']);
  expect(await status()).toMatchObject({ digestMismatches: 0 });
});

test('[S21] what a node does not hold it denies at no level but eventual, and to no write that depends on it', async () => {
  const { call, ask } = await threeTypes();
  await ask(['note']);
  const headers = { 'X-Session-Id': 's', 'X-Consistency': 'session' };
  expect((await call('PUT', 'edge/a/data/user/x', { body: { by: 'a' }, headers })).status).toBe(201);
  await call('POST', 'edge/a/sync');
  const refused = { status: 421, code: 'not_held' };
  for (const level of ['strong', 'causal', 'session']) {
    for (const path of ['user/x', 'user']) {
      const asked = { headers: { ...headers, 'X-Consistency': level } };
      expect(await call('GET', `edge/a/data/${path}`, asked), `${level} ${path}`).toMatchObject(refused);
    }
  }
  expect((await call('GET', 'edge/a/data/user/x')).status).toBe(404);
  expect((await call('GET', 'edge/a/data/note/x', { headers })).status).toBe(200);
  const patch = { operations: [{ op: 'set', path: 'n', value: 1 }] };
  const changes = [{ operation: 'create', entityType: 'user', entityId: 'x', data: {} }];
  const dependent = [
    ['PATCH', 'data/user/x', { body: patch }],
    ['DELETE', 'data/user/x', {}],
    ['PUT', 'data/user/x', { body: {}, headers: { 'If-None-Match': '*' } }],
    ['PUT', 'data/user/x', { body: {}, headers: { 'If-Match': '*' } }],
    ['POST', 'transactions', { body: { changes } }],
  ] as const;
  for (const [method, path, asked] of dependent) {
    expect(await call(method, `edge/a/${path}`, asked), `${method} ${path}`).toMatchObject(refused);
  }
  // In the cloud there is what it depends on.
  const strong = { body: patch, headers: { 'X-Consistency': 'strong' } };
  expect((await call('PATCH', 'edge/a/data/user/x', strong)).json).toMatchObject({ data: { by: 'a', n: 1 } });
});

test('[I1] [S21] what waits at a node is sent, whatever it asks for', async () => {
  const { call, held, ask } = await threeTypes();
  await call('PUT', 'edge/a/network', { body: { online: false } });
  await call('PUT', 'edge/a/data/user/x', { body: { of: 'user', by: 'a' } });
  await ask(['note']);
  expect(await held()).toEqual(['note', 'user']);
  await call('PUT', 'edge/a/network', { body: { online: true } });
  await until(async () => (await held()).length === 1);
  expect((await call('GET', 'data/user/x')).json).toMatchObject({ data: { of: 'user', by: 'a' } });
});

test('[S21] a filter that comes while a sync is under way takes effect behind it, and nothing of that sync stays', async () => {
  const { call, held, ask } = await threeTypes();
  await call('PUT', 'edge/a/network', { body: { online: false } });
  await call('PUT', 'data/user/x', { body: { of: 'user', n: 2 } });
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { syncExchange } = CloudSpace.prototype;
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async function (
    this: CloudSpace,
    ...args
  ) {
    const answer = await syncExchange.call(this, ...args);
    await released;
    return answer;
  });
  await call('PUT', 'edge/a/network', { body: { online: true } });
  await until(() => exchange.mock.calls.length > 0);
  let isAnswered = false;
  const asking = ask(['note']).finally(() => {
    isAnswered = true;
  });
  await scheduler.wait(50);
  expect(isAnswered).toBe(false);
  release();
  expect((await asking).json).toMatchObject({ filter: ['note'] });
  expect(await held()).toEqual(['note']);
});

test.each([
  [[], 400, 'bad_request'],
  ['note', 400, 'bad_request'],
  [undefined, 400, 'bad_request'],
  [['a b'], 400, 'bad_name'],
  [Array.from({ length: 101 }, (_, index) => `t${index}`), 400, 'bad_request'],
])('[I10] %j is no filter', async (entityTypes, status, code) => {
  const { ask, status: now } = await threeTypes();
  expect(await ask(entityTypes)).toMatchObject({ status, code });
  expect(await now()).toMatchObject({ filter: null });
});

test('[I9] a filter is said by the node itself or an admin', async () => {
  const { ask, status } = await threeTypes();
  for (const claims of [{ role: 'client' }, { role: 'node', node: 'b' }]) {
    expect(await ask(['note'], claims)).toMatchObject({ status: 403, code: 'forbidden' });
  }
  expect(await status()).toMatchObject({ filter: null });
  expect(await ask(['note'], { role: 'node', node: 'a' })).toMatchObject({ status: 200 });
});
