import { evictDurableObject } from 'cloudflare:test';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Responder } from '../../src/sync/responder.ts';
import { CloudSpace } from '../../src/worker.ts';
import { listen } from './live.ts';
import { freshSpace, stopClock, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

type Space = ReturnType<typeof freshSpace>;
type Item = Readonly<Record<string, unknown>>;

async function nodesOf({ call }: Space): Promise<readonly Item[]> {
  return (await call('GET', 'nodes')).json['items'] as readonly Item[];
}

/** The value of a series; undefined: there is none. */
async function metric({ call }: Space, series: string): Promise<number | undefined> {
  const { text } = await call('GET', 'metrics');
  const line = text.split('\n').find((one) => one.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

/** What `{"bad":1}` is on its way becomes a number that nobody can hold, and the cloud refuses that change. */
function spoilOnTheWay(): void {
  const { syncExchange } = CloudSpace.prototype;
  vi.spyOn(CloudSpace.prototype, 'syncExchange').mockImplementation(function (this: CloudSpace, session, text, caller) {
    const spoilt = text.replace('"bad":1', '"bad":1e400').replace(/"checksum":"\w+"/, '"unchecked":true');
    return syncExchange.call(this, session, spoilt, caller);
  });
}

/** The sync protocol at `path`, as node `far` speaks it. */
async function farNode({ call }: Space, path: string) {
  const claims = { role: 'node', node: 'far' };
  const { json } = await call('POST', `${path}/connect`, { claims, body: { nodeId: 'far', protocol: 1 } });
  const headers = { 'X-Session-Id': String(json['sessionId']) };
  const batch = { sourceNodeId: 'far', targetNodeId: 'cloud', cursor: 0, changes: [] };
  const say = (more: object) =>
    call('POST', `${path}/exchange`, { claims, headers, body: { ...batch, batchId: crypto.randomUUID(), ...more } });
  return { say };
}

test('[S35] [S36] a dead letter is seen at the cloud, soon, as long as it is there, and after either side was evicted', async () => {
  const space = freshSpace();
  const { call } = space;
  spoilOnTheWay();
  await call('PUT', 'edge/a/data/note/x', { body: { bad: 1 } });
  const seesDead = async (count: number) =>
    (await nodesOf(space)).some(({ nodeId, dead }) => nodeId === 'a' && dead === count);
  await until(() => seesDead(1));
  for (const object of [space.cloudObject(), space.edgeObject('a')]) {
    await evictDurableObject(object);
    expect(await nodesOf(space)).toMatchObject([{ nodeId: 'a', dead: 1, lag: 0, online: true }]);
    expect(await metric(space, 'causeway_dead_letters')).toBe(1);
    expect(await metric(space, 'causeway_node_dead_letters{node="a"}')).toBe(1);
  }

  expect((await call('DELETE', 'edge/a/queue/a:1')).status).toBe(200);
  await until(() => seesDead(0));
  await evictDurableObject(space.cloudObject());
  expect(await metric(space, 'causeway_dead_letters')).toBe(0);
});

test('[S35] a node that is cut off is not there any more as soon as there is news that it does not come for', async () => {
  const space = freshSpace();
  const { call } = space;
  const { pass } = stopClock();
  await call('POST', 'edge/a/sync');
  await call('PUT', 'edge/a/network', { body: { online: false } });
  pass(100_000);
  // It is still thought to listen.
  expect(await nodesOf(space)).toMatchObject([{ nodeId: 'a', online: true, state: 'idle', lag: 0 }]);
  await call('PUT', 'data/note/x', { body: { n: 1 } });
  expect(await nodesOf(space)).toMatchObject([{ nodeId: 'a', online: false, state: 'offline', lag: 1 }]);
  await call('PUT', 'edge/a/network', { body: { online: true } });
  await call('POST', 'edge/a/sync');
  const [a] = await nodesOf(space);
  expect(a).toMatchObject({ online: true, state: 'idle', lag: 0, cursor: 1, lastSeenAt: Date.now(), plan: 'full' });
});

test('[S35] a node elsewhere is there as long as it listens over a socket, also while the cloud sleeps', async () => {
  const space = freshSpace();
  const { pass } = stopClock();
  const { say } = await farNode(space, 'sync');
  await say({});
  pass(100_000);
  expect(await nodesOf(space)).toMatchObject([{ nodeId: 'far', online: false }]);
  await listen(space.space, 'sync/live', { claims: { role: 'node', node: 'far' } });
  expect(await nodesOf(space)).toMatchObject([{ nodeId: 'far', online: true, state: 'idle' }]);
  await evictDurableObject(space.cloudObject());
  expect(await nodesOf(space)).toMatchObject([{ nodeId: 'far', online: true, state: 'idle' }]);
});

test('[S35] a node says what waits at it, and why, also through a relay', async () => {
  for (const path of ['sync', 'edge/between/sync']) {
    const space = freshSpace();
    await space.call('PUT', 'data/note/x', { body: { n: 1 } });
    const { say } = await farNode(space, path);
    const report = { queue: { high: 2 }, oldestMs: 5_000, plan: 'critical', digestMismatches: 1 };
    expect((await say({ pending: 2, limit: 1, report })).status).toBe(200);
    const [far] = (await nodesOf(space)).filter(({ nodeId }) => nodeId === 'far');
    expect(far).toMatchObject({
      ...report,
      queue: { critical: 0, high: 2, normal: 0 },
      oldestMs: expect.toSatisfy((ms: number) => ms >= 5_000 && ms < 65_000),
      pending: 2,
      cursor: 1,
      lag: 0,
      dead: 0,
      online: true,
      state: 'syncing',
    });
  }
});

test('[S35] nodes are listed in pages, by their ids', async () => {
  const space = freshSpace();
  const page = async (query: string) => {
    const { json } = await space.call('GET', `nodes?${query}`);
    const items = json['items'] as readonly Item[];
    return { ids: items.map(({ nodeId }) => nodeId), next: json['next'] };
  };
  expect(await page('')).toEqual({ ids: [], next: null });
  for (const node of ['c', 'a', 'b']) await space.call('POST', `edge/${node}/sync`);
  expect(await page('')).toEqual({ ids: ['a', 'b', 'c'], next: null });
  expect(await page('limit=2')).toEqual({ ids: ['a', 'b'], next: 'b' });
  expect(await page('limit=2&after=b')).toEqual({ ids: ['c'], next: null });
  for (const query of ['limit=0', 'limit=1001', 'limit=x', 'after=a&after=b']) {
    expect(await space.call('GET', `nodes?${query}`)).toMatchObject({ status: 400, code: 'bad_request' });
  }
});

describe('metrics', () => {
  test('[S36] are text for Prometheus, of the space of the token', async () => {
    const space = freshSpace();
    await space.call('PUT', 'data/note/x', { body: { n: 1 } });
    const { status, headers } = await space.call('GET', 'metrics');
    expect(status).toBe(200);
    expect(headers.get('Content-Type')).toBe('text/plain; version=0.0.4; charset=utf-8');
    expect(headers.get('Cache-Control')).toBe('no-store');
    expect(await metric(space, 'causeway_head')).toBe(1);
    expect(await metric(freshSpace(), 'causeway_head')).toBe(0);
  });

  test('[S36] count what the cloud does, and begin again at 0 when it was evicted', async () => {
    const space = freshSpace();
    const { call } = space;
    for (const node of ['a', 'b']) {
      await call('PUT', `edge/${node}/network`, { body: { online: false } });
      await call('PUT', `edge/${node}/data/user-config/ann`, { body: { theme: node } });
    }
    for (const node of ['a', 'b']) {
      await call('PUT', `edge/${node}/network`, { body: { online: true } });
      await call('POST', `edge/${node}/sync`);
    }
    await call('PUT', 'edge/a/data/note/y', { body: { n: 1 }, headers: { 'X-Consistency': 'strong' } });
    await call('PUT', 'data/note/x', { body: { n: 1 } });
    // A second one tells of the bytes of the first.
    await call('POST', 'edge/a/sync');

    expect(await metric(space, 'causeway_changes_total{status="applied"}')).toBeGreaterThanOrEqual(2);
    const conflicts = 'causeway_conflicts_total{type="create-create",strategy="merge",status="resolved"}';
    expect(await metric(space, conflicts)).toBe(1);
    expect(await metric(space, 'causeway_conflicts_open')).toBe(0);
    const exchanges = Number(await metric(space, 'causeway_exchanges_total{result="ok"}'));
    expect(exchanges).toBeGreaterThanOrEqual(4);
    expect(await metric(space, 'causeway_digests_compared_total')).toBe(exchanges);
    expect(await metric(space, 'causeway_digests_mismatched_total')).toBe(0);
    const up = Number(await metric(space, 'causeway_bytes_total{direction="up",form="wire"}'));
    expect(up).toBeGreaterThan(100);
    // By RPC nothing is compressed.
    expect(await metric(space, 'causeway_bytes_total{direction="up",form="plain"}')).toBe(up);
    await until(async () => (await metric(space, 'causeway_exchange_duration_seconds_count')) === exchanges);
    await until(async () => (await metric(space, 'causeway_strong_write_duration_seconds_count')) === 2);
    expect(await metric(space, 'causeway_rows_written_total')).toBeGreaterThan(10);
    expect(await metric(space, 'causeway_d1_lag_changes')).toBeGreaterThan(0);
    await space.project();
    expect(await metric(space, 'causeway_d1_lag_changes')).toBe(0);

    const head = await metric(space, 'causeway_head');
    await evictDurableObject(space.cloudObject());
    expect(await metric(space, 'causeway_exchanges_total{result="ok"}')).toBe(0);
    expect(await metric(space, 'causeway_head')).toBe(head);
  });

  test('[S36] count what a node has counted, from its first exchange on', async () => {
    const space = freshSpace();
    const { say } = await farNode(space, 'sync');
    await say({ void: [[1, 1]], report: { bytes: [10, 20, 30, 40], digestMismatches: 1 } });
    await say({ report: { bytes: [11, 22, 33, 44], digestMismatches: 1 } });
    expect(await metric(space, 'causeway_bytes_total{direction="up",form="wire"}')).toBe(11);
    expect(await metric(space, 'causeway_bytes_total{direction="down",form="plain"}')).toBe(44);
    expect(await metric(space, 'causeway_digests_mismatched_total')).toBe(1);
    // What stands in its row was counted before.
    await evictDurableObject(space.cloudObject());
    await say({ report: { bytes: [15, 26, 37, 48], digestMismatches: 1 } });
    expect(await metric(space, 'causeway_bytes_total{direction="up",form="wire"}')).toBe(5);
    expect(await metric(space, 'causeway_digests_mismatched_total')).toBe(0);
  });

  test('[S36] count exchanges that were refused, by the code', async () => {
    const space = freshSpace();
    const { say } = await farNode(space, 'sync');
    await say({ checksum: 'wrong' });
    await say({ cursor: 99 });
    vi.spyOn(Responder.prototype, 'exchange').mockImplementation(() => {
      throw new Error('a bug');
    });
    expect((await say({})).status).toBe(500);
    expect(await metric(space, 'causeway_exchanges_total{result="bad_request"}')).toBe(1);
    expect(await metric(space, 'causeway_exchanges_total{result="session_expired"}')).toBe(1);
    expect(await metric(space, 'causeway_exchanges_total{result="internal"}')).toBe(1);
    expect(await metric(space, 'causeway_exchanges_total{result="ok"}')).toBe(0);
  });
});

describe('[I9] nodes and metrics', () => {
  test('are for who runs the space', async () => {
    const { call } = freshSpace();
    for (const claims of [{ role: 'client' }, { role: 'node', node: 'a' }, { role: 'node', node: 'a', relay: true }]) {
      for (const path of ['nodes', 'metrics']) {
        expect(await call('GET', path, { claims }), path).toMatchObject({ status: 403, code: 'forbidden' });
      }
    }
  });

  test('of other nodes are not for a token that is good for one', async () => {
    const { call } = freshSpace();
    for (const node of ['a', 'b']) await call('POST', `edge/${node}/sync`);
    const list = async (node: string, query = '') => {
      const { json } = await call('GET', `nodes${query}`, { claims: { node } });
      return (json['items'] as readonly Item[]).map(({ nodeId }) => nodeId);
    };
    expect(await list('b')).toEqual(['b']);
    expect(await list('b', '?after=b')).toEqual([]);
    expect(await list('stranger')).toEqual([]);
    expect(await call('GET', 'metrics', { claims: { node: 'b' } })).toMatchObject({ status: 403, code: 'forbidden' });
  });
});
