import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { deflate } from 'pako';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { type LocalServer, startServer } from '../../scripts/local-server.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
let server: LocalServer;
let admin: string;

beforeAll(async () => {
  admin = await signAccessToken({ space: 'test', role: 'admin', sub: 'test' }, { secret: SECRET, ttlSeconds: 3_600 });
  server = await startServer({ port: 0, persistTo: folder, secret: SECRET });
});

afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

type Sent = Record<string, unknown> | string | Uint8Array<ArrayBuffer>;

async function call(method: string, target: string, body?: Sent, headers: Record<string, string> = {}) {
  const isBytes = typeof body === 'string' || body instanceof Uint8Array;
  const response = await fetch(`${server.url}/v1/${target}`, {
    method,
    headers: { Authorization: `Bearer ${admin}`, ...headers },
    ...(body === undefined ? {} : { body: isBytes ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  return { status: response.status, json, headers: response.headers };
}

/** Asks again until the answer is as wanted; a bound on patience, and no test of speed. */
async function eventually<T>(ask: () => Promise<T>, isWanted: (answer: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    const answer = await ask();
    if (isWanted(answer) || tries === 300) return answer;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

test('a write at one node is read at another after sync, in the cloud, and in D1', async () => {
  expect(await call('PUT', 'edge/a/data/note/x', { n: 1 })).toMatchObject({
    status: 201,
    json: {
      success: true,
      entityType: 'note',
      entityId: 'x',
      version: 'a:1',
      synced: false,
      changeId: 'a:1',
      data: { n: 1 },
    },
  });
  expect((await call('POST', 'edge/a/sync')).json).toMatchObject({ success: true });
  expect((await call('POST', 'edge/b/sync')).json).toMatchObject({ success: true });
  const read = await call('GET', 'edge/b/data/note/x');
  expect(read.json).toMatchObject({
    data: { n: 1 },
    version: 'a:1',
    synced: true,
    source: 'edge',
    consistency: 'eventual',
  });
  expect(read.headers.get('ETag')).toBe('"a:1"');
  expect(read.headers.get('Cache-Control')).toBe('no-store');
  expect((await call('GET', 'edge/b/data/note/x', undefined, { 'If-None-Match': '"a:1"' })).status).toBe(304);
  expect((await call('GET', 'data/note/x')).json).toMatchObject({
    data: { n: 1 },
    source: 'cloud',
    consistency: 'strong',
  });
  const found = await eventually(
    () => call('GET', 'data/note?where=n:ge:1&order=-n'),
    ({ json }) => (json['items'] as unknown[]).length === 1,
  );
  expect(found.json).toMatchObject({
    items: [{ entityId: 'x', data: { n: 1 }, version: 'a:1' }],
    next: null,
    lagMs: 0,
  });
});

test('records are changed by operations and merge patches, deleted, and listed page by page', async () => {
  await call('PUT', 'edge/c/data/doc/1', { tags: ['a'], deep: { n: 1, gone: true } });
  const operations = [
    { op: 'push', path: 'tags', value: 'b' },
    { op: 'increment', path: 'deep.n', value: 2 },
    { op: 'unset', path: '/deep/gone' },
  ];
  expect((await call('PATCH', 'edge/c/data/doc/1', { operations })).json['data']).toEqual({
    tags: ['a', 'b'],
    deep: { n: 3 },
  });
  const merge = { 'Content-Type': 'application/merge-patch+json' };
  expect((await call('PATCH', 'edge/c/data/doc/1', { tags: null, deep: { m: 1 } }, merge)).json['data']).toEqual({
    deep: { n: 3, m: 1 },
  });
  for (const id of ['2', '3']) await call('PUT', `edge/c/data/doc/${id}`, { id });
  const first = await call('GET', 'edge/c/data/doc?limit=2');
  expect(first.json).toMatchObject({ items: [{ entityId: '1' }, { entityId: '2' }], next: '2' });
  expect((await call('GET', 'edge/c/data/doc?limit=2&after=2')).json).toMatchObject({
    items: [{ entityId: '3' }],
    next: null,
  });
  expect((await call('DELETE', 'edge/c/data/doc/3')).json).toMatchObject({ success: true, data: null });
  expect((await call('GET', 'edge/c/data/doc/3')).status).toBe(404);
  expect((await call('DELETE', 'edge/c/data/doc/3')).status).toBe(404);
});

test('queries page in their order, and hostile fields and values find nothing and break nothing', async () => {
  for (const [id, n] of [
    ['a', 2],
    ['b', 1],
    ['c', 2],
    ['d', 3],
  ] as const)
    await call('PUT', `data/sorted/${id}`, { n, text: `it's ${id}` });
  await eventually(
    () => call('GET', 'data/sorted'),
    ({ json }) => json['lagMs'] === 0 && (json['items'] as unknown[]).length === 4,
  );
  const ids: string[] = [];
  let after = '';
  do {
    const { json } = await call('GET', `data/sorted?order=-n&limit=1${after}`);
    ids.push(...(json['items'] as { entityId: string }[]).map(({ entityId }) => entityId));
    after = json['next'] === null ? '' : `&after=${encodeURIComponent(String(json['next']))}`;
  } while (after !== '');
  expect(ids).toEqual(['d', 'a', 'c', 'b']);
  const hostile = encodeURIComponent(`text:eq:' OR 1=1 --`);
  expect((await call('GET', `data/sorted?where=${hostile}`)).json['items']).toEqual([]);
  expect((await call('GET', `data/sorted?where=${encodeURIComponent(`text:eq:it's a`)}`)).json['items']).toHaveLength(
    1,
  );
  expect((await call('GET', 'data/sorted?where=n)%20OR%201=1--:eq:1')).json['items']).toEqual([]);
});

test('[S31] an answer of the sync protocol is compressed for who takes that, where it pays', async () => {
  for (let id = 0; id < 20; id += 1) await call('PUT', `data/packed/${id}`, { text: 'the same again '.repeat(20) });
  const session = (await call('POST', 'sync/connect', { nodeId: 'packed', protocol: 1 })).json['sessionId'];
  const headers = { 'X-Session-Id': String(session) };
  const exchange = (batchId: string, encoding: string) =>
    call(
      'POST',
      'sync',
      { batchId, sourceNodeId: 'packed', targetNodeId: 'cloud', cursor: 0, changes: [] },
      { ...headers, 'Accept-Encoding': encoding },
    );
  const [plain, packed] = [await exchange('b1', 'identity'), await exchange('b2', 'gzip')];
  expect(plain.headers.get('Content-Encoding')).toBeNull();
  expect(packed.headers.get('Content-Encoding')).toBe('gzip');
  expect(packed.json['changes']).toEqual(plain.json['changes']);
  expect(JSON.stringify(packed.json['changes']).length).toBeGreaterThan(6_000);
  const small = await call('POST', 'sync/handshake', { vectorClock: {}, cursor: 0, epoch: null }, headers);
  expect(small.status).toBe(200);
});

test('bad requests have their status and code, and change nothing', async () => {
  const deep = JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`) as Record<string, unknown>;
  const cases: [number, string, Parameters<typeof call>][] = [
    [400, 'bad_json', ['PUT', 'edge/d/data/note/x', '{"a":']],
    [400, 'bad_request', ['PUT', 'edge/d/data/note/x', '[1]']],
    [400, 'bad_name', ['PUT', 'edge/cloud/data/note/x', {}]],
    [400, 'bad_name', ['PUT', 'edge/d/data/note/_x', {}]],
    [400, 'bad_consistency', ['GET', 'edge/d/data/note/x', undefined, { 'X-Consistency': 'psychic' }]],
    [400, 'bad_token', ['GET', 'edge/d/data/note/x', undefined, { 'X-Causal-Token': 'forged' }]],
    [404, 'not_found', ['GET', 'edge/d/data/note/nothing']],
    [404, 'not_found', ['PATCH', 'edge/d/data/note/nothing', { operations: [{ op: 'unset', path: 'a' }] }]],
    [404, 'not_found', ['GET', 'nowhere']],
    [412, 'precondition_failed', ['PUT', 'edge/d/data/note/x', {}, { 'If-Match': '"a:99"' }]],
    [413, 'too_large', ['PUT', 'edge/d/data/note/x', { text: 'x'.repeat(300_000) }]],
    [413, 'too_large', ['PUT', 'edge/d/data/note/x', { text: 'x'.repeat(1_100_000) }]],
    [
      413,
      'too_large',
      [
        'POST',
        'sync',
        new Uint8Array(deflate(new Uint8Array(50_000_000))),
        { 'Content-Encoding': 'deflate', 'X-Session-Id': 'd.x' },
      ],
    ],
    [415, 'unsupported_encoding', ['PUT', 'edge/d/data/note/x', '{}', { 'Content-Encoding': 'br' }]],
    [422, 'too_deep', ['PUT', 'edge/d/data/note/x', deep]],
  ];
  for (const [status, code, request] of cases) {
    const answer = await call(...request);
    expect(answer, `${code}: ${request[0]} ${request[1]}`).toMatchObject({ status, json: { code, status } });
    expect(answer.headers.get('Content-Type')).toBe('application/problem+json');
  }
  expect((await call('GET', 'edge/d/data/note/nothing')).headers.get('X-Causal-Token')).toBeTruthy();
  await call('PUT', 'edge/d/data/note/x', { text: 'a' });
  const wrong = [
    { op: 'set', path: 'ok', value: 1 },
    { op: 'increment', path: 'text', value: 1 },
  ];
  expect(await call('PATCH', 'edge/d/data/note/x', { operations: wrong })).toMatchObject({
    status: 422,
    json: { code: 'invalid_operation' },
  });
  const forbidden = [{ op: 'set', path: '__proto__.polluted', value: 1 }];
  expect(await call('PATCH', 'edge/d/data/note/x', { operations: forbidden })).toMatchObject({
    status: 422,
    json: { code: 'invalid_operation' },
  });
  expect((await call('GET', 'edge/d/data/note/x')).json['data']).toEqual({ text: 'a' });
});

describe('a node without a link', () => {
  test('takes writes, refuses strong ones with nothing left in the queue, and syncs when it is back', async () => {
    await call('PUT', 'edge/e/network', { online: false });
    const strong = { 'X-Consistency': 'strong' };
    expect(await call('GET', 'edge/e/data/note/e', undefined, strong)).toMatchObject({
      status: 503,
      json: { code: 'cloud_unavailable' },
    });
    expect(await call('PUT', 'edge/e/data/note/e', { n: 1 }, strong)).toMatchObject({
      status: 503,
      json: { code: 'cloud_unavailable' },
    });
    expect((await call('GET', 'edge/e/status')).json).toMatchObject({ online: false, queue: { total: 0 } });
    expect((await call('PUT', 'edge/e/data/note/e', { n: 2 })).status).toBe(201);
    expect(await call('POST', 'edge/e/sync')).toMatchObject({
      status: 200,
      json: { success: false, error: { code: 'cloud_unavailable' } },
    });
    await call('PUT', 'edge/e/network', { online: true });
    const arrived = await eventually(
      () => call('GET', 'data/note/e'),
      ({ status }) => status === 200,
    );
    expect(arrived.json['data']).toEqual({ n: 2 });
  });

  test('[I1] keeps a write over a kill -9 of the server, and it arrives after the restart without another call', async () => {
    await call('PUT', 'edge/f/network', { online: false });
    expect((await call('PUT', 'edge/f/data/note/offline', { n: 1 })).status).toBe(201);
    // Over a limited link it is sent after a second; until then only g has it.
    expect((await call('PUT', 'edge/g/data/note/online', { n: 1 }, { ECT: '3g' })).status).toBe(201);
    server.kill9();
    await server.exited;
    server = await startServer({ port: 0, persistTo: folder, secret: SECRET });
    // Node g is not touched: its alarm alone brings what it holds.
    const online = await eventually(
      () => call('GET', 'data/note/online'),
      ({ status }) => status === 200,
    );
    expect(online.json['data']).toEqual({ n: 1 });
    expect((await call('GET', 'edge/f/status')).json).toMatchObject({ online: false, queue: { pending: 1 } });
    await call('PUT', 'edge/f/network', { online: true });
    const offline = await eventually(
      () => call('GET', 'data/note/offline'),
      ({ status }) => status === 200,
    );
    expect(offline.json['data']).toEqual({ n: 1 });
  });
});

test('a node syncs with a cloud elsewhere, over HTTP, by the same protocol', async () => {
  const state = mkdtempSync(path.join(tmpdir(), 'causeway-edge-'));
  const edge = await startServer({
    port: 0,
    persistTo: state,
    secret: SECRET,
    vars: { CLOUD_URL: `${server.url}/v1` },
  });
  try {
    const headers = { Authorization: `Bearer ${admin}` };
    const at = (target: string) => `${edge.url}/v1/edge/far/${target}`;
    for (let index = 0; index < 30; index += 1) {
      await fetch(at(`data/far/${index}`), {
        method: 'PUT',
        headers,
        body: JSON.stringify({ index, text: 'x'.repeat(100) }),
      });
    }
    const synced = (await (await fetch(at('sync'), { method: 'POST', headers })).json()) as Record<string, unknown>;
    expect(synced).toMatchObject({ success: true });
    expect((await call('GET', 'data/far/29')).json).toMatchObject({ data: { index: 29 }, version: 'far:30' });
    const strong = await fetch(at('data/far/29'), { headers: { ...headers, 'X-Consistency': 'strong' } });
    expect(await strong.json()).toMatchObject({ source: 'cloud', data: { index: 29 } });
  } finally {
    await edge.stop();
    rmSync(state, { recursive: true, force: true });
  }
});

test('nodes of one deployment are below a node of another, and others below them', async () => {
  const state = mkdtempSync(path.join(tmpdir(), 'causeway-edge-'));
  const url = `${server.url}/v1/edge/between`;
  const edge = await startServer({ port: 0, persistTo: state, secret: SECRET, vars: { CLOUD_URL: url } });
  try {
    const headers = { Authorization: `Bearer ${admin}`, 'Content-Type': 'application/json' };
    const at = async (method: string, target: string, body?: unknown, more: Record<string, string> = {}) => {
      const init = {
        method,
        headers: { ...headers, ...more },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      };
      const response = await fetch(`${edge.url}/v1/edge/distant/${target}`, init);
      return { status: response.status, json: (await response.json()) as Record<string, unknown> };
    };
    await at('PUT', 'data/tree/leaf', { of: 'distant' });
    expect((await at('POST', 'sync')).json).toMatchObject({ success: true });
    expect((await call('GET', 'data/tree/leaf')).json).toMatchObject({ data: { of: 'distant' }, version: 'distant:1' });

    // Node below -> distant -> HTTP -> between -> cloud.
    const connected = await at('POST', 'sync/connect', {
      nodeId: 'below',
      protocol: 1,
      filter: { entityTypes: ['tree'] },
    });
    expect(connected.status).toBe(200);
    const session = { 'X-Session-Id': String(connected.json['sessionId']) };
    const batch = { batchId: 'b1', sourceNodeId: 'below', targetNodeId: 'cloud', cursor: 0, changes: [] };
    const pulled = await at('POST', 'sync/exchange', batch, session);
    expect(pulled.json['changes']).toMatchObject([{ entityId: 'leaf', data: { of: 'distant' } }]);

    await call('PUT', 'edge/between/network', { online: false });
    const refused = await at('POST', 'sync/exchange', { ...batch, batchId: 'b2' }, session);
    expect(refused).toMatchObject({ status: 503, json: { code: 'cloud_unavailable' } });
    await call('PUT', 'edge/between/network', { online: true });
    expect((await at('POST', 'sync/disconnect', undefined, session)).status).toBe(200);
  } finally {
    await edge.stop();
    rmSync(state, { recursive: true, force: true });
  }
});

test('a conflict is found in the inbox, decided once more, and the decision reaches the nodes', async () => {
  await call('PUT', 'edge/h/network', { online: false });
  await call('PUT', 'edge/h/data/disputed/x', { by: 'h' });
  await call('PUT', 'edge/i/data/disputed/x', { by: 'i' });
  await call('POST', 'edge/i/sync');
  await call('PUT', 'edge/h/network', { online: true });
  await call('POST', 'edge/h/sync');
  const inbox = 'conflicts?entityType=disputed&status=';
  const { json } = await call('GET', `${inbox}all`);
  const [conflict] = json['items'] as { id: string; local: unknown; remote: unknown }[];
  expect(conflict).toMatchObject({ local: { data: { by: 'i' } }, remote: { data: { by: 'h' } }, history: [] });
  expect((await call('GET', `${inbox}open`)).json).toEqual({ items: [], next: null });
  const path = `conflicts/${conflict?.id}`;
  expect(await call('POST', `${path}/resolve`, {})).toMatchObject({ status: 400, json: { code: 'bad_request' } });
  const decided = await call('POST', `${path}/resolve`, { data: { by: 'both' } });
  expect(decided).toMatchObject({
    status: 200,
    json: { status: 'resolved', decidedBy: 'test', history: [{ by: null }] },
  });
  expect((await call('GET', path)).json).toEqual(decided.json);
  for (const node of ['h', 'i']) {
    await call('POST', `edge/${node}/sync`);
    expect((await call('GET', `edge/${node}/data/disputed/x`)).json['data']).toEqual({ by: 'both' });
  }
});

describe('a start that can not be is one clear line and exit code 1', () => {
  // One that starts all the same would run for ever.
  const start = (...args: string[]) =>
    spawnSync(process.execPath, ['scripts/start.ts', ...args], { encoding: 'utf8', timeout: 30_000 });

  test('on a port that is busy', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const address = blocker.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const ended = start('--port', String(port));
    blocker.close();
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(new RegExp(`^Port ${port} is already in use.*--port.*--persist-to.*\n$`));
  });

  test('on the state of another server, which goes on', async () => {
    const ended = start('--port', '0', '--persist-to', folder);
    expect(ended.status).toBe(1);
    expect(ended.stderr).toMatch(new RegExp(`^The state in ${folder} is in use.*--persist-to.*--port.*\n$`));
    expect((await call('PUT', 'data/note/alone', { n: 1 })).status).toBe(201);
  });
});
