import { exports } from 'cloudflare:workers';
import { expect, test } from 'vitest';
import { freshCaller } from './caller.ts';

const PLACES = ['edge/a/data/note', 'data/note'];

test('nothing is cached, also of what needs no token', async () => {
  const response = await exports.default.fetch('http://localhost/health');
  expect(response.headers.get('Cache-Control')).toBe('no-store');
  expect(await response.json()).toMatchObject({ status: 'ok' });
});

test.each(PLACES)('a condition that is met by nothing tells what is there: at %s', async (place) => {
  const { call } = freshCaller();
  const failed = { status: 412, code: 'precondition_failed' };
  const put = (headers: Record<string, string>) => call('PUT', `${place}/x`, { body: {}, headers });
  expect(await put({ 'If-Match': '*' })).toMatchObject({ ...failed, json: { current: null } });
  expect(await put({ 'If-Match': '"a:9"' })).toMatchObject({ ...failed, json: { current: null } });
  const { json } = await put({ 'If-None-Match': '*' });
  expect(await put({ 'If-None-Match': '*' })).toMatchObject({ ...failed, json: { current: json['version'] } });
  expect((await put({ 'If-Match': `"${json['version']}"` })).status).toBe(200);
});

test.each(PLACES)('a condition that can not be read is refused, and never taken for none: at %s', async (place) => {
  const { call } = freshCaller();
  await call('PUT', `${place}/x`, { body: { n: 1 } });
  for (const name of ['If-Match', 'If-None-Match']) {
    for (const text of ['""', '"a:1", "b:1"', 'a:1, b:1', '"a:1']) {
      const answer = await call('PUT', `${place}/x`, { body: { n: 2 }, headers: { [name]: text } });
      expect(answer, `${name}: ${text}`).toMatchObject({ status: 400, code: 'bad_request' });
    }
  }
  expect((await call('GET', `${place}/x`)).json).toMatchObject({ data: { n: 1 } });
});

test.each(PLACES)('a PATCH is of a type that is known here: at %s', async (place) => {
  const { call } = freshCaller();
  await call('PUT', `${place}/x`, { body: { n: 1 } });
  const operations = [{ op: 'increment', path: 'n', value: 1 }];
  const patch = (type: string) =>
    call('PATCH', `${place}/x`, { body: { operations }, headers: { 'Content-Type': type } });
  // The last three are what HTTP clients say, or not, of a text that they weren't told the type of.
  const unsaid = ['', 'application/x-www-form-urlencoded', 'text/plain;charset=UTF-8'];
  for (const type of ['application/json', 'Application/JSON; charset=utf-8', ...unsaid]) {
    expect((await patch(type)).status, type).toBe(200);
  }
  for (const type of ['application/json-patch+json', 'application/xml', 'multipart/form-data']) {
    expect(await patch(type), type).toMatchObject({ status: 415, code: 'unsupported_encoding' });
  }
  expect((await patch('application/merge-patch+json')).json).toMatchObject({ data: { n: 6, operations } });
});

test('a list goes on behind a name, and no part of it stands there twice', async () => {
  const { call } = freshCaller();
  for (const query of ['limit=1&limit=2', 'limit=0', 'limit=', 'after=a&after=b', 'after=not/a/name', 'after=_x']) {
    expect(await call('GET', `edge/a/data/note?${query}`), query).toMatchObject({ status: 400, code: 'bad_request' });
  }
  for (const query of ['', 'after=', 'after=x&limit=1']) {
    expect((await call('GET', `edge/a/data/note?${query}`)).status, query).toBe(200);
  }
});

test.each(PLACES)('[S56] what a header says is of a shape, or refused: at %s', async (place) => {
  const { call } = freshCaller();
  const wrong: Record<string, string[]> = {
    'X-Wait-Ms': ['-1', '1.5', '0x10', '1e3', '+1', 'Infinity', '30001', 'soon'],
    'X-Consistency': ['bogus', 'STRONG'],
    'X-Session-Id': ['a b', 'x'.repeat(256)],
    'X-Causal-Token': ['forged'],
  };
  const ofReads = { 'X-Max-Staleness-Ms': ['1e3', '-1'], 'X-Read-Quorum': ['0', '1e0', '17'] };
  const ofWrites = { 'X-Write-Quorum': ['0', '0x2', '17'], 'Idempotency-Key': ['a b'] };
  const calls: [string, string, unknown, Record<string, string[]>][] = [
    ['GET', `${place}/x`, undefined, { ...wrong, ...ofReads }],
    ['GET', place, undefined, { ...wrong, ...ofReads }],
    ['PUT', `${place}/x`, { n: 1 }, { ...wrong, ...ofWrites }],
    ['DELETE', `${place}/x`, undefined, { ...wrong, ...ofWrites }],
  ];
  for (const [method, path, body, headers] of calls) {
    for (const [name, texts] of Object.entries(headers)) {
      for (const text of texts) {
        const answer = await call(method, path, { body, headers: { [name]: text } });
        expect(answer.status, `${method} ${path} ${name}: ${text}`).toBe(400);
      }
    }
  }
  expect((await call('GET', `${place}/x`)).status).toBe(404);
  for (const limit of ['1e2', '0x1', ' ']) {
    expect((await call('GET', `${place}?limit=${encodeURIComponent(limit)}`)).code, limit).toBe('bad_request');
  }
  const quorum = await call('PUT', `${place}/x`, { body: {}, headers: { 'X-Write-Quorum': '0' } });
  expect(quorum.json['detail']).toContain('from 1 to 16');
});

