import { describe, expect, onTestFinished, test, vi } from 'vitest';
import * as z from 'zod';
import { EdgeCloudClient, type Receipt } from '../../src/client/client.ts';
import { memoryStorage } from '../../src/client/storage.ts';
import { syncStatusOf } from '../../src/client/sync-status.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { policies } from '../../src/policies.ts';
import { began, FROM_CLOUD, FROM_EDGE } from './clients.ts';

describe.each([FROM_CLOUD, FROM_EDGE])('a client below %s', (endpoint) => {
  test('[S42] writes at once, and tells what the cloud made of it; another one reads it', async () => {
    const { client } = began(endpoint);
    const [a, b] = [await client('a'), await client('b')];
    const first = await a.write('note', 'x', { n: 1 });
    expect(first).toMatchObject({ changeId: 'a:1', created: true, data: { n: 1 } });
    expect(await a.read('note', 'x')).toMatchObject({ data: { n: 1 }, version: 'a:1' });
    expect(await first.settled).toMatchObject({ changeId: 'a:1', status: 'applied' });
    await a.patch('note', 'x', [{ op: 'increment', path: 'n', value: 2 }]);
    const { settled } = await a.write('note', 'y', {});
    await settled;
    expect((await b.sync()).success).toBe(true);
    expect(await b.read('note', 'x')).toMatchObject({ data: { n: 3 }, synced: true });
    expect((await b.list('note')).items.map(({ entityId }) => entityId)).toEqual(['x', 'y']);
    await (await b.delete('note', 'y')).settled;
    await a.sync();
    expect(await a.read('note', 'y')).toBeNull();
  });

  test('[I7] [S42] a strong write and a strong read are of the cloud', async () => {
    const { client, call } = began(endpoint);
    const a = await client('a', { consistencyRules: { order: { level: 'strong' } } });
    const { settled, data } = await a.write('order', 'x', { n: 1 });
    expect([data, (await settled).status]).toEqual([{ n: 1 }, 'applied']);
    expect((await call('GET', 'data/order/x')).json['data']).toEqual({ n: 1 });
    await call('PUT', 'data/order/x', { body: { n: 2 } });
    expect((await a.read('order', 'x'))?.data).toEqual({ n: 2 });
  });

  test('[I8] [S42] a transaction is taken whole, or not at all', async () => {
    const { client, call } = began(endpoint);
    const a = await client('a');
    const put = (entityId: string) => ({ entityType: 'note', entityId, kind: 'put', data: {} }) as const;
    const receipts = await a.transact([put('x'), put('y')]);
    await Promise.all(receipts.map(({ settled }) => settled));
    expect((await call('GET', 'data/note/y')).status).toBe(200);
    const missing = { entityType: 'note', entityId: 'none', kind: 'delete' } as const;
    await expect(a.transact([put('z'), missing])).rejects.toMatchObject({ code: 'not_found' });
    expect(await a.read('note', 'z')).toBeNull();
  });

  test('[S42] a write that met another one says so, and is in the inbox', async () => {
    const { client, call } = began(endpoint);
    const [a, b] = [await client('a'), await client('b')];
    const conflicts: string[] = [];
    b.on('conflict', ({ conflictId = '' }) => conflicts.push(conflictId));
    a.setNetwork({ online: false });
    b.setNetwork({ online: false });
    const mine = await a.write('note', 'x', { of: 'a' });
    const theirs = await b.write('note', 'x', { of: 'b' });
    a.setNetwork({ online: true });
    await mine.settled;
    b.setNetwork({ online: true });
    const { conflictId, status } = await theirs.settled;
    expect([status, conflicts]).toEqual(['applied', [conflictId]]);
    expect((await call('GET', `conflicts/${conflictId}`)).status).toBe(200);
  });
});

test('[S42] writes that went into one another are settled together', async () => {
  const { client } = began();
  const a = await client('a');
  await a.sync();
  a.setNetwork({ online: false });
  const receipts: Receipt[] = [];
  for (let n = 0; n < 3; n += 1) receipts.push(await a.write('note', 'x', { n }));
  expect(a.status().queue.pending).toBe(1);
  a.setNetwork({ online: true });
  const settled = await Promise.all(receipts.map((receipt) => receipt.settled));
  expect(settled.map(({ status, changeId }) => [status, changeId])).toEqual([
    ['applied', 'a:1'],
    ['applied', 'a:2'],
    ['applied', 'a:3'],
  ]);
});

