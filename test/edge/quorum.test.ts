import { describe, expect, test } from 'vitest';
import { askNodes } from '../../src/cloud/quorum.ts';
import { entityKey } from '../../src/core/ids.ts';
import { type Others, Quorum } from '../../src/edge/quorum.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import type { Clock } from '../../src/sync/ports.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, nodeId, TYPE, World } from '../sync/world.ts';

/** Pauses of a caller end at once, and take their time; what is asked takes none, and its wait never ends. */
function callersClock(world: World, pause: (ms: number) => void = () => undefined): Clock {
  const paused = async (ms: number) => {
    world.nowMs += ms;
    pause(ms);
  };
  return { nowMs: () => world.nowMs, sleep: (ms) => (ms <= 1_000 ? paused(ms) : new Promise(() => undefined)) };
}

function written(...changeIds: string[]) {
  return changeIds.map((changeId) => ({ changeId, version: changeId, created: false, data: null }));
}

/** A node whose cloud refuses records with `n: 2`. */
async function began() {
  const world = new World();
  const a = new Node(world, 'a');
  await a.link.sync();
  world.refuse = ({ data }) => data?.['n'] === 2;
  const quorum = new Quorum(a.replica, a.link, callersClock(world), undefined);
  const hold = (...changeIds: string[]) => quorum.hold(written(...changeIds), 2, 30_000);
  return { world, a, hold };
}

test('[S39] a write that the cloud refuses is no write that too few hold', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  await a.link.sync();
  world.refuse = ({ data }) => data?.['n'] === 1;
  const quorum = new Quorum(a.replica, a.link, world.clock, undefined);
  const changeId = a.put('x', { n: 1 });
  const written = [{ changeId, version: changeId, created: true, data: { n: 1 } }];
  await expect(quorum.hold(written, 2, 1_000)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] where the cloud is elsewhere, no more than it and the node can be asked for', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const quorum = new Quorum(a.replica, a.link, world.clock, undefined);
  const written = [a.put('x', { n: 1 }), a.put('x', { n: 2 })].map((changeId) => {
    return { changeId, version: changeId, created: false, data: {} };
  });
  await quorum.hold(written, 1, 0);
  expect(a.replica.queueStats().pending).toBe(1);
  await quorum.hold(written, 2, 1_000);
  expect(a.replica.queueStats().pending).toBe(0);
  await expect(quorum.hold(written, 3, 1_000)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 2 } });
});

test('[S39] a write that went into one that the cloud refuses is refused, and not held', async () => {
  const { a, hold } = await began();
  const first = a.put('x', { n: 1 });
  a.put('x', { n: 2 });
  await expect(hold(first)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] a write that was refused and given up since is refused, as often as it is asked for', async () => {
  const { a, hold } = await began();
  const first = a.put('x', { n: 1 });
  const refused = a.put('x', { n: 2 });
  await a.link.sync();
  a.replica.discardDead(refused);
  await a.link.sync();
  for (const id of [first, refused]) await expect(hold(id)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] a refused write that was sent again is held when that is', async () => {
  const { world, a, hold } = await began();
  const refused = a.put('x', { n: 2 });
  await a.link.sync();
  a.replica.retryDead(refused);
  a.link.setOnline(false);
  await expect(hold(refused)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 1 } });
  a.link.setOnline(true);
  world.refuse = () => false;
  await hold(refused);
});

test('[S39] what another node wrote is not here to be held', async () => {
  const { a, hold } = await began();
  a.put('x', { n: 1 });
  await a.link.sync();
  await expect(hold('b:1')).rejects.toMatchObject({ code: 'quorum_timeout' });
});

test('[S39] of a transaction that is refused the caller hears why', async () => {
  const { a, hold } = await began();
  const writes = [1, 2].map((n) => {
    return { entityType: TYPE, entityId: entityId(`e${n}`), kind: 'put', data: { n } } as const;
  });
  const ids = a.replica.transact(writes, {}).map(({ changeId }) => changeId);
  await expect(hold(...ids)).rejects.toMatchObject({ code: 'invalid_data', details: { index: 1 } });
});

test('[S39] [I1] a cloud that fails while others are asked: the write is durable, and the node and the cloud have it', async () => {
  const { world, a } = await began();
  const fail = async () => {
    throw new SyncError('cloud_unavailable', 'reset');
  };
  const quorum = new Quorum(a.replica, a.link, world.clock, { holders: fail, versions: fail });
  const changeId = a.put('x', { n: 1 });
  const written = [{ changeId, version: changeId, created: true, data: { n: 1 } }];
  await expect(quorum.hold(written, 3, 1_000)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 2 } });
  await expect(quorum.newest(entityKey({ entityType: TYPE, entityId: entityId('x') }), 2, 1_000)).rejects.toMatchObject(
    {
      code: 'quorum_timeout',
      details: { have: 1 },
    },
  );
});

test('[S39] a try that fails ends no wait: it is tried again, for as long as the caller waits', async () => {
  const { world, a, hold } = await began();
  a.fault = 'request-lost';
  await hold(a.put('x', { n: 1 }));
  const startedAtMs = world.nowMs;
  a.beforeCall = () => {
    throw new SyncError('cloud_unavailable', 'away');
  };
  await expect(hold(a.put('x', { n: 3 }))).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 1 } });
  expect(world.nowMs - startedAtMs).toBe(30_000);
});

