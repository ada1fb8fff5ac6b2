import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import type { ApiBindings } from '../../src/api/env.ts';
import { type EntityId, type EntityType, entityKey, toEntityId, toEntityType } from '../../src/core/ids.ts';

/** The objects by the types that the API calls them by; those of the platform don't end for values like JSON. */
const typed: Pick<ApiBindings, 'EDGE' | 'CLOUD'> = env as never;

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const entity: { entityType: EntityType; entityId: EntityId } = {
  entityType: made(toEntityType('note')),
  entityId: made(toEntityId('x')),
};
const put = (n: number) => ({ ...entity, kind: 'put', data: { n } }) as const;
/** Over such a link a write waits for a second before it is sent. */
const limited = { effectiveType: '3g' } as const;
const local = { level: 'eventual', after: {}, waitMs: 1_000 } as const;
const strong = { level: 'strong', after: {}, waitMs: 10_000 } as const;

/** A space of its own for each test, so that nothing is shared. */
function freshSpace() {
  const space = `s${crypto.randomUUID()}`;
  return {
    cloud: () => typed.CLOUD.getByName(space),
    edge: (node: string) => typed.EDGE.getByName(`${space}/${node}`),
    cloudObject: () => env.CLOUD.getByName(space),
    edgeObject: (node: string) => env.EDGE.getByName(`${space}/${node}`),
  };
}

test('[I1] a write that was acknowledged survives eviction and a crash, and its alarm brings it to the cloud', async () => {
  const { cloud, edge, edgeObject } = freshSpace();
  // It has been there: nothing is to be asked before it is read.
  await edge('a').sync();
  const written = await edge('a').write(put(1), {}, 0, limited);
  expect(written.result).toMatchObject({ ok: true, value: { changeId: 'a:1' } });
  await evictDurableObject(edgeObject('a'));
  expect((await edge('a').status()).queue).toMatchObject({ pending: 1, total: 1 });
  await abortAllDurableObjects();
  const read = await edge('a').read(entity, { ...local, level: 'session' }, limited);
  expect(read.result).toMatchObject({ ok: true, value: { record: { data: { n: 1 }, synced: false }, source: 'edge' } });

  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect((await cloud().read(entityKey(entity))).entity).toMatchObject({ data: { n: 1 }, version: 'a:1', seq: 1 });
  expect((await edge('a').status()).queue.total).toBe(0);
});

test('a write at one node is read at another after both have synced, and the session outlives eviction', async () => {
  const { edge, edgeObject } = freshSpace();
  await edge('a').write(put(1), {}, 0, limited);
  expect(await edge('a').sync()).toMatchObject({ success: true, uploaded: 1 });
  expect(await edge('b').sync()).toMatchObject({ success: true, downloaded: 1 });
  await evictDurableObject(edgeObject('b'));
  await edge('a').write(put(2), {}, 0, limited);
  await edge('a').sync();
  await edge('b').sync();
  expect((await edge('b').read(entity, local)).result).toMatchObject({ value: { record: { data: { n: 2 } } } });
  const [a, b] = [await edge('a').status(), await edge('b').status()];
  expect(a.digest).toBe(b.digest);
  expect(a.cursor).toBe(2);
});

test('a node that is cut off takes writes and refuses what needs the cloud; back online it syncs', async () => {
  const { cloud, edge, edgeObject } = freshSpace();
  await edge('a').setNetwork({ online: false });
  await evictDurableObject(edgeObject('a'));
  expect((await edge('a').write(put(1), {}, 0)).result.ok).toBe(true);
  expect((await edge('a').writeStrong(put(2), {}, 1_000)).result).toMatchObject({ code: 'cloud_unavailable' });
  expect((await edge('a').read(entity, strong)).result).toMatchObject({ code: 'cloud_unavailable' });
  expect(await edge('a').sync()).toMatchObject({ success: false, error: { code: 'cloud_unavailable' } });
  expect(await edge('a').status()).toMatchObject({ online: false, state: 'offline', queue: { total: 1 } });
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(false);
  await edge('a').setNetwork({ online: true });
  expect(await edge('a').sync()).toMatchObject({ success: true });
  expect((await cloud().read(entityKey(entity))).entity?.data).toEqual({ n: 1 });
});

test('[I7] a strong write is in the cloud when it is answered, also after the cloud was evicted', async () => {
  const { cloud, edge, cloudObject } = freshSpace();
  expect((await edge('a').writeStrong(put(1), {}, 10_000)).result).toMatchObject({ value: { synced: true } });
  await evictDurableObject(cloudObject());
  expect((await edge('b').read(entity, strong)).result).toMatchObject({
    value: { record: { data: { n: 1 } }, source: 'cloud' },
  });
  expect((await edge('b').writeStrong(put(2), {}, 10_000)).result).toMatchObject({ ok: true });
  expect((await cloud().read(entityKey(entity))).entity).toMatchObject({ data: { n: 2 }, seq: 2 });
});

test('[I1] [I3] two nodes that wrote the same while apart end as one, and the loser is kept in the conflict', async () => {
  const { cloud, edge } = freshSpace();
  await edge('a').setNetwork({ online: false });
  await edge('a').write(put(1), {}, 0);
  await edge('b').write(put(2), {}, 0);
  await edge('b').sync();
  await edge('a').setNetwork({ online: true });
  await edge('a').sync();
  await edge('b').sync();
  const { items: conflicts } = await cloud().conflicts({ status: 'all', after: '', limit: 10 });
  expect(conflicts).toHaveLength(1);
  expect(conflicts[0]).toMatchObject({ local: { data: { n: 2 } }, remote: { data: { n: 1 } }, status: 'resolved' });
  const [a, b] = [await edge('a').status(), await edge('b').status()];
  expect(a.digest).toBe(b.digest);
  expect((await edge('a').read(entity, local)).result).toMatchObject({
    value: { record: { data: conflicts[0]?.resolution.resolvedData } },
  });
});

test('a node that somebody uses is poked, and pulls what another one wrote, also where the cloud has slept', async () => {
  const { edge, cloudObject } = freshSpace();
  await edge('b').sync();
  await evictDurableObject(cloudObject());
  await edge('a').write(put(1), {}, 0);
  await edge('a').sync();
  // Nothing but the poke makes b ask: a local read doesn't, and its own alarm is 30 s away.
  const cursorOfB = async () => (await edge('b').status()).cursor;
  for (let tries = 0; tries < 200 && (await cursorOfB()) === 0; tries += 1) await scheduler.wait(25);
  expect(await cursorOfB()).toBe(1);
});
