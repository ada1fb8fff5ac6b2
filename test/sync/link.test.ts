import { describe, expect, test } from 'vitest';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { awaitResolution } from '../../src/sync/late-resolution.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const strongRead = { level: 'strong', after: {}, waitMs: 1_000 } as const;
const eventualRead = { level: 'eventual', after: {}, waitMs: 1_000 } as const;
const entity = { entityType: TYPE, entityId: entityId('x') };

function single() {
  const world = new World();
  return { world, a: new Node(world, 'a') };
}

describe('a node that is cut off', () => {
  test('is offline, also when it was idle, and waits for no time to pass', async () => {
    const { a } = single();
    a.link.setOnline(false);
    expect(a.link.state).toBe('offline');
    const { summary } = await a.link.sync();
    expect(summary).toMatchObject({ success: false, error: { code: 'cloud_unavailable' } });
    expect(a.link.state).toBe('offline');
    expect(a.link.nextAttemptAtMs).toBeNull();
    a.link.setOnline(true);
    expect((await a.link.sync()).summary.success).toBe(true);
    expect(a.link.state).toBe('idle');
  });

  test('in the middle of a sync, sends nothing more', async () => {
    const { world, a } = single();
    for (let index = 0; index < 7; index += 1) a.put(`e${index}`, { index });
    a.beforeCall = (call) => {
      if (call === 'exchange') a.link.setOnline(false);
    };
    expect((await a.link.sync()).summary).toMatchObject({ success: false, uploaded: 3 });
    expect(a.link.state).toBe('offline');
    expect(a.link.nextAttemptAtMs).toBeNull();
    expect(world.sequencer.meta.seq).toBe(3);
    expect(a.replica.queueStats()).toMatchObject({ pending: 4, syncing: 0 });
  });

  test('says so with a time after which to ask again', async () => {
    const { a } = single();
    a.link.setOnline(false);
    const refusal = { code: 'cloud_unavailable', details: { retryAfterMs: 30_000 } };
    await expect(a.access.satisfy(TYPE, strongRead)).rejects.toMatchObject(refusal);
    await expect(a.access.writeStrong({ ...entity, kind: 'delete' }, {}, 1)).rejects.toMatchObject(refusal);
  });
});

describe('[S33] a write at a node that has no link', () => {
  const put = { ...entity, kind: 'put', data: { n: 1 } } as const;
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  test.each(['cut off', 'out of reach'])('is queued for all to see, once for all of a turn: %s', async (how) => {
    const { a } = single();
    if (how === 'cut off') a.link.setOnline(false);
    else {
      a.connectFault = 'request-lost';
      await a.link.sync();
    }
    a.states.length = 0;
    await Promise.all([a.access.write(put, {}, 0), a.access.write({ ...put, entityId: entityId('y') }, {}, 0)]);
    await turn();
    expect(a.states).toEqual(['queuing', 'offline']);
    await a.access.transact([put, put], {}, 0);
    await turn();
    expect(a.states.slice(2)).toEqual(['queuing', 'offline']);
  });

  test('and the sync that begins in the same turn goes through its states', async () => {
    const world = new World();
    // A pause ends with the turn, and no sooner.
    Object.assign(world, { sleep: turn });
    const a = new Node(world, 'a');
    a.connectFault = 'request-lost';
    await a.link.sync();
    a.states.length = 0;
    a.replica.write(put, {});
    a.link.noteLocalChange();
    await a.link.sync();
    await turn();
    const states = ['queuing', 'offline', 'connecting', 'handshake', 'syncing', 'finalizing', 'idle'];
    expect(a.states).toEqual(states);
  });

  test('where it is refused, or there is a link, there is nothing to see', async () => {
    const { a } = single();
    await a.access.write(put, {}, 0);
    a.link.setOnline(false);
    const refused = a.access.write({ ...put, ifMatch: 'b:9' }, {}, 0);
    await expect(refused).rejects.toMatchObject({ code: 'precondition_failed' });
    await turn();
    expect(a.states).toEqual(['offline']);
  });
});

describe('[S26] what a poke says', () => {
  async function heardBy(a: Node, heads: readonly number[]): Promise<number> {
    const before = a.exchanges.length;
    await Promise.all(heads.map((head) => a.link.hear(head)));
    return a.exchanges.length - before;
  }

  test.each([
    [2, 'is as far as it has come: nothing to pull', 0],
    [3, 'is further', 1],
    [1, 'is less, since the cloud has gone back', 1],
  ])('of an idle node: %i %s', async (head, _, exchanges) => {
    const { a } = single();
    for (const id of ['x', 'y']) a.put(id, {});
    await a.link.sync();
    expect(a.replica.meta.cursor).toBe(2);
    expect(await heardBy(a, [head])).toBe(exchanges);
  });

  test.each([
    [[1, 1, 0], 'what the sync under way brings: no other follows', 1],
    [[9, 8, 9], 'more than that: one other follows, for all', 2],
  ])('while a node syncs: %j is %s', async (heads, _, exchanges) => {
    const { a } = single();
    a.put('x', {});
    const running = a.link.sync();
    expect(await heardBy(a, heads)).toBe(exchanges);
    await running;
    expect(a.link.isBusy).toBe(false);
  });
});