test('[S39] a strong write counts as held here when this node shows it, and not before', async () => {
  const { world, a } = await began();
  const b = new Node(world, 'b');
  const quorum = new Quorum(a.replica, a.link, callersClock(world), undefined);
  // As it is answered to who repeats by its key what was done at another node.
  const { changeId } = await b.access.writeStrong(
    { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 1 } },
    {},
    1_000,
  );
  a.beforeCall = () => {
    throw new SyncError('cloud_unavailable', 'away');
  };
  const held = () => quorum.hold(written(changeId), 2, 30_000, true);
  await expect(held()).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 1 } });
  a.beforeCall = () => undefined;
  await held();
  expect(a.read('x')).toEqual({ n: 1 });
});

test('[S39] one that hangs of those that are asked hides none that have answered', async () => {
  const { world, a } = await began();
  const sleeping: { readonly atMs: number; readonly wake: () => void }[] = [];
  const clock: Clock = {
    nowMs: () => world.nowMs,
    sleep: (ms) => new Promise((wake) => sleeping.push({ atMs: world.nowMs + ms, wake })),
  };
  const nodes = ['b', 'c'].map(nodeId);
  const holders: Others['holders'] = async (_, wanted, waitMs) => {
    const ask = async (id: string) => (id === 'b' ? id : new Promise<never>(() => undefined));
    const { length } = await askNodes(nodes, ask, wanted, waitMs, clock);
    // The way back takes a tenth of a second.
    await clock.sleep(100);
    return length;
  };
  const quorum = new Quorum(a.replica, a.link, clock, { holders, versions: async () => [] });
  const changeId = a.put('x', { n: 1 });
  await a.link.sync();
  const held = quorum.hold(written(changeId), 4, 1_200).catch((error: unknown) => error);
  for (const endMs = world.nowMs + 2_000; world.nowMs < endMs; world.nowMs += 50) {
    for (const { atMs, wake } of sleeping) if (atMs <= world.nowMs) wake();
    for (let turns = 0; turns < 50; turns += 1) await Promise.resolve();
  }
  expect(await held).toMatchObject({ code: 'quorum_timeout', details: { have: 3 } });
});

describe('[S39] [I6] a quorum read shows no less than its node does', () => {
  const key = entityKey({ entityType: TYPE, entityId: entityId('x') });
  const setting = (path: string): WriteContent => ({ kind: 'patch', operations: [{ op: 'set', path, value: 1 }] });

  /** Two nodes that have a record, and reads of quorums at the first one. */
  async function readers(policy: ConstructorParameters<typeof World>[0] = { policy: { conflict: 'merge' } }) {
    const world = new World(policy);
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { base: 1 });
    await a.link.sync();
    await b.link.sync();
    const clock = callersClock(world);
    const peeks = new Quorum(b.replica, b.link, clock, undefined);
    const versions: Others['versions'] = async (_, wanted) => {
      const entity = world.cloudStore.readEntity(key);
      const cloud = entity === undefined ? null : { ...entity, synced: true, context: world.sequencer.seenAfter() };
      return [cloud, peeks.seen(key)].slice(0, wanted);
    };
    const quorum = new Quorum(a.replica, a.link, clock, { holders: async () => 0, versions });
    const read = async (wanted: number) => (await quorum.newest(key, wanted, 30_000)).seen?.data;
    return { world, a, b, quorum, read };
  }

  test('what waits here is in it, with what the cloud has', async () => {
    const { world, a, b, read } = await readers();
    a.grant = { writeTypes: [] };
    a.write('x', setting('mine'));
    world.nowMs += 10;
    b.write('x', setting('theirs'));
    await b.link.sync();
    expect(await read(2)).toEqual({ base: 1, mine: 1, theirs: 1 });
    expect(a.replica.queueStats().total).toBe(1);
  });

  test('what another node has made of less is not newer, by whatever stamp', async () => {
    const { world, a, b, read } = await readers();
    a.write('x', setting('mine'));
    world.nowMs += 10;
    b.write('x', setting('theirs'));
    expect(await read(3)).toEqual({ base: 1, mine: 1 });
    await a.link.sync();
    expect(await read(3)).toEqual({ base: 1, mine: 1 });
    // From then on it has seen that.
    b.grant = { writeTypes: [] };
    await b.link.sync();
    expect(await read(3)).toEqual({ base: 1, mine: 1, theirs: 1 });
  });

  test('what is deleted here is not there because another node has written on', async () => {
    const { world, a, b, read } = await readers();
    a.write('x', { kind: 'delete' });
    await a.link.sync();
    world.nowMs += 10;
    b.write('x', setting('theirs'));
    expect(await read(3)).toBeNull();
  });

  test('where what the cloud has can’t be brought together with what waits here, it says so', async () => {
    const { a, b, quorum } = await readers();
    b.put('x', { base: 2 });
    await b.link.sync();
    a.put('x', { base: 3 });
    a.beforeCall = () => {
      throw new SyncError('cloud_unavailable', 'away');
    };
    await expect(quorum.newest(key, 2, 30_000)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 2 } });
  });
});
