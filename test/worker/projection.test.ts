import { runDurableObjectAlarm } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import type { ApiBindings } from '../../src/api/env.ts';
import { entityKey, type SpaceId, toEntityId, toEntityType, toSpaceId } from '../../src/core/ids.ts';
import { d1Projection } from '../../src/store/d1-projection.ts';
import { freshSpace, stopClock } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const typed: Pick<ApiBindings, 'CLOUD'> = env as never;

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const entityType = made(toEntityType('note'));
const entity = (id: string) => ({ entityType, entityId: made(toEntityId(id)) });

async function rowsOf(space: SpaceId) {
  const sql = 'SELECT entity_id, data, seq, version, stamp FROM entities WHERE space = ? ORDER BY seq';
  return (await env.DB.prepare(sql).bind(space).all()).results;
}

test('[I3] D1 holds what the cloud holds, tombstones included, also when pages come twice or late', async () => {
  const space = made(toSpaceId(`s${crypto.randomUUID()}`));
  const other = made(toSpaceId(`s${crypto.randomUUID()}`));
  const cloud = () => typed.CLOUD.getByName(space);
  await typed.CLOUD.getByName(other).write({ ...entity('x'), kind: 'put', data: { of: 'another space' } });
  for (const id of ['x', 'y', 'z']) await cloud().write({ ...entity(id), kind: 'put', data: { id, quote: `'"\\` } });
  await runDurableObjectAlarm(env.CLOUD.getByName(space));
  const old = await cloud().exportPage(0);

  await cloud().write({ ...entity('x'), kind: 'put', data: { id: 'x', again: true } });
  await cloud().write({ ...entity('y'), kind: 'delete' });
  await runDurableObjectAlarm(env.CLOUD.getByName(space));

  const held = async () => {
    const entities = await Promise.all(['z', 'x', 'y'].map((id) => cloud().read(entityKey(entity(id)))));
    return entities.map(({ entity: found }) => ({
      entity_id: found?.entityId,
      data: found?.data === null ? null : JSON.stringify(found?.data),
      seq: found?.seq,
      version: found?.version,
      stamp: found?.stamp,
    }));
  };
  expect(await rowsOf(space)).toEqual(await held());

  const sink = d1Projection(env.DB, space);
  const { epoch } = await sink.position();
  const none = { conflicts: [], conflictRevision: 0 };
  const late = { epoch: made(epoch ?? undefined), entities: old.entities, seq: old.cursor, ...none, asOfMs: 1 };
  await sink.apply(late);
  await sink.apply(late);
  expect(await rowsOf(space)).toEqual(await held());
  expect((await sink.position()).seq).toBe(5);
  expect(await cloud().lag()).toMatchObject({ lagMs: 0 });
});

test('[I11] D1 that fails stops nobody; how far it is behind is told until it has caught up, without anyone’s help', async () => {
  const { call, cloud, project } = freshSpace();
  const { pass } = stopClock();
  const put = async (id: string) => expect((await call('PUT', `data/note/${id}`, { body: {} })).status).toBe(201);
  const found = async () => {
    const { json } = await call('GET', 'data/note');
    return [(json['items'] as unknown[]).length, json['lagMs'], json['asOf']];
  };
  await put('x');
  await project();
  const projectedAt = Date.now();
  vi.spyOn(console, 'info').mockReturnValue(undefined);
  const d1 = vi.spyOn(Object.getPrototypeOf(env.DB), 'batch').mockRejectedValue(new Error('D1 is away'));
  pass(1_000);
  expect(await found()).toEqual([1, 0, Date.now()]);
  await put('y');
  for (const behindMs of [3_000, 5_000]) {
    pass(2_000);
    expect(await project()).toBe(true);
    expect(await cloud().lag()).toMatchObject({ asOfMs: projectedAt, lagMs: behindMs });
    expect(await found()).toEqual([1, behindMs, projectedAt]);
  }
  expect(d1).toHaveBeenCalledTimes(2);
  await put('z');
  d1.mockRestore();
  pass(1_000);
  expect(await project()).toBe(true);
  expect(await found()).toEqual([3, 0, Date.now()]);
  expect(await project()).toBe(false);
});

test('a space that never came to D1 is behind since its last change', async () => {
  const { call, cloud } = freshSpace();
  const { pass } = stopClock();
  expect(await cloud().lag()).toMatchObject({ asOfMs: Date.now(), lagMs: 0 });
  await call('PUT', 'data/note/x', { body: {} });
  pass(5_000);
  expect(await cloud().lag()).toMatchObject({ asOfMs: 0, lagMs: 5_000 });
});