test('[S42] a token is asked for again when it was refused; what waits stays', async () => {
  const { client, tokenOf } = began();
  const token = vi.fn(async () => await tokenOf('a', token.mock.calls.length === 1 ? { exp: 1 } : {}));
  const a = await client('a', { token });
  expect((await (await a.write('note', 'x', {})).settled).status).toBe('applied');
  expect(token).toHaveBeenCalledTimes(2);

  const b = await client('b', { token: await tokenOf('b', { exp: 1 }) });
  await b.write('note', 'y', {});
  expect(await b.sync()).toMatchObject({ success: false, error: { code: 'unauthenticated' } });
  expect(b.status()).toMatchObject({ paused: 'needs-auth', queue: { pending: 1 } });
});

test('[S42] what the client expects and the cloud does not do is a warning', async () => {
  const { client } = began();
  const a = await client('a', { conflictStrategies: { note: 'manual' } });
  await a.sync();
  expect(a.status().warnings).toEqual([expect.stringContaining("note: the cloud decides conflicts by 'lww'")]);
});

test('[S42] a listener is told of what it asked for, and one that fails disturbs nobody', async () => {
  const { client } = began();
  const a = await client('a');
  const errors = vi.spyOn(console, 'error').mockReturnValue(undefined);
  const seen: string[] = [];
  a.on('change', () => {
    throw new Error('a bug of the app');
  });
  const end = a.subscribe(['note'], ({ entityId, operation }) => seen.push(`${operation} ${entityId}`));
  await a.write('note', 'x', {});
  await a.write('other', 'y', {});
  await a.delete('note', 'x');
  end();
  await a.write('note', 'z', {});
  expect(seen).toEqual(['create x', 'delete x']);
  expect(errors).toHaveBeenCalled();
  vi.restoreAllMocks();
});

test('[S42] what is no name, no rule, or no open client is told at once', async () => {
  const { client, tokenOf } = began();
  const options = { nodeId: 'a', cloudEndpoint: FROM_CLOUD, token: await tokenOf('a') };
  expect(() => new EdgeCloudClient({ ...options, nodeId: 'cloud' })).toThrow(
    expect.objectContaining({ code: 'bad_name' }),
  );
  expect(() => new EdgeCloudClient({ ...options, conflictStrategies: { note: 'best' as never } })).toThrow(
    /conflict is 'best'/,
  );
  const closed = new EdgeCloudClient(options);
  await expect(closed.write('note', 'x', {})).rejects.toThrow(/not initialized/);
  const a = await client('a');
  await expect(a.write('note', '..', {})).rejects.toMatchObject({ code: 'bad_name' });
  await expect(a.read('a b', 'x')).rejects.toMatchObject({ code: 'bad_name' });
});

test('[I9] [S42] the queue of one user is never sent in the name of another', async () => {
  const { client, tokenOf, call } = began();
  const storage = memoryStorage();
  const a = await client('a', { storage });
  await a.sync();
  a.setNetwork({ online: false });
  await a.write('note', 'x', { of: 'ann' });
  await a.close();
  const b = await client('a', { storage, token: () => tokenOf('a', { sub: 'bob' }) });
  expect(await b.sync()).toMatchObject({ success: false, error: { code: 'forbidden' } });
  expect(b.status().queue.pending).toBe(1);
  expect((await call('GET', 'data/note/x')).status).toBe(404);
  await b.close();
  const again = await client('a', { storage });
  await again.sync();
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ of: 'ann' });
});

