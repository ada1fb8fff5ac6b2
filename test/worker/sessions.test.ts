import { evictDurableObject, runInDurableObject } from 'cloudflare:test';
import { afterEach, expect, test, vi } from 'vitest';
import { CloudSpace, EdgeNode } from '../../src/worker.ts';
import { freshSpace, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

function began() {
  const space = freshSpace();
  const headers = (name: string) => ({ 'X-Session-Id': name, 'X-Consistency': 'session' });
  return {
    ...space,
    put: (node: string, n: number, name = 's', claims = {}) =>
      space.call('PUT', `edge/${node}/data/note/x`, { body: { n }, headers: headers(name), claims }),
    get: async (node: string, name = 's', claims = {}) => {
      const answer = await space.call('GET', `edge/${node}/data/note/x`, {
        headers: { ...headers(name), 'X-Wait-Ms': '400' },
        claims,
      });
      return answer.status === 200 ? answer.json['data'] : answer.code;
    },
  };
}

test('[I6] [S38] a session goes on at another node: it sees there what it wrote and read, without a token', async () => {
  const { put, get, edge } = began();
  for (const node of ['a', 'b', 'c']) await edge(node).sync();
  for (const [round, [from, to]] of [
    ['a', 'b'],
    ['b', 'c'],
    ['c', 'a'],
  ].entries()) {
    await put(from ?? '', round);
    expect(await get(to ?? '')).toEqual({ n: round });
  }
});

test('[I6] [S38] what a session read at one node it reads at the next, too', async () => {
  const { get, edge, call } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  await call('PUT', 'data/note/x', { body: { n: 1 } });
  await edge('a').sync();
  expect(await get('a')).toEqual({ n: 1 });
  expect(await get('b', 'other')).toBe('not_found');
  expect(await get('b')).toEqual({ n: 1 });
});

test('[I6] [S38] a session whose node does not answer is not served from less than it has seen', async () => {
  const { put, get, call } = began();
  await put('a', 1);
  await call('PUT', 'edge/a/network', { body: { online: false } });
  await put('a', 2);
  expect(await get('b')).toBe('causality_timeout');
  expect(await get('a')).toEqual({ n: 2 });
  await call('PUT', 'edge/a/network', { body: { online: true } });
  expect(await get('b')).toEqual({ n: 2 });
  // Where it has gone on, and the cloud can't be asked, the former node doesn't know what it saw.
  await call('PUT', 'edge/a/network', { body: { online: false } });
  expect(await get('a')).toBe('causality_timeout');
});

test('[S38] a session at its node costs neither a call nor a row', async () => {
  const { get, put, edgeObject, cloudObject, edge } = began();
  await edge('a').sync();
  await put('a', 1);
  await edge('a').sync();
  const calls = vi.spyOn(EdgeNode.prototype, 'leaveSession');
  const rows = () =>
    runInDurableObject(edgeObject('a'), (_, { storage }) => {
      return [...storage.sql.exec('SELECT value FROM memos')];
    });
  const before = await rows();
  expect(before).toHaveLength(1);
  for (let time = 0; time < 5; time += 1) expect(await get('a')).toEqual({ n: 1 });
  await evictDurableObject(edgeObject('a'));
  await evictDurableObject(cloudObject());
  expect(await get('a')).toEqual({ n: 1 });
  expect(await rows()).toEqual(before);
  expect(calls).not.toHaveBeenCalled();
});

test('[I9] [S38] a session is its caller’s own, and its name has a bound', async () => {
  const { put, get, call, edge } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  await put('a', 1, 's', { sub: 'ann' });
  expect(await get('b', 's', { sub: 'bob' })).toBe('not_found');
  // Of another role, or another node, it is another's, too.
  expect(await get('b', 's', { sub: 'ann', role: 'client' })).toBe('not_found');
  expect(await get('b', 's', { sub: 'ann' })).toEqual({ n: 1 });
  const node = (name: string) => ({ sub: 'station', role: 'node', node: name });
  await put('a', 2, 's', node('a'));
  expect(await get('b', 's', node('b'))).toEqual({ n: 1 });
  for (const name of ['x y', 'x'.repeat(256)]) {
    const answer = await call('GET', 'edge/a/data/note/x', { headers: { 'X-Session-Id': name } });
    expect(answer).toMatchObject({ status: 400, code: 'bad_request' });
  }
});

test('[S38] a session that began out of reach of the cloud goes on elsewhere after the next sync', async () => {
  const { put, get, edge, edgeObject, call } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  await call('PUT', 'edge/a/network', { body: { online: false } });
  await put('a', 1);
  await evictDurableObject(edgeObject('a'));
  const moved = vi.spyOn(CloudSpace.prototype, 'moveSession');
  await call('PUT', 'edge/a/network', { body: { online: true } });
  await call('POST', 'edge/a/sync');
  await until(() => moved.mock.calls.length > 0);
  expect(await get('b')).toEqual({ n: 1 });
});

test('[S38] [I6] a write of a session that has gone on meanwhile is read where it is now', async () => {
  const { get, call, edge } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  await get('a');
  const { syncExchange } = CloudSpace.prototype;
  let go: () => void = () => undefined;
  const gone = new Promise<void>((resolve) => {
    go = resolve;
  });
  const held = vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementationOnce(async function (
    this: CloudSpace,
    ...sent
  ) {
    await gone;
    return await syncExchange.apply(this, sent);
  });
  const headers = { 'X-Session-Id': 's', 'X-Consistency': 'strong', 'X-Wait-Ms': '30000' };
  const late = call('PUT', 'edge/a/data/note/x', { body: { n: 1 }, headers });
  await until(() => held.mock.calls.length > 0);
  expect(await get('b')).toBe('not_found');
  go();
  expect((await late).status).toBe(201);
  expect(await get('b')).toEqual({ n: 1 });
});

test('[S38] an eventual request is answered though the node of its session is cut off', async () => {
  const { put, call } = began();
  await put('a', 1);
  await call('POST', 'edge/a/sync');
  await call('POST', 'edge/b/sync');
  await call('PUT', 'edge/a/network', { body: { online: false } });
  const ask = (method: string, level: string) =>
    call(method, 'edge/b/data/note/x', {
      headers: { 'X-Session-Id': 's', 'X-Consistency': level },
      ...(method === 'PUT' ? { body: { n: 2 } } : {}),
    });
  expect((await ask('GET', 'eventual')).json['data']).toEqual({ n: 1 });
  expect((await ask('PUT', 'eventual')).status).toBe(200);
  for (const level of ['session', 'causal', 'strong']) {
    expect(await ask('PUT', level), level).toMatchObject({ code: 'causality_timeout' });
  }
});

test('[I6] [S38] a session goes on at the cloud, and from there at a node', async () => {
  const { put, get, call, edge } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const headers = { 'X-Session-Id': 's', 'X-Consistency': 'session', 'X-Wait-Ms': '400' };
  const atCloud = (method: string, path = 'data/note/x', body?: unknown) => call(method, path, { headers, body });
  await call('PUT', 'edge/a/network', { body: { effectiveType: '3g' } });
  await put('a', 1);
  // What it wrote at its node is not here yet.
  expect(await atCloud('GET')).toMatchObject({ status: 504, code: 'causality_timeout' });
  expect(await atCloud('GET', 'data/note')).toMatchObject({ status: 504, code: 'causality_timeout' });
  await call('POST', 'edge/a/sync');
  headers['X-Wait-Ms'] = '5000';
  expect((await atCloud('GET')).json).toMatchObject({ data: { n: 1 } });
  expect((await atCloud('PUT', 'data/note/x', { n: 2 })).status).toBe(200);
  expect(await get('b')).toEqual({ n: 2 });
  // Its node can't be asked: only who asks for no session is answered.
  await put('b', 3);
  await call('PUT', 'edge/b/network', { body: { online: false } });
  const slowly = { ...headers, 'X-Wait-Ms': '30' };
  expect(await call('GET', 'data/note/x', { headers: slowly })).toMatchObject({ code: 'causality_timeout' });
  const eventual = { ...headers, 'X-Consistency': 'eventual' };
  expect((await call('GET', 'data/note/x', { headers: eventual })).status).toBe(200);
  expect(await call('GET', 'data/note/x', { headers: { ...headers, 'X-Session-Id': 'x y' } })).toMatchObject({
    code: 'bad_request',
  });
});

test('[S38] [I6] what is done at the cloud for a session that is called away meanwhile is read where it is now', async () => {
  const { get, call, edge } = began();
  for (const node of ['a', 'b']) await edge(node).sync();
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const { write } = CloudSpace.prototype;
  vi.spyOn(CloudSpace.prototype, 'write').mockImplementationOnce(async function (this: CloudSpace, ...asked) {
    expect(await get('a')).toBe('not_found');
    return await write.apply(this, asked);
  });
  const headers = { 'X-Session-Id': 's', 'X-Consistency': 'session' };
  expect((await call('PUT', 'data/note/x', { body: { n: 1 }, headers })).status).toBe(201);
  expect(await get('a')).toEqual({ n: 1 });
});
