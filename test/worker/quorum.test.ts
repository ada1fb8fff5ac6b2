import { afterEach, expect, test, vi } from 'vitest';
import { definePolicies } from '../../src/core/define-policies.ts';
import { policies } from '../../src/policies.ts';
import { CloudSpace, EdgeNode } from '../../src/worker.ts';
import { freshSpace, seen } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

async function began() {
  const space = freshSpace();
  for (const node of ['a', 'b', 'c']) await space.edge(node).sync();
  // Nobody hears of anything by himself.
  vi.spyOn(EdgeNode.prototype, 'poke').mockResolvedValue(undefined);
  const cut = (node: string, online = false) => space.call('PUT', `edge/${node}/network`, { body: { online } });
  const put = (path: string, n: number, quorum: number, headers = {}) =>
    space.call('PUT', path, {
      body: { n },
      headers: { 'X-Write-Quorum': `${quorum}`, 'X-Wait-Ms': '1000', ...headers },
    });
  const get = (path: string, quorum: number) =>
    space.call('GET', path, { headers: { 'X-Read-Quorum': `${quorum}`, 'X-Wait-Ms': '1000' } });
  return { ...space, cut, put, get };
}

test('[S39] a write is answered when so many replicas hold it, the cloud and its node among them', async () => {
  const { put, edge } = await began();
  const cursors = async () =>
    (await Promise.all(['b', 'c'].map((node) => edge(node).status()))).map(({ cursor }) => cursor);
  expect(await put('edge/a/data/note/x', 1, 2)).toMatchObject({ status: 201, json: { synced: true } });
  expect(await cursors()).toEqual([0, 0]);
  expect((await put('edge/a/data/note/x', 2, 4)).status).toBe(200);
  expect(await cursors()).toEqual([2, 2]);
  expect((await put('edge/a/data/note/x', 3, 3, { 'X-Consistency': 'strong' })).status).toBe(200);
  expect((await cursors()).filter((cursor) => cursor === 3).length).toBeGreaterThan(0);
  expect((await put('data/note/x', 4, 4)).status).toBe(200);
  expect(await cursors()).toEqual([4, 4]);
});

test('[I1] [S39] where too few hold it, the answer says where it is durable and how many have it', async () => {
  const { put, cut, call } = await began();
  await cut('c');
  const few = await put('edge/a/data/note/x', 1, 4);
  expect(few).toMatchObject({ status: 504, code: 'quorum_timeout', json: { have: 3, retryAfterMs: 1_000 } });
  expect(few.json['detail']).toMatch(/durable in the cloud/);
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 1 });
  expect(await put('data/note/x', 2, 5)).toMatchObject({ code: 'quorum_timeout', json: { have: 3 } });
  await cut('a');
  const here = await put('edge/a/data/note/x', 3, 2);
  expect(here).toMatchObject({ code: 'quorum_timeout', json: { have: 1 } });
  expect(here.json['detail']).toMatch(/durable at this node/);
  await cut('a', true);
  await call('POST', 'edge/a/sync');
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 3 });
});

test('[S39] a read asks so many replicas, and answers with the newest', async () => {
  const { get, put, cut } = await began();
  await put('edge/a/data/note/x', 1, 4);
  await cut('b');
  await put('edge/b/data/note/x', 2, 1);
  expect((await get('edge/a/data/note/x', 3)).json['data']).toEqual({ n: 1 });
  // Node b can't be asked: there are three others.
  expect(await get('edge/a/data/note/x', 4)).toMatchObject({ status: 504, code: 'quorum_timeout', json: { have: 3 } });
  vi.spyOn(EdgeNode.prototype, 'reach').mockResolvedValue(false);
  await put('data/note/x', 3, 1);
  expect((await get('edge/a/data/note/x', 1)).json['data']).toEqual({ n: 1 });
  expect((await get('edge/a/data/note/x', 2)).json['data']).toEqual({ n: 3 });
  expect((await get('data/note/x', 3)).json['data']).toEqual({ n: 3 });
  expect(await get('data/note/x', 4)).toMatchObject({ code: 'quorum_timeout' });
  await cut('a');
  expect(await get('edge/a/data/note/x', 2)).toMatchObject({ code: 'quorum_timeout', json: { have: 1 } });
});

test('[S39] who is deleted in the cloud is not read from a replica that has not heard of it', async () => {
  const { get, put, call } = await began();
  await put('edge/a/data/note/x', 1, 4);
  await call('DELETE', 'data/note/x');
  expect((await get('edge/a/data/note/x', 1)).json['data']).toEqual({ n: 1 });
  expect((await get('edge/a/data/note/x', 2)).code).toBe('not_found');
});

test('[S39] nobody is asked who comes from elsewhere: an object of its name would be empty', async () => {
  const { call, put } = await began();
  await call('POST', 'sync/connect', { body: { nodeId: 'phone', protocol: 1 } });
  expect(await put('edge/a/data/note/x', 1, 5)).toMatchObject({ code: 'quorum_timeout', json: { have: 4 } });
  for (const quorum of ['0', '17', 'x', '1.5']) {
    const answer = await call('GET', 'edge/a/data/note/x', { headers: { 'X-Read-Quorum': quorum } });
    expect(answer, quorum).toMatchObject({ status: 400, code: 'bad_request' });
  }
});

