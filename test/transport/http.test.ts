import { expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import { httpUpstream } from '../../src/transport/http.ts';

const nodeId = toNodeId('a') ?? expect.fail('a bad name');
const request = { nodeId, protocol: 1 };

function upstreamOf(send: typeof fetch, isPatient = true) {
  const sleep = () => (isPatient ? new Promise<never>(() => undefined) : Promise.resolve());
  const token = async () => 'token';
  return httpUpstream({ url: 'http://cloud/v1', token, clock: { nowMs: () => 0, sleep }, fetch: send });
}

test.each([
  ['a problem of the cloud', 409, '{"code":"session_mismatch"}', 'session_mismatch'],
  ['something in between', 502, '<html></html>', 'cloud_unavailable'],
  ['a page of something in between', 200, '<html></html>', 'cloud_unavailable'],
  ['an answer that is none of the protocol', 200, '{"sessionId":1}', 'internal'],
])('%s is told by its code', async (_, status, body, code) => {
  await expect(upstreamOf(async () => new Response(body, { status })).connect(request)).rejects.toMatchObject({ code });
});

test('no answer in time is a failure of the link, and nobody listens to it any more', async () => {
  let signal: AbortSignal | null | undefined;
  const upstream = upstreamOf((_, init) => {
    signal = init?.signal;
    return new Promise<never>(() => undefined);
  }, false);
  await expect(upstream.connect(request)).rejects.toMatchObject({ code: 'cloud_unavailable' });
  expect(signal?.aborted).toBe(true);
});

test('[S31] what came over the wire is counted, and what it was before compression', async () => {
  const answer = JSON.stringify({
    sessionId: 'a.1',
    protocol: 1,
    capabilities: [],
    expiresAt: 1,
    limits: { maxBatchChanges: 1, maxBatchBytes: 1 },
  });
  // Whoever fetches it inflates it, and leaves the headers as they came.
  const headers = { 'Content-Encoding': 'gzip', 'Content-Length': '42' };
  const told = await upstreamOf(async () => new Response(answer, { headers })).connect(request);
  expect(told).toMatchObject({ bytesDown: 42, plainBytesDown: answer.length });
  const untold = await upstreamOf(async () => new Response(answer)).connect(request);
  expect(untold).toMatchObject({ bytesDown: answer.length, plainBytesDown: answer.length });
});

test.each([
  ['a batch of 80 KB', 80_000, { 'Content-Length': '2' }, [40_000, 20_001]],
  ['an answer of 400 KB', 0, { 'Content-Length': '400000' }, [20_000, 120_000]],
  ['an answer of unknown length: a page', 0, {}, [20_000, 85_536]],
])('[S23] over a slow link what takes longer is waited for longer: %s', async (_, sentBytes, headers, wanted) => {
  const waits: number[] = [];
  const sleep = (ms: number) => {
    waits.push(ms);
    return new Promise<never>(() => undefined);
  };
  const upstream = httpUpstream({
    url: 'http://cloud/v1',
    token: async () => 'token',
    clock: { nowMs: () => 0, sleep },
    fetch: async () => new Response('{}', { headers }),
  });
  const life = 'x'.repeat(sentBytes);
  await upstream.connect({ ...request, life }).catch(() => undefined);
  expect(waits).toHaveLength(2);
  for (const [index, ms] of wanted.entries()) expect(Math.abs((waits[index] ?? 0) - ms)).toBeLessThan(1_000);
});
