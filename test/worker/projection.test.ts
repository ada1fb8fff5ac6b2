import { runDurableObjectAlarm } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { ApiBindings } from '../../src/api/env.ts';
import { entityKey, type SpaceId, toEntityId, toEntityType, toSpaceId } from '../../src/core/ids.ts';
import { d1Projection } from '../../src/store/d1-projection.ts';

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
  expect((await cloud().lag()).lagMs).toBeGreaterThanOrEqual(0);
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
