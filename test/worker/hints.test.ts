import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { expect, test } from 'vitest';
import { listen } from './live.ts';
import { freshSpace, stopClock, until } from './space.ts';

/** What node `a` takes of its link after a caller has sent these headers, and which plan it makes of that. */
function node() {
  const space = freshSpace();
  const { call } = space;
  const claims = { role: 'client' };
  const linkOf = async (headers: Record<string, string> = {}) => {
    const { network, plan } = (await call('GET', 'edge/a/status', { headers, claims })).json;
    return { network, ...(plan as { strategy: string; reason: string }) };
  };
  return {
    ...space,
    ...stopClock(),
    linkOf,
    isThere: async (id: string) => (await call('GET', `data/note/${id}`)).status === 200,
    put: (id: string, headers: Record<string, string> = {}) =>
      call('PUT', `edge/a/data/note/${id}`, { body: {}, headers, claims }),
  };
}

test.each([
  [{ ECT: '3g' }, { effectiveType: '3g' }, 'priority', 'the link is 3g'],
  [{ ECT: 'slow-2g' }, { effectiveType: 'slow-2g' }, 'critical', 'the link is slow-2g'],
  [{ ECT: '4g', RTT: '300' }, { effectiveType: '4g', rttMs: 300 }, 'priority', 'round trips are said to take 300 ms'],
  [{ Downlink: '0.05' }, { downlinkMbps: 0.05 }, 'critical', 'the downlink is said to be 0.05 Mbit/s'],
  [{ 'Save-Data': 'on' }, { saveData: true }, 'critical', 'the caller saves data'],
  [{ ECT: '4g', RTT: '50', Downlink: '10' }, { effectiveType: '4g', rttMs: 50, downlinkMbps: 10 }, 'full', '4g'],
] as const)('[S30] of %j the node takes %j, and its plan is %s', async (headers, network, strategy, reason) => {
  const { linkOf } = node();
  expect(await linkOf(headers)).toMatchObject({ network, strategy, reason: expect.stringContaining(reason) });
});

test.each([
  { ECT: '5g' },
  { ECT: '3g, 2g' },
  { RTT: '-1' },
  { RTT: '1e9' },
  { RTT: '3000.5' },
  { RTT: '99999999' },
  { Downlink: 'slow' },
  { Downlink: '.' },
  { Downlink: '-0.01' },
  { 'Save-Data': 'off' },
  { 'Save-Data': '1' },
])('[S30] a hint that makes no sense is none, and no error: %j', async (headers) => {
  const { linkOf, put } = node();
  expect((await put('x', headers)).status).toBe(201);
  expect(await linkOf({ ...headers })).toMatchObject({ network: {}, strategy: 'full' });
  // What does make sense beside it, does.
  expect(await linkOf({ 'Save-Data': 'on', ECT: '2g', RTT: '2000', Downlink: '0.1', ...headers })).toMatchObject({
    strategy: 'critical',
  });
});

test('[S30] the last caller that gave hints is believed, for a minute, and no longer than the object lives', async () => {
  const { edgeObject, linkOf, pass } = node();
  await linkOf({ 'Save-Data': 'on', ECT: '4g' });
  expect(await linkOf()).toMatchObject({ network: { saveData: true }, strategy: 'critical' });
  // All that one says is put into the place of all that another one said.
  expect(await linkOf({ ECT: '3g' })).toMatchObject({ network: { effectiveType: '3g' }, strategy: 'priority' });
  pass(59_999);
  expect(await linkOf()).toMatchObject({ strategy: 'priority' });
  pass(1);
  expect(await linkOf()).toMatchObject({ network: {}, strategy: 'full' });
  expect(await linkOf({ ECT: '3g' })).toMatchObject({ strategy: 'priority' });
  await evictDurableObject(edgeObject('a'));
  expect(await linkOf()).toMatchObject({ network: {}, strategy: 'full' });
});

test('[S30] what was said by PUT stands, whatever a caller hints; hints add what it left out', async () => {
  const { call, linkOf } = node();
  await call('PUT', 'edge/a/network', { body: { effectiveType: '4g' } });
  expect(await linkOf({ ECT: 'slow-2g', RTT: '3000', Downlink: '0.01' })).toMatchObject({
    network: { effectiveType: '4g' },
    strategy: 'full',
  });
  expect(await linkOf({ 'Save-Data': 'on' })).toMatchObject({ strategy: 'critical' });
  await call('PUT', 'edge/a/network', { body: { saveData: false } });
  expect(await linkOf({ 'Save-Data': 'on' })).toMatchObject({ strategy: 'full' });
});

test.each([
  ['PUT', 'data/note/x', { body: {} }],
  ['PUT', 'data/note/x', { body: {}, headers: { 'X-Consistency': 'strong' } }],
  ['GET', 'data/note/x', {}],
  ['GET', 'data/note', {}],
  ['POST', 'sync', {}],
  ['PUT', 'network', { body: {} }],
] as const)('[S30] hints are read of every caller of data, sync and network: %s %s', async (method, path, sent) => {
  const { call, linkOf } = node();
  const headers = { ECT: '3g', ...('headers' in sent ? sent.headers : {}) };
  await call(method, `edge/a/${path}`, { ...sent, headers, claims: { role: 'client' } });
  expect(await linkOf()).toMatchObject({ network: { effectiveType: '3g' } });
});

test('[S30] and of who opens a live socket, which is no use: it sets no alarm', async () => {
  const { space, alarmOf, linkOf } = node();
  await listen(space, 'edge/a/live', { headers: { ECT: '3g', 'Save-Data': 'on' }, claims: { role: 'client' } });
  expect(await alarmOf('a')).toBeNull();
  expect(await linkOf()).toMatchObject({ network: { effectiveType: '3g', saveData: true }, strategy: 'critical' });
});

test('[S30] hints write nothing', async () => {
  const { edgeObject, linkOf } = node();
  const kept = () => runInDurableObject(edgeObject('a'), (_, { storage }) => [...storage.kv.list()]);
  await linkOf();
  const before = await kept();
  for (const ECT of ['2g', '4g', '3g']) await linkOf({ ECT });
  expect(await kept()).toEqual(before);
});

test('[I11] [S14] [S30] what is held back for a hint goes by itself when the hint is believed no more', async () => {
  const { edgeObject, alarmOf, isThere, pass, put } = node();
  await put('x', { ECT: '2g' });
  for (const atMs of [30_000, 60_000]) {
    expect(await isThere('x')).toBe(false);
    expect(await alarmOf('a')).toBe(Date.now() + 30_000);
    pass(30_000);
    expect(await runDurableObjectAlarm(edgeObject('a')), `after ${atMs} ms`).toBe(true);
  }
  expect(await isThere('x')).toBe(true);
  expect(await alarmOf('a')).toBeNull();
});

test('[S29] [S30] what is held back for a hint goes at once with a caller whose link is better', async () => {
  const { isThere, put, call } = node();
  await put('x', { 'Save-Data': 'on' });
  expect(await isThere('x')).toBe(false);
  await call('GET', 'edge/a/data/note/x', { headers: { ECT: '4g' } });
  await until(() => isThere('x'));
});