test.each(PLACES)(
  '[S57] a read that finds nothing says at which level, by whose word, and how old it is: at %s',
  async (place) => {
    const { call } = freshCaller();
    const isEdge = place.startsWith('edge');
    const level = isEdge ? 'causal' : 'strong';
    await call('POST', 'edge/a/sync');
    const served = { consistency: level, source: isEdge ? 'edge' : 'cloud', stalenessMs: expect.any(Number) };
    const headers = { 'X-Consistency': level };
    expect(await call('GET', `${place}/x`, { headers })).toMatchObject({
      status: 404,
      code: 'not_found',
      json: served,
    });
    expect((await call('GET', place, { headers })).json).toMatchObject({ items: [], next: null, ...served });
  },
);

test('[S56] a path that is called by another method says by which it is', async () => {
  const { call } = freshCaller();
  const cases: [string, string, string | null][] = [
    ['POST', 'data/note/x', 'GET, PUT, PATCH, DELETE'],
    ['PUT', 'edge/a/data/note', 'GET'],
    ['GET', 'edge/a/transactions', 'POST'],
    ['DELETE', 'import', 'POST'],
    ['GET', 'nowhere', null],
    ['PUT', 'edge/a/data', null],
  ];
  for (const [method, path, allow] of cases) {
    const answer = await call(method, path, { body: method === 'GET' ? undefined : {} });
    const code = allow === null ? 'not_found' : 'method_not_allowed';
    const status = allow === null ? 404 : 405;
    expect([answer.status, answer.code, answer.headers.get('Allow')], `${method} ${path}`).toEqual([
      status,
      code,
      allow,
    ]);
  }
  expect(await call('POST', 'data/note/x', { claims: { role: 'client' } })).toMatchObject({ code: 'forbidden' });
});

test('a node that can not be one is a bad name', async () => {
  const { call } = freshCaller();
  for (const nodeId of ['cloud', 'a/b', '']) {
    const refused = await call('POST', 'sync/connect', { body: { nodeId, protocol: 1 } });
    expect(refused).toMatchObject({ status: 400, code: 'bad_name', json: { issues: [{ path: 'nodeId' }] } });
  }
  expect(await call('POST', 'sync/connect', { body: { nodeId: 'a' } })).toMatchObject({
    status: 400,
    code: 'bad_request',
  });
});

test('what is wrong with the claims of a token is one readable line', async () => {
  const { call } = freshCaller();
  const detailOf = async (claims: Record<string, unknown>) =>
    (await call('GET', 'edge/a/status', { claims })).json['detail'];
  expect(await detailOf({ role: 'node' })).toBe(
    "the token's claims are wrong: together: a node needs its id in `node`",
  );
  expect(await detailOf({ role: 'root' })).toMatch(/^the token's claims are wrong: role: \S/);
});

test('a page of any origin may call, and read the token, the version and when to come again', async () => {
  const origin = 'https://app.example';
  const preflight = await exports.default.fetch('http://localhost/v1/edge/a/data/note/x', {
    method: 'OPTIONS',
    headers: {
      Origin: origin,
      'Access-Control-Request-Method': 'PUT',
      'Access-Control-Request-Headers': 'authorization,x-causal-token',
    },
  });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get('Access-Control-Allow-Origin')).toBe('*');
  expect(preflight.headers.get('Access-Control-Allow-Methods')).toContain('PUT');
  expect(preflight.headers.get('Access-Control-Allow-Headers')).toContain('x-causal-token');
  const { call } = freshCaller();
  for (const [method, body] of [
    ['PUT', { n: 1 }],
    ['PATCH', { nothing: 1 }],
  ] as const) {
    const { headers } = await call(method, 'edge/a/data/note/x', { body, headers: { Origin: origin } });
    expect(headers.get('Access-Control-Allow-Origin')).toBe('*');
    expect(headers.get('Access-Control-Expose-Headers')).toBe('X-Causal-Token,ETag,Retry-After');
  }
  const unknown = await exports.default.fetch('http://localhost/v1/edge/a/status', { headers: { Origin: origin } });
  expect([unknown.status, unknown.headers.get('Access-Control-Allow-Origin')]).toEqual([401, '*']);
});

test('what was said of a link can be taken back', async () => {
  const { call } = freshCaller();
  await call('PUT', 'edge/a/network', { body: { effectiveType: '2g', saveData: true, rttMs: 900 } });
  const { json } = await call('PUT', 'edge/a/network', { body: { effectiveType: null, saveData: null } });
  expect(json).toMatchObject({ network: { rttMs: 900 }, plan: { strategy: 'priority' } });
  expect(json['network']).toEqual({ rttMs: 900 });
  expect(await call('PUT', 'edge/a/network', { body: { online: null } })).toMatchObject({ status: 400 });
});

test('[S14] a sync tells how many changes it left for a better link', async () => {
  const { call } = freshCaller();
  await call('PUT', 'edge/a/network', { body: { effectiveType: '2g' } });
  await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
  expect((await call('POST', 'edge/a/sync')).json).toMatchObject({ success: true, uploaded: 0, pending: 1 });
});