test('[S42] what is no record, operation, priority or level is refused, and nothing of it is kept', async () => {
  const { client } = began();
  const a = await client('a');
  await a.sync();
  a.setNetwork({ online: false });
  for (const data of [[], 'x', 1, null, undefined]) {
    await expect(a.write('note', 'x', data as never)).rejects.toMatchObject({ code: 'bad_request' });
  }
  const wrong = [{ priority: 'urgent' }, { level: 'weak' }] as never[];
  for (const options of wrong) {
    await expect(a.write('note', 'x', {}, options)).rejects.toMatchObject({
      code: expect.stringMatching(/^bad_(request|consistency)$/),
    });
  }
  await a.write('note', 'y', { n: 1 });
  for (const operations of [[{ op: 'inc', path: 'n' }], [], 'x']) {
    await expect(a.patch('note', 'y', operations as never)).rejects.toMatchObject({ code: 'bad_request' });
  }
  const upsert = { entityType: 'note', entityId: 'z', kind: 'upsert', data: {} } as never;
  await expect(a.transact([upsert])).rejects.toMatchObject({ code: 'bad_request' });
  await expect(a.read('note', 'y', { level: 'weak' as never })).rejects.toMatchObject({ code: 'bad_consistency' });
  expect(a.status().queue).toMatchObject({ total: 1 });
  expect(await a.read('note', 'x')).toBeNull();
});

test('[S55] below an edge node that is cut off clients see each other’s writes at it; and what one of them wrote arrives without it', async () => {
  const { client, call } = began(FROM_EDGE);
  const [a, b] = [await client('a'), await client('b')];
  for (const one of [a, b]) await one.sync();
  await call('POST', 'edge/oslo/sync');
  await call('PUT', 'edge/oslo/network', { body: { online: false } });
  await a.write('note', 'x', { by: 'a' });
  await b.write('note', 'y', { by: 'b' });
  for (const one of [a, b]) expect((await one.sync()).error?.code).toBe('cloud_unavailable');
  const at = async (place: string) => {
    const { json } = await call('GET', `${place}data/note`);
    return (json['items'] as { entityId: string; data: unknown }[]).map(({ entityId, data }) => [entityId, data]);
  };
  const both = [
    ['x', { by: 'a' }],
    ['y', { by: 'b' }],
  ];
  expect(await at('edge/oslo/')).toEqual(both);
  // One is switched off; what it wrote is on its way all the same.
  await a.close();
  await call('PUT', 'edge/oslo/network', { body: { online: true } });
  await call('POST', 'edge/oslo/sync');
  for (const [id, data] of both) expect((await call('GET', `data/note/${id}`)).json['data']).toEqual(data);
  await b.sync();
  expect((await b.list('note')).items.map(({ entityId }) => entityId)).toEqual(['x', 'y']);
  expect(b.status().queue.total).toBe(0);
});

test('[S51] what would not come back as it went is refused with its place; what is kept is a copy', async () => {
  const { client } = began();
  const a = await client('a');
  await a.sync();
  a.setNetwork({ online: false });
  const circle: Record<string, unknown> = {};
  circle['itself'] = [circle];
  const wrong: [data: unknown, problem: string][] = [
    [{ a: { b: undefined } }, 'a.b: undefined is not JSON'],
    [{ a: [1, () => 1] }, 'a.1: a function is not JSON'],
    [{ n: Number.NaN }, 'n: NaN is not JSON'],
    [{ n: 1n }, 'n: a bigint is not JSON'],
    [{ at: new Date() }, 'at: a Date is not JSON'],
    [{ tags: new Set() }, 'tags: a Set is not JSON'],
    [circle, 'itself.0: it is inside itself'],
  ];
  for (const [data, message] of wrong) {
    const put = { entityType: 'note', entityId: 'x', kind: 'put', data: data as JsonObject } as const;
    const set = [{ op: 'set', path: 'x', value: data as JsonObject }] as const;
    const refusal = { code: 'invalid_data', message };
    await expect(a.write('note', 'x', data as JsonObject)).rejects.toMatchObject(refusal);
    await expect(a.transact([put])).rejects.toMatchObject(refusal);
    await expect(a.patch('note', 'x', set)).rejects.toMatchObject({ ...refusal, message: `0.value.${message}` });
  }
  expect(a.status().queue.total).toBe(0);
  const mine = { list: [1] };
  await a.write('note', 'x', mine);
  mine.list.push(2);
  expect((await a.read('note', 'x'))?.data).toEqual({ list: [1] });
});