test('an unknown outcome comes with a time after which to ask again', async () => {
  const { a } = single();
  await a.link.sync();
  a.fault = 'answer-lost';
  await expect(a.access.writeStrong({ ...entity, kind: 'put', data: {} }, {}, 1_000)).rejects.toMatchObject({
    code: 'outcome_unknown',
    details: { retryAfterMs: 1_000 },
  });
});

describe('a failure', () => {
  test.each(['connect', 'handshake', 'exchange'] as const)(
    '[S23] of the way to %s leaves the node offline',
    async (failing) => {
      const { world, a } = single();
      a.beforeCall = (call) => {
        if (call === failing) throw new SyncError('cloud_unavailable', 'the cloud is away');
      };
      await a.link.sync();
      expect(a.link.state).toBe('offline');
      expect(a.link.nextAttemptAtMs).toBeGreaterThan(world.nowMs);
      expect(a.errors).toEqual([]);
    },
  );

  test.each(['handshake', 'exchange'] as const)('that the cloud answers to %s is none of the link', async (failing) => {
    const { world, a } = single();
    a.beforeCall = (call) => {
      if (call === failing) throw new SyncError('forbidden', 'the token is for another node');
    };
    await a.link.sync();
    expect(a.link.state).toBe('idle');
    expect(a.link.nextAttemptAtMs).toBeGreaterThan(world.nowMs);
  });

  test('[S23] that is a bug is told to the log, with where it was, and tried again', async () => {
    const { world, a } = single();
    a.put('x', { n: 1 });
    a.beforeCall = () => {
      throw new TypeError('it is not a function');
    };
    expect((await a.link.sync()).summary.error).toEqual({ code: 'internal', detail: 'it is not a function' });
    expect(a.errors).toMatchObject([{ event: 'sync_failed', node: 'a' }]);
    expect(a.errors[0]?.['error']).toContain('link.test.ts');
    expect(a.link.nextAttemptAtMs).toBeGreaterThan(world.nowMs);
    a.beforeCall = () => undefined;
    expect((await a.link.sync()).summary.success).toBe(true);
    expect(a.replica.queueStats().total).toBe(0);
  });
});

test('[I7] a sync that does not reach the head is no success, and the next one goes on where it ended', async () => {
  const world = new World();
  const b = new Node(world, 'b');
  const count = LIMITS.exchangesPerSync + 10;
  world.sequencer.commit((commit) => {
    for (let index = 0; index < count; index += 1) {
      const id = commit.cloudDot();
      const stamp = commit.stampNow('cloud');
      const source = { id, entityType: TYPE, entityId: entityId(`e${index}`), stamp };
      commit.put(source, undefined, { data: { index }, written: 'whole', stamp }, id);
    }
  });
  world.pageLimit = 1;
  await expect(b.access.satisfy(TYPE, strongRead)).rejects.toMatchObject({ code: 'overloaded' });
  expect(b.link.lastSummary).toMatchObject({ success: false });
  expect(b.link.nextAttemptAtMs).toBeNull();
  expect(b.replica.isPulling()).toBe(true);
  expect(b.exchanges).toHaveLength(LIMITS.exchangesPerSync);
  expect(await b.access.satisfy(TYPE, strongRead)).toMatchObject({ source: 'cloud' });
  expect(b.exchanges).toHaveLength(count);
  expect(b.replica.meta.cursor).toBe(count);
  expect(b.replica.isPulling()).toBe(false);
});

test('a node that never had everything has no staleness', async () => {
  const { world, a } = single();
  a.link.setOnline(false);
  expect(await a.access.satisfy(TYPE, eventualRead)).toEqual({ source: 'edge', stalenessMs: null });
  expect(await a.access.satisfy(TYPE, { ...eventualRead, maxStalenessMs: 10 })).toEqual({
    source: 'edge',
    stalenessMs: null,
  });
  a.link.setOnline(true);
  expect(await a.access.satisfy(TYPE, eventualRead)).toEqual({ source: 'edge', stalenessMs: 0 });
  world.nowMs += 7;
  expect(a.replica.stalenessMs()).toBe(7);
  a.restart();
  expect(a.replica.stalenessMs()).toBe(7);
});

