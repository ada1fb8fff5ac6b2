import { inflateSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import { httpUpstream } from '../../src/transport/http.ts';
import { made, World } from '../sync/world.ts';

const CONNECT = { nodeId: made(toNodeId('a')), protocol: 1 };

/** A cloud that answers so, and what it was asked. */
function cloudThat(answer: () => Response | Promise<Response>) {
  const asked: Request[] = [];
  const upstream = httpUpstream({
    url: 'https://cloud.example/v1',
    clock: new World().clock,
    token: async () => 'a.bearer.token',
    fetch: async (input, init) => {
      asked.push(new Request(input, init));
      return await answer();
    },
  });
  return { upstream, asked };
}

function problem(status: number, body: object, headers: Record<string, string> = {}) {
  const type = { 'Content-Type': 'application/problem+json' };
  return () => new Response(JSON.stringify(body), { status, headers: { ...type, ...headers } });
}

const html = (status: number, headers: Record<string, string> = {}) => {
  const type = { 'Content-Type': 'text/html' };
  return () => new Response('<html><h1>Bad Gateway</h1></html>', { status, headers: { ...type, ...headers } });
};

test.each([
  [
    'a problem document',
    problem(410, { code: 'session_expired', detail: 'connect again', title: 'x' }),
    { code: 'session_expired', message: 'connect again', details: {} },
  ],
  [
    'a problem document with details',
    problem(426, { code: 'protocol_unsupported', supported: [1, 2] }),
    { code: 'protocol_unsupported', message: '', details: { supported: [1, 2] } },
  ],
  [
    'a problem document that says when to come back',
    problem(503, { code: 'overloaded', detail: 'busy', retryAfterMs: 1_500 }, { 'Retry-After': '2' }),
    { code: 'overloaded', message: 'busy', details: { retryAfterMs: 1_500 } },
  ],
  [
    'a problem document whose header alone says so',
    problem(503, { code: 'overloaded', detail: 'busy' }, { 'Retry-After': '2' }),
    { code: 'overloaded', message: 'busy', details: { retryAfterMs: 2_000 } },
  ],
  [
    'a problem with a code that nobody knows',
    problem(418, { code: 'teapot', detail: 'short and stout' }),
    { code: 'cloud_unavailable', message: expect.stringContaining('answered 418'), details: {} },
  ],
  [
    'a 429 with a time, from something on the way',
    html(429, { 'Retry-After': '7' }),
    { code: 'rate_limited', details: { retryAfterMs: 7_000 } },
  ],
  ['[S28] a 413 of something on the way, which lets less pass', html(413), { code: 'too_large' }],
  ['[S23] a 401 of something on the way', html(401), { code: 'unauthenticated' }],
  ['[S23] a 403 without a body', () => new Response(null, { status: 403 }), { code: 'forbidden' }],
  ['[S23] a 426 of something on the way', html(426), { code: 'protocol_unsupported' }],
  ['a 429 without a time', html(429), { code: 'rate_limited', details: {} }],
  [
    '[S23] a date as the time',
    html(503, { 'Retry-After': 'Sun, 09 Sep 2001 01:48:40 GMT' }),
    { code: 'cloud_unavailable', details: { retryAfterMs: 120_000 } },
  ],
  [
    'a date that is over',
    html(503, { 'Retry-After': 'Sun, 09 Sep 2001 01:46:39 GMT' }),
    { code: 'cloud_unavailable', details: { retryAfterMs: 0 } },
  ],
  ['a time that is none', html(503, { 'Retry-After': 'soon' }), { code: 'cloud_unavailable', details: {} }],
  [
    'a page of a proxy',
    html(502),
    { code: 'cloud_unavailable', message: expect.stringContaining('answered 502'), details: {} },
  ],
  ['a page of a proxy that says all is well', html(200), { code: 'cloud_unavailable' }],
  ['JSON that is no answer', () => Response.json({ hello: 'world' }), { code: 'internal' }],
  [
    'nothing at all',
    () => Promise.reject(new TypeError('network error')),
    { code: 'cloud_unavailable', message: 'network error' },
  ],
] as const)('%s is a failure with its code', async (_, answer, wanted) => {
  const { upstream } = cloudThat(answer);
  const failure: unknown = await upstream.connect(CONNECT).catch((error: unknown) => error);
  expect(failure).toMatchObject({ name: 'SyncError', ...wanted });
  if ('details' in wanted) expect(failure).toHaveProperty('details', wanted.details);
});

test('a request carries the token, the session, and its message, compressed where that saves and is agreed', async () => {
  const answer = {
    batchId: 'b1',
    results: [],
    changes: [],
    cursor: 0,
    more: false,
    vectorClock: { cloud: 0 },
    serverTime: 1,
  };
  const { upstream, asked } = cloudThat(() => Response.json(answer));
  const batch = { batchId: 'b1', sourceNodeId: CONNECT.nodeId, targetNodeId: 'cloud', cursor: 0, changes: [] } as const;
  const small = await upstream.exchange('a.session', batch, true);
  expect(small.value).toEqual(answer);
  expect(small.bytesDown).toBe(JSON.stringify(answer).length);
  const long = { ...batch, checksum: 'x'.repeat(5_000) };
  const large = await upstream.exchange('a.session', long, true);
  expect(large.bytesUp).toBeLessThan(500);
  const plain = await upstream.exchange('a.session', long, false);
  expect(plain.bytesUp).toBe(plain.plainBytesUp);
  expect(large.plainBytesUp).toBe(JSON.stringify(long).length);

  const [first, second, third] = asked;
  expect(first?.url).toBe('https://cloud.example/v1/sync/exchange');
  expect(first?.method).toBe('POST');
  for (const request of asked) {
    expect(request.headers.get('Authorization')).toBe('Bearer a.bearer.token');
    expect(request.headers.get('X-Session-Id')).toBe('a.session');
  }
  expect(first?.headers.get('Content-Encoding')).toBeNull();
  expect(await first?.json()).toEqual(batch);
  expect(second?.headers.get('Content-Encoding')).toBe('deflate');
  expect(third?.headers.get('Content-Encoding')).toBeNull();
  const bytes = new Uint8Array((await second?.arrayBuffer()) ?? expect.fail());
  expect(JSON.parse(inflateSync(bytes).toString())).toEqual(long);
});
