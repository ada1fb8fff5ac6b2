import { abortAllDurableObjects, evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { afterEach, expect, test, vi } from 'vitest';
import { SqlReplicaStore } from '../../src/store/sql-replica-store.ts';
import { Replica } from '../../src/sync/replica.ts';
import { CloudSpace } from '../../src/worker.ts';
import { entityOf, freshSpace, stopClock, until } from './space.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

type Space = ReturnType<typeof freshSpace>;
type Call = 'syncConnect' | 'syncHandshake' | 'syncExchange';

const X = { ...entityOf('note', 'x'), coalesce: false } as const;

/** Has the next call of a kind stop before or behind what it does, and never go on. */
function stopAt(call: Call, side: 'before' | 'after'): { readonly reached: () => Promise<void> } {
  const usual: (...args: never[]) => Promise<unknown> = CloudSpace.prototype[call];
  let isReached = false;
  const stopped = async function (this: CloudSpace, ...args: never[]) {
    if (side === 'after') await usual.apply(this, args);
    isReached = true;
    for (;;) await scheduler.wait(5);
  };
  vi.spyOn(CloudSpace.prototype, call).mockImplementation(stopped as never);
  return { reached: () => until(() => isReached) };
}

const ENDS = {
  'the node': ({ edgeObject }: Space) => end(edgeObject('a')),
  'the cloud': ({ cloudObject }: Space) => end(cloudObject()),
  all: () => abortAllDurableObjects(),
};

/** The object ends where it is, as by a crash. */
async function end(stub: DurableObjectStub): Promise<void> {
  await runInDurableObject(stub, async (_, state) => {
    // What is written by now has come to stay.
    await state.storage.sync();
    state.abort('the test ends it');
  }).catch(() => undefined);
}

/** Nobody calls the node: its alarm rings, again and again, until it sets none any more. */
async function sleepOf({ edgeObject }: Space, pass: (ms: number) => void): Promise<void> {
  for (let rings = 0; await runDurableObjectAlarm(edgeObject('a')); rings += 1) {
    if (rings === 200) throw new Error('it never comes to rest');
    pass(30_000);
    // What has failed by now is told to the node.
    await scheduler.wait(5);
  }
}

/** Whole records: a node that has never been there asks nothing for them. */
async function writeTwice({ edge }: Space): Promise<void> {
  for (const n of [1, 2]) {
    expect((await edge('a').write({ ...X, kind: 'put', data: { n } }, {}, 0)).result).toMatchObject({ ok: true });
  }
}

/** The cloud has taken both changes, each once; the node knows, and holds what the cloud does. */
async function expectSentOnce({ cloud, edge }: Space): Promise<void> {
  const { entities } = await cloud().exportPage(0);
  expect(entities).toMatchObject([{ entityId: 'x', data: { n: 2 }, version: 'a:2', seq: 2 }]);
  await edge('b').sync();
  const [a, b] = [await edge('a').status(), await edge('b').status()];
  expect(a).toMatchObject({ cursor: 2, queue: { total: 0 }, digest: b.digest, digestMismatches: 0 });
  expect((await cloud().conflicts({ status: 'all', after: '', limit: 10 })).items).toEqual([]);
}

const CALLS = ['syncConnect', 'syncHandshake', 'syncExchange'] as const;
const POINTS = CALLS.flatMap((call) =>
  (['before', 'after'] as const).flatMap((side) =>
    (['the node', 'the cloud', 'all'] as const).map((who) => [who, side, call] as const),
  ),
);

test.each(POINTS)(
  '[I1] [I2] [I11] when %s dies %s %s, the node comes to the end by itself',
  async (who, side, call) => {
    const space = freshSpace();
    const { pass } = stopClock();
    const { reached } = stopAt(call, side);
    await writeTwice(space);
    await reached();
    // It is set for a node that dies, whether anybody calls that again or not.
    expect(await space.alarmOf('a')).not.toBeNull();
    await ENDS[who](space);
    vi.restoreAllMocks();
    await sleepOf(space, pass);
    await expectSentOnce(space);
  },
);

const COMMITS = (['adopt', 'saveSession', 'confirm'] as const).flatMap((step) =>
  (['before', 'after'] as const).map((side) => [side, step] as const),
);

test.each(COMMITS)(
  '[I1] [I2] [I11] the node dies %s its own %s, and comes to the end by itself',
  async (side, step) => {
    const space = freshSpace();
    const { pass } = stopClock();
    const state = await runInDurableObject(space.edgeObject('a'), (_, own) => own);
    const usual: (...args: never[]) => unknown = Replica.prototype[step];
    let deaths = 0;
    const dying = function (this: Replica, ...args: never[]): unknown {
      if (deaths > 0) return usual.apply(this, args);
      deaths += 1;
      const done = side === 'after' ? usual.apply(this, args) : undefined;
      state.abort('the test ends it');
      return done;
    };
    vi.spyOn(Replica.prototype, step).mockImplementation(dying as never);
    await writeTwice(space);
    await until(() => deaths === 1);
    await sleepOf(space, pass);
    await expectSentOnce(space);
  },
);

test.each(['evicted', 'ended'] as const)(
  '[I2] [S24] a cloud that is %s between any two steps answers the same batch word for word, and its effect is one',
  async (how) => {
    const space = freshSpace();
    const { call, cloud, cloudObject } = space;
    const say = async (path: string, body: object, headers: Record<string, string> = {}) => {
      const answer = await call('POST', path, { body, headers, claims: { role: 'node', node: 'a' } });
      expect(answer.status).toBe(200);
      await (how === 'evicted' ? evictDurableObject(cloudObject()) : end(cloudObject()));
      return answer.json;
    };
    const { sessionId } = await say('sync/connect', { nodeId: 'a', protocol: 1, capabilities: [] });
    const headers = { 'X-Session-Id': String(sessionId) };
    const hello = { vectorClock: {}, cursor: 0, epoch: null, lastSyncTimestamp: 0, pendingChangesCount: 1 };
    expect(await say('sync/handshake', hello, headers)).toMatchObject({ received: { upTo: 0 } });
    const header = { nodeId: 'a', base: { cloud: 0 }, stamp: '0000000000ff-0000-a', timestamp: 1 };
    const change = { ...header, ...entityOf('note', 'x'), id: 'a:1', operation: 'create', data: { n: 1 } };
    const batch = { batchId: 'b1', sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0, changes: [change] };
    const first = await say('sync/exchange', batch, headers);
    expect(first).toMatchObject({ results: [{ id: 'a:1', status: 'applied', seq: 1 }] });
    // Its answer is lost, once and once more.
    for (const _ of [1, 2])
      expect(JSON.stringify(await say('sync/exchange', batch, headers))).toBe(JSON.stringify(first));
    expect(await say('sync/exchange', { ...batch, batchId: 'b2' }, headers)).toMatchObject({
      results: [{ id: 'a:1', status: 'duplicate' }],
    });
    expect((await cloud().exportPage(0)).entities).toMatchObject([{ version: 'a:1', seq: 1 }]);
  },
);

const FAILURES: readonly (readonly [what: string, error: Error])[] = [
  ['throws by a bug', new TypeError('a bug')],
  ['was reset', Object.assign(new Error('broken'), { durableObjectReset: true, retryable: true })],
  ['is overloaded', Object.assign(new Error('busy'), { overloaded: true })],
];

test.each(FAILURES)(
  '[I1] [I11] seven alarms fail at a stub of a cloud that %s, none of them throws, and the next takes a new one',
  async (_, error) => {
    const space = freshSpace();
    const { pass } = stopClock();
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    await space.edge('a').setNetwork({ effectiveType: '3g' });
    await writeTwice(space);
    // One that has thrown stays broken.
    const broken = vi.fn().mockRejectedValue(error);
    const stubs = Object.getPrototypeOf(env.CLOUD);
    const getByName = stubs.getByName;
    const spy = vi.spyOn(stubs, 'getByName').mockImplementation(function (this: unknown, name) {
      if (name !== space.space) return getByName.call(this, name);
      return Object.fromEntries(CALLS.map((call) => [call, broken]));
    });
    for (let alarms = 0; alarms < 7; alarms += 1) {
      expect(await runDurableObjectAlarm(space.edgeObject('a'))).toBe(true);
      pass(30_000);
    }
    expect(broken).toHaveBeenCalledTimes(7);
    spy.mockRestore();
    await sleepOf(space, pass);
    await expectSentOnce(space);
  },
);

test('[I11] seven alarms that fail at the storage of the node throw nothing, and the next one drains', async () => {
  const space = freshSpace();
  const { pass } = stopClock();
  vi.spyOn(console, 'error').mockImplementation(() => undefined);
  await space.edge('a').setNetwork({ effectiveType: '3g' });
  await writeTwice(space);
  const write = vi.spyOn(SqlReplicaStore.prototype, 'writeMeta').mockImplementation(() => {
    throw new Error('the disk is full');
  });
  for (let alarms = 0; alarms < 7; alarms += 1) {
    expect(await runDurableObjectAlarm(space.edgeObject('a'))).toBe(true);
    pass(30_000);
  }
  expect(write.mock.calls.length).toBeGreaterThanOrEqual(7);
  vi.restoreAllMocks();
  await sleepOf(space, pass);
  await expectSentOnce(space);
});

test('[I11] seven alarms of a cloud that D1 refuses throw nothing, and the next one brings D1 up', async () => {
  const space = freshSpace();
  const { pass } = stopClock();
  vi.spyOn(console, 'info').mockReturnValue(undefined);
  await space.call('PUT', 'data/note/x', { body: {} });
  const refusal = vi.spyOn(Object.getPrototypeOf(env.DB), 'batch').mockRejectedValue(new Error('D1 is away'));
  for (let alarms = 0; alarms < 7; alarms += 1) {
    expect(await space.project()).toBe(true);
    pass(60_000);
  }
  expect(refusal).toHaveBeenCalledTimes(7);
  refusal.mockRestore();
  expect(await space.project()).toBe(true);
  expect(await space.cloud().lag()).toMatchObject({ lagMs: 0 });
});

test('[I1] [I3] two nodes that were away for longer than a session and what is kept come back at once, and agree', async () => {
  const { edge, cloud, edgeObject } = freshSpace();
  const { pass } = stopClock();
  const nodes = ['a', 'b'] as const;
  const put = (node: string, id: string, n: number) =>
    edge(node).write({ ...entityOf('note', id), kind: 'put', data: { by: node, n } }, {}, 0);
  await put('a', 'shared', 0);
  for (const node of ['a', 'b', 'c']) await edge(node).sync();
  for (const node of nodes) await edge(node).setNetwork({ online: false });
  for (const node of nodes) for (const id of ['shared', `own-${node}`]) await put(node, id, 1);
  // Meanwhile another one writes, and deletes.
  await put('c', 'gone', 1);
  await edge('c').sync();
  for (let days = 0; days < 40; days += 1) {
    pass(24 * 3_600_000);
    if (days === 20) {
      for (const node of nodes) await put(node, `late-${node}`, 2);
      for (const node of nodes) await evictDurableObject(edgeObject(node));
    }
  }
  await edge('c').write({ ...entityOf('note', 'gone'), kind: 'delete' }, {}, 0);
  await edge('c').sync();
  await Promise.all(nodes.map((node) => edge(node).setNetwork({ online: true })));
  await until(async () => {
    const [a, b] = await Promise.all(nodes.map((node) => edge(node).status()));
    return [a, b].every((node) => node?.queue.total === 0) && a?.cursor === b?.cursor && a?.digest === b?.digest;
  });
  const { entities } = await cloud().exportPage(0);
  expect(entities.map(({ entityId }) => entityId).sort()).toEqual(['late-a', 'late-b', 'own-a', 'own-b', 'shared']);
  const { items } = await cloud().conflicts({ status: 'all', after: '', limit: 10 });
  expect(items).toHaveLength(1);
  const sides = [items[0]?.local, items[0]?.remote].map((side) => side?.data);
  expect(sides).toEqual(expect.arrayContaining(nodes.map((by) => ({ by, n: 1 }))));
  await edge('c').sync();
  expect((await edge('c').status()).digest).toBe((await edge('a').status()).digest);
});