describe('no wait goes on that nobody needs', () => {
  test('after reads and writes', async () => {
    const { world, a } = single();
    await a.access.satisfy(TYPE, strongRead);
    await a.access.satisfy(TYPE, eventualRead);
    await a.access.writeStrong({ ...entity, kind: 'put', data: { n: 1 } }, {}, 1_000);
    await a.access.satisfy(TYPE, { level: 'causal', after: { clock: { cloud: 1 } }, waitMs: 1_000 });
    await a.access.write({ ...entity, kind: 'put', data: { n: 2 } }, { clock: { other: 1 } }, 1_000);
    expect(world.waits.size).toBe(0);
  });

  test('after resolvers, in the cloud and at a node', async () => {
    const world = new World();
    const answer = Promise.resolve({ winner: 'local', resolvedData: {} });
    await awaitResolution(world.sequencer, { conflictId: 'none', answer }, world.clock).catch(() => undefined);
    const asking = new World({ policy: { conflict: 'custom', custom: 'node' } });
    const [a, b] = [new Node(asking, 'a'), new Node(asking, 'b')];
    b.resolve = () => ({ winner: 'remote', resolvedData: { resolved: true } });
    a.put('x', { n: 1 });
    for (const node of [a, b]) await node.link.sync();
    a.put('x', { n: 2 });
    b.put('x', { n: 3 });
    for (const node of [a, b]) await node.link.sync();
    expect(b.read('x')).toEqual({ resolved: true });
    expect([world.waits.size, asking.waits.size]).toEqual([0, 0]);
  });
});

test('[S32] traffic adds up what syncs sent: their calls that were answered, and the changes that the cloud took', async () => {
  const { a } = single();
  for (let index = 0; index < 4; index += 1) a.put(`e${index}`, { index });
  // Connect, handshake, and two batches of at most three.
  expect((await a.link.sync()).summary).toMatchObject({ uploaded: 4, roundTrips: 4 });
  a.put('more', {});
  a.fault = 'request-lost';
  expect((await a.link.sync()).summary).toMatchObject({ uploaded: 0, roundTrips: 0 });
  expect((await a.link.sync()).summary).toMatchObject({ uploaded: 1, roundTrips: 1 });
  expect(a.link.traffic).toMatchObject({ uploaded: 5, roundTrips: 5 });
});

test.each(['state', 'exchange', 'end'] as const)(
  '[I11] who fails at what the link tells (%s) stops no sync',
  async (at) => {
    const { a } = single();
    a.heard = (what) => {
      if (what === at) throw new TypeError('a bug of who listens');
    };
    a.put('x', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
    a.put('y', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
    expect([a.link.isBusy, a.link.isDue, a.link.state]).toEqual([false, true, 'idle']);
    expect(a.errors.length).toBeGreaterThan(0);
    expect(a.errors[0]).toMatchObject({
      event: 'listener_failed',
      error: expect.stringContaining('a bug of who listens'),
    });
  },
);

test('[I11] a storage that failed once has failed one sync', async () => {
  const { a } = single();
  const { writeMeta } = a.store;
  a.beforeCall = () => {
    a.store.writeMeta = () => {
      throw new RangeError('the disk is full');
    };
    throw new SyncError('overloaded', 'busy', { retryAfterMs: 60_000 });
  };
  await expect(a.link.sync()).rejects.toThrow('the disk is full');
  a.store.writeMeta = writeMeta;
  a.beforeCall = () => undefined;
  a.put('x', { n: 1 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
  expect(a.link.isBusy).toBe(false);
});

test('[I6] [I10] what many callers have seen is asked for in as many questions as it takes', async () => {
  const { world, a } = single();
  await a.link.sync();
  const names = Array.from({ length: 300 }, (_, index) => `n${index}`);
  // Of one of the last the cloud has nothing.
  for (const name of names.slice(0, 299)) {
    const node = new Node(world, name);
    node.put(name, {});
    await node.link.sync();
  }
  const asked = a.exchanges.length;
  const runs = await Promise.all(
    names.map((name) => a.link.sync({ requires: { clock: { [name]: 1 } } }).then(({ covered }) => covered)),
  );
  expect(runs).toEqual(names.map((_, index) => index < 299));
  expect(a.exchanges.slice(asked).map(({ batch }) => Object.keys(batch.requires ?? {}).length)).toEqual([256, 44]);
});

test('[S32] a change that is sent twice in a sync, since its session ended, counts once', async () => {
  const { world, a } = single();
  const other = new Node(world, 'other');
  for (let index = 0; index < 10; index += 1) other.put(`e${index}`, { index });
  await other.link.sync();
  world.pageLimit = 2;
  a.put('x', {});
  a.put('y', {});
  let exchanges = 0;
  a.beforeCall = (call) => {
    exchanges += call === 'exchange' ? 1 : 0;
    if (call === 'exchange' && exchanges === 3) throw new SyncError('session_expired', 'connect again');
  };
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 2 });
});

test('what may not happen during a sync happens behind the one under way, and before the next', async () => {
  const { a } = single();
  const order: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  a.beforeExchange = async () => {
    order.push('begins');
    await released;
  };
  a.heard = (what) => void (what === 'end' && order.push('ends'));
  const running = a.link.sync().then(() => a.link.isBusy);
  const failing = a.link.between(() => {
    order.push('between');
    throw new RangeError('it failed');
  });
  const next = a.link.sync();
  release();
  await expect(failing).rejects.toThrow('it failed');
  await Promise.all([running, next]);
  expect(order).toEqual(['begins', 'ends', 'between']);
  await a.link.between(() => order.push('between'));
  await a.link.sync();
  expect(order.slice(3)).toEqual(['between', 'begins', 'ends']);
});