test('[S38] [S39] what a caller waits is all that it waits: for its session, the cloud and the others', async () => {
  const { put } = await began();
  const { moveSession } = CloudSpace.prototype;
  vi.spyOn(CloudSpace.prototype, 'moveSession').mockImplementation(async function (this: CloudSpace, ...asked) {
    await scheduler.wait(300);
    return await moveSession.apply(this, asked);
  });
  const holders = vi.spyOn(CloudSpace.prototype, 'holders');
  const written = await put('edge/a/data/note/x', 1, 3, { 'X-Session-Id': 's', 'X-Wait-Ms': '30000' });
  expect(written.status).toBe(201);
  expect(holders.mock.calls[0]?.[2]).toBeLessThan(29_750);
});

test('[S39] [I1] where the cloud fails after a write, the answer says that it is durable', async () => {
  const { put, call } = await began();
  vi.spyOn(CloudSpace.prototype, 'holders').mockRejectedValue(new Error('reset'));
  expect(await put('edge/a/data/note/x', 1, 3)).toMatchObject({ code: 'quorum_timeout', json: { have: 2 } });
  expect(await put('data/note/x', 2, 2)).toMatchObject({ code: 'quorum_timeout', json: { have: 1 } });
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 2 });
});

test('[S39] [I6] what a quorum read has shown is in the token and in the session, and says where it came from', async () => {
  const { put, call, cut } = await began();
  const headers = { 'X-Session-Id': 's', 'X-Read-Quorum': '2' };
  const session = { 'X-Session-Id': 's', 'X-Consistency': 'session' };
  await put('edge/a/data/note/x', 1, 4);
  await put('data/note/x', 2, 1);
  const read = await call('GET', 'edge/a/data/note/x', { headers });
  expect(read.json).toMatchObject({ data: { n: 2 }, source: 'cloud', stalenessMs: 0, synced: true });
  expect((await call('GET', 'edge/b/data/note/x', { headers: session })).json['data']).toEqual({ n: 2 });
  const byToken = { 'X-Consistency': 'session', ...seen(read) };
  expect((await call('GET', 'edge/c/data/note/x', { headers: byToken })).json['data']).toEqual({ n: 2 });
  // What only another node has is shown as that one’s.
  await put('edge/c/data/note/x', 3, 1, { ECT: '3g' });
  const all = await call('GET', 'edge/a/data/note/x', { headers: { ...session, 'X-Read-Quorum': '4' } });
  expect(all.json).toMatchObject({ data: { n: 3 }, source: 'edge', synced: false });
  await cut('c');
  const later = { 'X-Consistency': 'session', 'X-Wait-Ms': '200', ...seen(all) };
  for (const headers of [later, { ...session, 'X-Wait-Ms': '200' }]) {
    expect(await call('GET', 'edge/a/data/note/x', { headers })).toMatchObject({ code: 'causality_timeout' });
  }
});

test('[S39] a quorum read sees what waits to be deleted, at its own node and at others', async () => {
  const { put, call } = await began();
  await put('edge/a/data/note/x', 1, 4);
  const deleted = await call('DELETE', 'edge/a/data/note/x', { headers: { ECT: '3g' } });
  expect(deleted.status).toBe(200);
  for (const [node, quorum] of Object.entries({ a: '2', b: '4' })) {
    const headers = { 'X-Read-Quorum': quorum };
    expect((await call('GET', `edge/${node}/data/note/x`, { headers })).status, node).toBe(404);
  }
});

test('[I5] [S39] a strong read with a quorum answers what the cloud has', async () => {
  const { put, call } = await began();
  await put('edge/a/data/note/x', 1, 4);
  await put('edge/b/data/note/x', 2, 1, { ECT: '3g' });
  const read = (quorum: string) =>
    call('GET', 'edge/a/data/note/x', { headers: { 'X-Consistency': 'strong', 'X-Read-Quorum': quorum } });
  expect((await read('4')).json).toMatchObject({ data: { n: 1 }, source: 'cloud' });
  expect((await read('5')).json).toMatchObject({ code: 'quorum_timeout', have: 4 });
});

test('[S39] a node holds a place of its own history only, however far it is in that', async () => {
  const { put, edge } = await began();
  await put('edge/a/data/note/x', 1, 4);
  const { epoch, cursor } = await edge('b').status();
  expect(await edge('b').reach({ epoch, cursor })).toBe(true);
  expect(await edge('b').reach({ epoch: 'another', cursor })).toBe(false);
  expect(await edge('b').reach({ epoch, cursor: cursor + 1 })).toBe(false);
});

test('[S39] a policy asks for quorums, of writes, of reads and of transactions; a header takes its place', async () => {
  const types: Record<string, unknown> = policies.types;
  Object.assign(types, definePolicies({ types: { held: { writeQuorum: 3, readQuorum: 4 } } }).types);
  try {
    const { call, cut } = await began();
    await cut('b');
    await cut('c');
    const headers = { 'X-Wait-Ms': '1000' };
    const changes = [{ operation: 'update', entityType: 'held', entityId: 'y', data: { n: 1 } }];
    const calls = [
      ['PUT', 'edge/a/data/held/x', { n: 1 }, 2],
      ['PUT', 'data/held/x', { n: 1 }, 2],
      ['POST', 'edge/a/transactions', { changes }, 2],
      ['GET', 'edge/a/data/held/x', undefined, 2],
      ['GET', 'data/held/x', undefined, 2],
    ] as const;
    for (const [method, path, body, have] of calls) {
      const answer = await call(method, path, { body, headers });
      expect(answer, `${method} ${path}`).toMatchObject({ status: 504, code: 'quorum_timeout', json: { have } });
      const one = { ...headers, 'X-Write-Quorum': '1', 'X-Read-Quorum': '1' };
      expect((await call(method, path, { body, headers: one })).status, `${method} ${path}`).toBeLessThan(300);
    }
  } finally {
    delete types['held'];
  }
});
