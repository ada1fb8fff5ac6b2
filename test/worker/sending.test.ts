import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace } from '../../src/worker.ts';
import { entityOf, freshSpace, stopClock, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

type Space = ReturnType<typeof freshSpace>;

const AWAY = { ok: false, code: 'cloud_unavailable', detail: 'the cloud is away', details: {} } as const;
const LIMITED = { effectiveType: '3g' } as const;

const note = (id: string) => ({ ...entityOf('note', id), kind: 'put', data: {} }) as const;

async function cloudHas({ cloud }: Space): Promise<string[]> {
  return (await cloud().exportPage(0)).entities.map(({ entityId }) => entityId).sort();
}

/** By itself: nobody calls the node, and where time stands still no alarm rings. */
async function arrive(space: Space, ...ids: string[]): Promise<void> {
  await until(async () => String(await cloudHas(space)) === String(ids));
}

/** Until node `a` has ended what it does. */
async function rest({ edge }: Space): Promise<void> {
  await until(async () => (await edge('a').status()).state === 'idle');
}

/** How many changes were in each batch that came to the cloud; it answers when it is told to. */
function heldCloud() {
  const { syncExchange } = CloudSpace.prototype;
  const batches: number[] = [];
  let isHeld = true;
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(async function (this: CloudSpace, ...call) {
    batches.push((JSON.parse(call[1]) as { changes: unknown[] }).changes.length);
    while (isHeld) await scheduler.wait(5);
    return await syncExchange.apply(this, call);
  });
  return {
    batches,
    came: (count: number) => until(() => batches.length === count),
    release: () => {
      isHeld = false;
    },
  };
}

/** Counts the alarms that a node sets: each is a row. */
async function alarmsSetBy({ edgeObject }: Space, node: string) {
  return await runInDurableObject(edgeObject(node), (_, { storage }) => vi.spyOn(storage, 'setAlarm'));
}

test('[S29] over a good link a write goes at once, by no alarm and no further call, and sets none of its own', async () => {
  const space = freshSpace();
  const { edge, alarmOf } = space;
  stopClock();
  const alarms = await alarmsSetBy(space, 'a');
  await edge('a').write(note('x'), {}, 0);
  await arrive(space, 'x');
  await edge('a').write(note('y'), {}, 0);
  await arrive(space, 'x', 'y');
  // The one for news, since somebody is there.
  expect(alarms).toHaveBeenCalledTimes(1);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
});

test('[S29] what is written while a batch is under way goes together in the next one', async () => {
  const space = freshSpace();
  stopClock();
  const { batches, came, release } = heldCloud();
  await space.edge('a').write(note('w'), {}, 0);
  await came(1);
  for (const id of ['x', 'y', 'z']) await space.edge('a').write(note(id), {}, 0);
  release();
  await arrive(space, 'w', 'x', 'y', 'z');
  await rest(space);
  expect(batches).toEqual([1, 3]);
});

test('[I1] [I11] a node that dies while its write is under way wakes within 30 s, and sends it', async () => {
  const space = freshSpace();
  const { edge, edgeObject, alarmOf } = space;
  stopClock();
  const { came } = heldCloud();
  expect((await edge('a').write(note('x'), {}, 0)).result).toMatchObject({ ok: true });
  await came(1);
  await abortAllDurableObjects();
  vi.restoreAllMocks();
  expect(await cloudHas(space)).toEqual([]);
  // It is there again, and sees that something waits.
  expect((await edge('a').status()).queue).toMatchObject({ pending: 1 });
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect(await cloudHas(space)).toEqual(['x']);
});

test('[I11] the alarm alone is enough, where nobody calls a node that died', async () => {
  const space = freshSpace();
  const { edge, edgeObject, alarmOf } = space;
  stopClock();
  const { came } = heldCloud();
  await edge('a').write(note('x'), {}, 0);
  await came(1);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
  await abortAllDurableObjects();
  vi.restoreAllMocks();
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect(await cloudHas(space)).toEqual(['x']);
});

test('[I11] what a node kept for a limited link goes also after an eviction', async () => {
  const space = freshSpace();
  const { edge, edgeObject } = space;
  stopClock();
  await edge('a').write(note('x'), {}, 0, LIMITED);
  await evictDurableObject(edgeObject('a'));
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect(await cloudHas(space)).toEqual(['x']);
});

test('[S29] over a limited link the first of a burst waits a second for the others; what is critical does not', async () => {
  const space = freshSpace();
  const { edge, edgeObject, alarmOf } = space;
  const { pass } = stopClock();
  const { batches, release } = heldCloud();
  release();
  await edge('a').setNetwork(LIMITED);
  await edge('a').write(note('x'), {}, 0);
  const wakesAtMs = Date.now() + 1_000;
  expect(await alarmOf('a')).toBe(wakesAtMs);
  pass(600);
  await edge('a').write(note('y'), {}, 0);
  expect(await alarmOf('a')).toBe(wakesAtMs);
  expect(batches).toEqual([]);
  await runDurableObjectAlarm(edgeObject('a'));
  expect([batches, await cloudHas(space)]).toEqual([[2], ['x', 'y']]);

  await edge('a').write({ ...note('z'), priority: 'critical' }, {}, 0);
  await arrive(space, 'x', 'y', 'z');
});

test('[S29] a link that is slow waits for more, though nobody said so', async () => {
  const space = freshSpace();
  const { edge, alarmOf } = space;
  const { pass } = stopClock();
  const { came, release } = heldCloud();
  await edge('a').write(note('x'), {}, 0);
  await came(1);
  pass(2_000);
  release();
  await arrive(space, 'x');
  await rest(space);
  const { measured, network, plan } = await edge('a').status();
  expect({ measured, network, plan }).toMatchObject({
    measured: { rttMs: 2_000, failures: 0 },
    network: {},
    plan: {
      strategy: 'priority',
      batchSize: 50,
      compression: false,
      reason: 'exchanges took 2000 ms of late, and 0 % failed',
    },
  });
  await edge('a').write(note('y'), {}, 0);
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  expect(await cloudHas(space)).toEqual(['x']);
});

test('[S29] after a failure a write waits as all else does, until the wait ends', async () => {
  const space = freshSpace();
  const { edge, edgeObject, alarmOf } = space;
  const { pass } = stopClock();
  vi.spyOn(Math, 'random').mockReturnValue(0.999);
  await edge('a').sync();
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(AWAY);
  for (let failures = 0; failures < 4; failures += 1) await edge('a').sync();
  exchange.mockClear();
  await edge('a').write(note('x'), {}, 0);
  expect(await alarmOf('a')).toBe(Date.now() + 7_992);
  // An alarm that rings before that does nothing but set the next one.
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect(exchange).not.toHaveBeenCalled();
  expect(await alarmOf('a')).toBe(Date.now() + 7_992);
  exchange.mockRestore();
  pass(7_992);
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect(await cloudHas(space)).toEqual(['x']);
});

test('[S29] what is said of the link ends the wait after a failure', async () => {
  const space = freshSpace();
  const { edge } = space;
  stopClock();
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(AWAY);
  await edge('a').sync();
  expect(await edge('a').status()).toMatchObject({ state: 'offline', nextAttemptAt: expect.any(Number) });
  await edge('a').write(note('x'), {}, 0);
  expect(exchange).toHaveBeenCalledTimes(1);
  exchange.mockRestore();
  await edge('a').setNetwork({ effectiveType: '4g' });
  await arrive(space, 'x');
});

test('[S29] a sync that the caller does not wait for the end of sees to what comes next by itself', async () => {
  const space = freshSpace();
  const { edge, alarmOf } = space;
  stopClock();
  await edge('a').sync();
  const { came, release } = heldCloud();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const demand = { level: 'strong', after: {}, waitMs: 0 } as const;
  expect((await edge('a').read(note('x'), demand)).result).toMatchObject({ code: 'cloud_unavailable' });
  await came(1);
  await edge('a').write(note('x'), {}, 0);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(AWAY);
  release();
  await until(async () => (await alarmOf('a')) === Date.now() + 1_000);
});