test('[S53] the status as a store is one object until something happens, also where no state changes', async () => {
  const { client } = began();
  const a = await client('a');
  await a.sync();
  const store = syncStatusOf(a);
  const listener = vi.fn();
  onTestFinished(store.subscribe(listener));
  await Promise.resolve();
  expect(listener).toHaveBeenCalledTimes(1);
  // Over such a link a write waits for others.
  a.setNetwork({ effectiveType: '3g' });
  await a.sync();
  const before = store.get();
  expect(before).toMatchObject({ state: 'idle', queue: { pending: 0 } });
  expect(store.get()).toBe(before);
  listener.mockClear();
  await a.transact(['x', 'y'].map((entityId) => ({ entityType: 'note', entityId, kind: 'put', data: {} })));
  expect(store.get()).toMatchObject({ state: 'idle', queue: { pending: 2 } });
  expect(listener).toHaveBeenCalledTimes(1);
});

describe('[S52] dead letters', () => {
  const TYPE = 'checked';
  const inUse: Record<string, unknown> = policies.types;

  /** A client with what the cloud has refused: it learnt of the schema later. */
  async function withDeadLetter() {
    const { types } = definePolicies({ types: { [TYPE]: { schema: z.object({ n: z.number() }) } } });
    Object.assign(inUse, types);
    onTestFinished(() => void delete inUse[TYPE]);
    const made = began();
    const storage = memoryStorage();
    const a = await made.client('a', { storage });
    const { settled } = await a.write(TYPE, 'x', { n: 'one' });
    expect(await settled).toMatchObject({ changeId: 'a:1', status: 'rejected', code: 'invalid_data' });
    return { ...made, a, storage };
  }

  test('are listed, and sent again as they are or as something else; what became of it is told', async () => {
    const { a, call } = await withDeadLetter();
    const events: unknown[] = [];
    a.on('settled', ({ changeId, status }) => events.push([changeId, status]));
    a.on('deadLetter', ({ changeId }) => events.push(changeId));
    expect(await a.deadLetters()).toMatchObject([
      { changeId: 'a:1', entityType: TYPE, entityId: 'x', data: { n: 'one' }, error: { code: 'invalid_data' } },
    ]);
    expect(await a.read(TYPE, 'x')).toBeNull();
    const again = await a.retryDead('a:1');
    expect(await again.settled).toMatchObject({ changeId: 'a:2', status: 'rejected' });
    const mended = await a.retryDead('a:2', { n: 1 });
    expect(await mended.settled).toMatchObject({ changeId: 'a:3', status: 'applied' });
    expect(events).toEqual([['a:2', 'rejected'], 'a:2', ['a:3', 'applied']]);
    expect(await a.deadLetters()).toEqual([]);
    expect((await call('GET', `data/${TYPE}/x`)).json['data']).toEqual({ n: 1 });
  });

  test('are discarded; what is none is told', async () => {
    const { a } = await withDeadLetter();
    await expect(a.retryDead('a:9')).rejects.toMatchObject({ code: 'not_found' });
    await expect(a.retryDead('a:1', { at: new Date() } as never)).rejects.toMatchObject({ code: 'invalid_data' });
    a.setNetwork({ online: false });
    await a.write('note', 'y', {});
    await expect(a.discardDead('a:2')).rejects.toMatchObject({ code: 'not_dead' });
    await a.discardDead('a:1');
    expect(await a.deadLetters()).toEqual([]);
    expect(a.status().queue.total).toBe(1);
  });

  test('of an earlier start are told as well, and are there', async () => {
    const { client } = await withDeadLetter();
    const storage = memoryStorage();
    const b = await client('b', { storage });
    await b.sync();
    b.setNetwork({ online: false });
    await b.write(TYPE, 'y', { n: 'two' });
    await b.close();
    const again = await client('b', { storage });
    const dead = new Promise((resolve) => again.on('deadLetter', resolve));
    expect(await dead).toMatchObject({ changeId: 'b:1', status: 'rejected', code: 'invalid_data' });
    expect(await again.deadLetters()).toHaveLength(1);
  });
});
