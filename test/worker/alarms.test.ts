import { runDurableObjectAlarm } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace } from '../../src/worker.ts';
import { entityOf, freshSpace, stopClock, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const NOTE = entityOf('note', 'x');
const PUT = { ...NOTE, kind: 'put', data: { n: 1 } } as const;
const LOCAL = { level: 'eventual', after: {}, waitMs: 0 } as const;
const AWAY = { ok: false, code: 'cloud_unavailable', detail: 'the cloud is away', details: {} } as const;

test('[I11] [S29] a node wakes a second after a write over a limited link, though it was to wake later; and 30 s after it was only read', async () => {
  const { edge, edgeObject, alarmOf, cloud } = freshSpace();
  stopClock();
  await edge('a').read(NOTE, LOCAL);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
  await edge('a').write(PUT, {}, 0, { effectiveType: '3g' });
  expect(await alarmOf('a')).toBe(Date.now() + 1_000);
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
  expect((await cloud().exportPage(0)).entities).toMatchObject([{ data: { n: 1 } }]);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
});

test('a node that nobody has used for 60 s sleeps: without a reason there is no alarm', async () => {
  const { edge, edgeObject, alarmOf } = freshSpace();
  const { pass } = stopClock();
  await edge('a').read(NOTE, LOCAL);
  for (const wanted of [Date.now() + 60_000, null]) {
    pass(30_000);
    expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
    expect(await alarmOf('a')).toBe(wanted);
  }
  expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(false);
});

test('[S29] an alarm whose reason is gone asks the cloud nothing', async () => {
  const { edge, edgeObject, alarmOf } = freshSpace();
  const { pass } = stopClock();
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange');
  await edge('a').read(NOTE, LOCAL);
  await until(() => exchange.mock.calls.length === 1);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
  // It rings late: who was there has gone.
  pass(3_600_000);
  await runDurableObjectAlarm(edgeObject('a'));
  expect(exchange).toHaveBeenCalledTimes(1);
  expect(await alarmOf('a')).toBeNull();
});

test('a node that is cut off has no alarm, whatever waits; back online it sends that at once', async () => {
  const { edge, cloud, alarmOf } = freshSpace();
  stopClock();
  await edge('a').setNetwork({ online: false });
  await edge('a').write(PUT, {}, 0);
  expect(await alarmOf('a')).toBeNull();
  await edge('a').setNetwork({ online: true });
  await until(async () => (await cloud().exportPage(0)).entities.length === 1);
  expect(await alarmOf('a')).toBe(Date.now() + 30_000);
});

test('[I11] what the cloud did not take is tried again when the wait after the failures ends, without anyone’s help', async () => {
  const { edge, edgeObject, alarmOf, cloud } = freshSpace();
  const { pass } = stopClock();
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
  const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockResolvedValue(AWAY);
  await edge('a').write(PUT, {}, 0);
  // It went at once, and that failed.
  await until(async () => (await alarmOf('a')) === Date.now() + 1_000);
  pass(1_000);
  for (const waitMs of [1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) {
    expect(await runDurableObjectAlarm(edgeObject('a'))).toBe(true);
    expect(await alarmOf('a')).toBe(Date.now() + waitMs);
    pass(waitMs);
  }
  exchange.mockRestore();
  await runDurableObjectAlarm(edgeObject('a'));
  expect((await cloud().exportPage(0)).entities).toMatchObject([{ data: { n: 1 } }]);
  expect(await edge('a').status()).toMatchObject({ queue: { total: 0 }, nextAttemptAt: null });
});
