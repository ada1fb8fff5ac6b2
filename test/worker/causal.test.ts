import { afterEach, describe, expect, test, vi } from 'vitest';
import { CloudSpace, EdgeNode } from '../../src/worker.ts';
import { freshSpace, seen } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const PATH = 'data/note/x';
const TIMEOUT = { status: 504, code: 'causality_timeout' };

/**
 * Nodes that are not told of news, and that write over a limited link, which waits before it sends: they sync when they
 * are told to, or are asked for more than they have.
 */
function threeNodes() {
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const space = freshSpace();
  const { call } = space;
  return {
    ...space,
    put: (node: string, n: number, headers = {}) =>
      call('PUT', `edge/${node}/${PATH}`, { body: { n }, headers: { ECT: '3g', ...headers } }),
    get: (node: string, headers = {}) => call('GET', `edge/${node}/${PATH}`, { headers }),
    sync: (node: string) => call('POST', `edge/${node}/sync`),
    setOnline: (node: string, online: boolean) => call('PUT', `edge/${node}/network`, { body: { online } }),
  };
}

const SESSION = { 'X-Consistency': 'session' };
const CAUSAL = { 'X-Consistency': 'causal' };

describe('[I6] with the token of the last answer, at whichever node', () => {
  test('a caller reads its own writes', async () => {
    const { put, get, sync } = threeNodes();
    await sync('b');
    const written = await put('a', 1);
    await sync('a');
    expect((await get('b', CAUSAL)).status).toBe(404);
    expect((await get('b', { ...SESSION, ...seen(written) })).json).toMatchObject({ data: { n: 1 }, source: 'edge' });
  });

  test('a caller never reads what is older than what it has read', async () => {
    const { put, get, sync } = threeNodes();
    await put('a', 1);
    for (const node of ['a', 'c']) await sync(node);
    await put('a', 2);
    for (const node of ['a', 'b']) await sync(node);
    const read = await get('b', SESSION);
    expect(read.json).toMatchObject({ data: { n: 2 } });
    expect((await get('c', SESSION)).json).toMatchObject({ data: { n: 1 } });
    expect((await get('c', { ...SESSION, ...seen(read) })).json).toMatchObject({ data: { n: 2 } });
  });

  test('a caller’s write comes after what it has seen, though the node it is made at has not', async () => {
    const { put, sync, setOnline, cloud, call } = threeNodes();
    for (const node of ['a', 'b', 'c']) await setOnline(node, false);
    const first = await put('a', 1);
    expect((await put('b', 2, seen(first))).status).toBe(201);
    await put('c', 3);
    for (const node of ['a', 'b']) {
      await setOnline(node, true);
      await sync(node);
    }
    const all = { status: 'all', after: '', limit: 10 } as const;
    expect((await cloud().conflicts(all)).items).toEqual([]);
    expect((await call('GET', PATH)).json).toMatchObject({ data: { n: 2 } });
    // Without the token the two are concurrent.
    await setOnline('c', true);
    await sync('c');
    expect((await cloud().conflicts(all)).items).toHaveLength(1);
  });

  test('what a caller has seen stays in its token, though the node that answers has not seen it', async () => {
    const { put, get, sync, setOnline } = threeNodes();
    for (const node of ['a', 'b']) await setOnline(node, false);
    const written = await put('a', 1);
    const answers = [
      await get('b', seen(written)),
      await put('b', 2, seen(written)),
      await get('b', { ...CAUSAL, 'X-Wait-Ms': '0', ...seen(written) }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([404, 201, 504]);
    for (const answer of answers) {
      expect(await get('c', { ...CAUSAL, 'X-Wait-Ms': '0', ...seen(answer) })).toMatchObject(TIMEOUT);
    }
    await setOnline('a', true);
    await sync('a');
    const [read] = answers;
    expect((await get('c', { ...CAUSAL, ...seen(read ?? expect.fail()) })).json).toMatchObject({ data: { n: 1 } });
  });
});

describe('[I5] what the cloud has not heard of', () => {
  test('it does not say that it has', async () => {
    const { put, sync, call } = threeNodes();
    await put('a', 1);
    await sync('a');
    const claims = { role: 'node', node: 'd' };
    const { json } = await call('POST', 'sync/connect', { claims, body: { nodeId: 'd', protocol: 1 } });
    const headers = { 'X-Session-Id': String(json['sessionId']) };
    const cases: [Record<string, number>, boolean][] = [
      [{ cloud: 1, a: 1 }, true],
      [{ cloud: 2 }, false],
      [{ a: 2 }, false],
      [{ a: 1, b: 1 }, false],
    ];
    for (const [index, [requires, covered]] of cases.entries()) {
      const body = { batchId: `b${index}`, sourceNodeId: 'd', targetNodeId: 'cloud', cursor: 0, changes: [], requires };
      const answer = await call('POST', 'sync', { claims, headers, body });
      expect(answer.json, JSON.stringify(requires)).toMatchObject({ covered });
    }
  });

  test('no node serves as if it were there: it waits as long as the caller does, and then says so', async () => {
    const { put, get, setOnline } = threeNodes();
    await setOnline('a', false);
    const written = await put('a', 1);
    const exchange = vi.spyOn(CloudSpace.prototype, 'syncExchange');
    const waiting = await get('b', { ...CAUSAL, 'X-Wait-Ms': '200', ...seen(written) });
    expect(waiting).toMatchObject(TIMEOUT);
    expect(exchange).toHaveBeenCalled();
    exchange.mockClear();
    const atOnce = await get('b', { ...CAUSAL, 'X-Wait-Ms': '0', ...seen(written) });
    expect(atOnce).toMatchObject({ ...TIMEOUT, json: { retryAfterMs: 1_000 } });
    expect(atOnce.headers.get('Retry-After')).toBe('1');
    // The cloud is asked, once.
    expect(exchange).toHaveBeenCalledTimes(1);
  });

  test('who waits for nothing is shown what the cloud has', async () => {
    const { put, get, sync } = threeNodes();
    await sync('b');
    for (const [n, level] of ['causal', 'session', 'strong'].entries()) {
      const written = await put('a', n);
      await sync('a');
      const headers = { 'X-Consistency': level, 'X-Wait-Ms': '0', ...seen(written) };
      expect((await get('b', headers)).json, level).toMatchObject({ data: { n } });
    }
  });
});

test('[I6] no token is given out that is refused, at however many nodes that are cut off its caller wrote', async () => {
  const { put, get, setOnline, sync } = threeNodes();
  const refusals: unknown[] = [];
  let token = {};
  const names = Array.from({ length: 45 }, (_, index) => `${'n'.repeat(60)}${index}`);
  for (const [n, name] of names.entries()) {
    await setOnline(name, false);
    const answer = await put(name, n, { 'X-Wait-Ms': '0', ...token });
    if (answer.status >= 400) refusals.push(answer.code);
    token = seen(answer);
  }
  expect(new Set(refusals)).toEqual(new Set(['causality_timeout']));
  // What is refused is given back as it came, whatever the node has seen by itself.
  await put('c', 1);
  await sync('c');
  const refused = await get('c', { ...token, 'X-Wait-Ms': '0' });
  expect([refused.code, seen(refused)]).toEqual(['causality_timeout', token]);
  for (const name of names) {
    await setOnline(name, true);
    await sync(name);
  }
  const last = await put('b', 1, { 'X-Wait-Ms': '5000', ...token });
  expect(last.status).toBe(200);
  expect(seen(last)['X-Causal-Token'].length).toBeLessThan(400);
});
