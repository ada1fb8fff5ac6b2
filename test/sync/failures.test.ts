import { describe, expect, test, vi } from 'vitest';
import { type Change, dotOf } from '../../src/core/change.ts';
import { type EntityType, entityKey } from '../../src/core/ids.ts';
import type { Policy } from '../../src/core/policy.ts';
import { type ErrorCode, SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import type { IncomingBatch } from '../../src/protocol/messages.ts';
import { Access } from '../../src/sync/access.ts';
import type { Clock } from '../../src/sync/ports.ts';
import { entityId, entityType, Node, TYPE, World } from './world.ts';

const entity = (id: string) => ({ entityType: TYPE, entityId: entityId(id) });
const read = { level: 'strong', after: {}, waitMs: 1_000 } as const;

/** A node, and a cloud that fails at the entities in `poison` as long as they are there. */
function poisoned(...ids: string[]) {
  const world = new World({ policy: { coalesce: false, conflict: 'merge' } satisfies Partial<Policy> });
  const a = new Node(world, 'a');
  const poison = new Set(ids);
  const { cloudStore: store } = world;
  const writeEntity = store.writeEntity.bind(store);
  store.writeEntity = (version) => {
    if (poison.has(version.entityId)) throw new RangeError('a bug');
    writeEntity(version);
  };
  return { world, a, poison };
}

/** A node, and a cloud that takes no batch with what `isPoison` says. @returns the sizes of the batches that it was sent. */
function choking(isPoison: (batch: IncomingBatch) => boolean, code: ErrorCode) {
  const world = new World({ policy: { coalesce: false } });
  const a = new Node(world, 'a');
  const sizes: number[] = [];
  const fault = { isOn: true };
  const exchange = world.responder.exchange.bind(world.responder);
  world.responder.exchange = (sessionId, batch, caller) => {
    sizes.push(batch.changes.length);
    if (fault.isOn && isPoison(batch)) throw new SyncError(code, 'the batch is poisoned');
    return exchange(sessionId, batch, caller);
  };
  return { world, a, sizes, fault };
}

const has = (id: string) => (batch: IncomingBatch) => batch.changes.some((change) => change['entityId'] === id);

function queue(a: Node) {
  const { items } = a.replica.listQueue(undefined, 0, 100);
  return items.map(({ change, status, retryCount, error }) => [change.entityId, status, retryCount, error?.code]);
}

function atCloud(world: World, id: string) {
  return world.cloudStore.readEntity(entityKey(entity(id)))?.data;
}

describe('a change that the cloud fails at', () => {
  test('[I11] [S27] is tried three times, after longer waits, and is dead then; the others go on', async () => {
    const { world, a } = poisoned('x');
    a.put('x', { n: 1 });
    a.put('y', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1, failed: 1, rejected: 0 });
    expect(queue(a)).toEqual([['x', 'failed', 1, undefined]]);
    expect(a.replica.queueStats()).toMatchObject({ failed: 1, pending: 0, dead: 0 });
    expect(a.replica.msUntilUnsent('normal')).toBe(1_000);
    expect(a.read('x')).toEqual({ n: 1 });

    // Before its time it isn't sent, and others are.
    world.nowMs += 999;
    a.put('z', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ uploaded: 1, failed: 0 });
    world.nowMs += 1;
    expect(a.replica.msUntilUnsent('normal')).toBe(0);
    await a.link.sync();
    expect(queue(a)).toEqual([['x', 'failed', 2, undefined]]);
    expect(a.replica.msUntilUnsent('normal')).toBe(2_000);

    world.nowMs += 2_000;
    expect((await a.link.sync()).summary).toMatchObject({ success: true, failed: 1, rejected: 1 });
    const [dead] = a.replica.listQueue('dead', 0, 10).items;
    expect(dead).toMatchObject({ retryCount: LIMITS.maxRetries, lastAttemptMs: world.nowMs });
    expect(dead?.error).toEqual({ code: 'internal', detail: expect.stringContaining('failed at this change') });
    expect(a.replica.queueStats()).toMatchObject({ failed: 0, dead: 1, total: 1 });
    expect(a.replica.msUntilUnsent('normal')).toBeNull();
    expect(a.list()).toEqual({ y: { n: 1 }, z: { n: 1 } });
    // Its counter is answered for, and it never comes: not even where it is on its way for the second time.
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 3, extra: [] });
    // The last one tells the cloud that it is dead.
    expect(a.exchanges.map(({ batch }) => batch.changes.length)).toEqual([2, 1, 1, 1, 1, 0]);
  });

  test('[I11] [S27] holds up none of the others, however many there are', async () => {
    const ids = Array.from({ length: 30 }, (_, n) => `p${n}`);
    const { world, a } = poisoned(...ids);
    for (const id of ids) a.put(id, { n: 1 });
    await a.link.sync();
    world.nowMs += 1_000;
    a.put('good', { n: 1 });
    const sent = a.exchanges.length;
    await a.link.sync();
    expect(a.exchanges[sent]?.batch.changes.map(({ entityId: id }) => id)).toContain('good');
    // Three to a batch here.
    expect(a.exchanges.length - sent).toBeLessThanOrEqual(11);
    expect(atCloud(world, 'good')).toEqual({ n: 1 });
  });

  test('[S27] that the cloud takes at a later try is one like any other', async () => {
    const { world, a, poison } = poisoned('x');
    a.put('x', { n: 1 });
    await a.link.sync();
    poison.clear();
    world.nowMs += 1_000;
    await a.link.sync();
    expect(atCloud(world, 'x')).toEqual({ n: 1 });
    expect(a.replica.queueStats().total).toBe(0);
    expect(a.replica.meta.digestMismatches).toBe(0);
  });

  test('[I1] [S27] keeps its tries over a restart', async () => {
    const { world, a } = poisoned('x');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.restart();
    expect(queue(a)).toEqual([['x', 'failed', 1, undefined]]);
    expect(a.replica.msUntilUnsent('normal')).toBe(1_000);
    world.nowMs += 1_000;
    await a.link.sync();
    expect(queue(a)).toEqual([['x', 'failed', 2, undefined]]);
  });

  test('[I5] [S27] is overtaken by nothing of its record, and by all others', async () => {
    const { world, a, poison } = poisoned('x');
    a.put('x', { n: 1 });
    a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
    a.put('y', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ uploaded: 1, failed: 1 });
    expect(a.exchanges[0]?.answer.results.map(({ status }) => status)).toEqual(['failed', 'deferred', 'applied']);
    a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
    a.put('z', { n: 1 });
    await a.link.sync();
    expect([atCloud(world, 'x'), atCloud(world, 'z')]).toEqual([undefined, { n: 1 }]);
    expect(queue(a).map(([, status]) => status)).toEqual(['failed', 'pending', 'pending']);
    poison.clear();
    world.nowMs += 1_000;
    await a.link.sync();
    expect(atCloud(world, 'x')).toEqual({ n: 3 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I6] [S27] is in what its node gives out as seen, as long as it waits', async () => {
    const { a } = poisoned('x');
    a.put('x', { n: 1 });
    await a.link.sync();
    expect(a.replica.causalContext().clock).toMatchObject({ a: 1 });
  });

  test('[S12] [S27] dead, is sent again as a new one, with new tries, or given up', async () => {
    const { world, a, poison } = poisoned('x', 'y');
    a.put('x', { n: 1 });
    a.put('y', { n: 1 });
    for (const waitMs of [0, 1_000, 2_000]) {
      world.nowMs += waitMs;
      await a.link.sync();
    }
    const [x, y] = a.replica.listQueue('dead', 0, 10).items.map(({ change }) => change.id);
    const again = a.replica.retryDead(x ?? '');
    a.replica.discardDead(y ?? '');
    expect(queue(a)).toEqual([['x', 'pending', 0, undefined]]);
    expect(a.read('x')).toEqual({ n: 1 });
    await a.link.sync();
    expect(queue(a)).toEqual([['x', 'failed', 1, undefined]]);
    poison.clear();
    world.nowMs += 1_000;
    await a.link.sync();
    expect(world.cloudStore.readEntity(entityKey(entity('x')))?.version).toBe(again);
    expect(a.list()).toEqual({ x: { n: 1 } });
  });

  test('[I11] [S27] what was made on a dead one says so, where it is refused too', async () => {
    const { world, a, poison } = poisoned('x');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
    for (const waitMs of [1_000, 2_000]) {
      world.nowMs += waitMs;
      await a.link.sync();
    }
    poison.clear();
    await a.link.sync();
    expect(a.replica.listQueue('dead', 0, 10).items.map(({ error }) => error)).toEqual([
      { code: 'internal', detail: expect.anything() },
      { code: 'not_found', detail: 'there is no note/x; a:1, before it, is dead' },
    ]);
    expect(a.read('x')).toBeUndefined();
  });

  test('[I2] [S27] what was made on a dead one is what its operations make without it', async () => {
    const { world, a, poison } = poisoned();
    const increment = (value: number) =>
      a.write('x', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value }] });
    a.put('x', { n: 0, text: 'long enough that a field is worth sending by itself' });
    await a.link.sync();
    poison.add('x');
    increment(1);
    increment(10);
    for (const waitMs of [0, 1_000]) {
      world.nowMs += waitMs;
      await a.link.sync();
    }
    increment(100);
    world.nowMs += 2_000;
    // It is dead, and the two behind it wait for their turn.
    a.beforeCall = () => {
      if (a.replica.queueStats().dead > 0) poison.clear();
    };
    await a.link.sync();
    expect(queue(a)).toEqual([['x', 'dead', 3, 'internal']]);
    expect(a.read('x')).toMatchObject({ n: 110 });
    expect(atCloud(world, 'x')).toMatchObject({ n: 110 });
    a.replica.retryDead('a:2');
    await a.link.sync();
    expect(atCloud(world, 'x')).toMatchObject({ n: 111 });
    expect(a.replica.meta.digestMismatches).toBe(0);
  });

  test('[S27] has new tries in the next cloud', async () => {
    const { world, a } = poisoned('x');
    a.put('x', { n: 1 });
    await a.link.sync();
    world.nowMs += 1_000;
    await a.link.sync();
    expect(queue(a)).toEqual([['x', 'failed', 2, undefined]]);
    world.loseCloud();
    world.nowMs += 2_000;
    await a.link.sync();
    expect(atCloud(world, 'x')).toEqual({ n: 1 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[S20] [S27] and that somebody waits for is refused at once; one behind it waits no longer than it said', async () => {
    const { world, a } = poisoned('x');
    const write = { ...entity('x'), kind: 'put', data: { n: 1 } } as const;
    await expect(a.access.writeStrong(write, {}, 1_000)).rejects.toMatchObject({ code: 'internal' });
    expect(a.replica.queueStats().total).toBe(0);
    a.put('x', { n: 2 });
    await a.link.sync();
    const sent = a.exchanges.length;
    await expect(a.access.writeStrong(write, {}, 1_000)).rejects.toMatchObject({
      code: 'cloud_unavailable',
      message: expect.stringContaining('waits for its next try'),
    });
    expect(a.exchanges.length - sent).toBe(1);
    await expect(a.access.writeStrong({ ...write, ...entity('y') }, {}, 1_000)).resolves.toMatchObject({
      created: true,
    });
    expect(world.waits.size).toBe(0);
  });
});

test('[I11] [S27] a change that the cloud refuses is dead at once: trying again can’t help', async () => {
  const { world, a } = poisoned();
  world.refuse = () => true;
  a.put('x', { n: 1 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, rejected: 1, failed: 0 });
  expect(queue(a)).toEqual([['x', 'dead', 0, 'invalid_data']]);
});

describe('what the token of a node does not allow', () => {
  const secret = entityType('secret');

  async function barred() {
    const { world, a } = poisoned();
    a.grant = { writeTypes: [TYPE] };
    for (const id of ['s', 't', 'u', 'v']) a.put(id, { n: 1 }, secret);
    a.put('x', { n: 1 });
    const { summary } = await a.link.sync();
    const sent = () => a.exchanges.flatMap(({ batch }) => batch.changes.map(({ entityId: id }) => id));
    return { world, a, summary, sent };
  }

  test('[I1] [I11] [S23] waits for another one, and holds up nothing else', async () => {
    const { world, a, summary, sent } = await barred();
    expect(summary).toMatchObject({ success: true, uploaded: 1, failed: 3, rejected: 0, pending: 4 });
    expect(queue(a)).toEqual([
      ['s', 'failed', 0, undefined],
      ['t', 'failed', 0, undefined],
      ['u', 'failed', 0, undefined],
      ['v', 'pending', 0, undefined],
    ]);
    const [first] = a.replica.listQueue('failed', 0, 1).items;
    expect(first?.failure).toEqual({ code: 'forbidden', detail: 'the token may not write secret' });
    expect(a.link.paused).toBe('needs-auth');
    expect(a.read('s', secret)).toEqual({ n: 1 });
    expect(sent()).toEqual(['s', 't', 'u', 'x']);
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 0, extra: [[5, 5]] });
    expect(a.replica.msUntilUnsent('normal')).toBe(LIMITS.pauseMs);
    // What is written of the type meanwhile waits too, and all others go.
    a.put('w', { n: 1 }, secret);
    a.put('y', { n: 1 });
    await a.link.sync();
    expect(sent().slice(4)).toEqual(['y']);
  });

  test('[I1] [S23] is asked for again after some minutes, by one change and for no row, and goes when it may', async () => {
    const { world, a, sent } = await barred();
    for (let tries = 0; tries < 5; tries += 1) {
      world.nowMs += LIMITS.pauseMs;
      const writeQueued = vi.spyOn(a.store, 'writeQueued');
      await a.link.sync();
      expect(writeQueued).not.toHaveBeenCalled();
      expect(a.replica.msUntilUnsent('normal')).toBe(LIMITS.pauseMs);
    }
    expect(sent().slice(4)).toEqual(['s', 's', 's', 's', 's']);
    expect(queue(a).map(([, , tries]) => tries)).toEqual([0, 0, 0, 0]);
    a.grant = {};
    world.nowMs += LIMITS.pauseMs;
    const before = a.exchanges.length;
    expect((await a.link.sync()).summary).toMatchObject({ uploaded: 4, pending: 0 });
    expect(a.exchanges.slice(before).map(({ batch }) => batch.changes.length)).toEqual([1, 3]);
    expect(a.link.paused).toBeNull();
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 5, extra: [] });
    expect(a.replica.meta.digestMismatches).toBe(0);
  });

  test('[S23] is asked for at once by who syncs, or says what the link is like, and by a node that starts after the pause', async () => {
    for (const ask of ['sync', 'network', 'restart', 'clock'] as const) {
      const { world, a } = await barred();
      a.grant = {};
      expect((await a.link.sync()).summary.uploaded).toBe(0);
      if (ask === 'network') a.link.setOnline(true);
      if (ask === 'clock') world.nowMs -= 3_600_000;
      if (ask === 'restart') {
        a.restart();
        expect(a.link.paused).toBe('needs-auth');
        expect((await a.link.sync()).summary.uploaded).toBe(0);
        world.nowMs += LIMITS.pauseMs;
      }
      if (ask === 'clock') {
        // Once, if it may not.
        a.grant = { writeTypes: [TYPE] };
        expect((await a.link.sync()).summary.failed).toBe(1);
        expect(a.replica.msUntilUnsent('normal')).toBe(LIMITS.pauseMs);
        a.grant = {};
        world.nowMs += LIMITS.pauseMs;
      }
      expect((await a.link.sync({ all: ask === 'sync' })).summary, ask).toMatchObject({ uploaded: 4, pending: 0 });
    }
  });

  test('[I8] [S34] is a transaction as a whole, of which one change is not allowed', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.grant = { writeTypes: [TYPE] };
    const put = (type: EntityType, id: string) =>
      ({ entityType: type, entityId: entityId(id), kind: 'put', data: { n: 1 } }) as const;
    const other = entityType('other');
    for (const [index, types] of [
      [TYPE, secret],
      [secret, TYPE],
      [secret, other],
      [other, TYPE],
    ].entries())
      a.replica.transact(
        types.map((type) => put(type, `e${index}`)),
        {},
      );
    const sent = () => a.exchanges.splice(0).flatMap(({ batch }) => batch.changes.length);
    // Each type is asked for once; a transaction doesn't fit in a batch with another one here.
    for (const batches of [
      [[2, 2], [0]],
      [[2], [2], [0]],
    ]) {
      for (const sizes of batches) {
        await a.link.sync();
        expect(sent()).toEqual(sizes);
        expect(a.link.paused).toBe('needs-auth');
      }
      expect(world.sequencer.meta.seq).toBe(0);
      expect(a.replica.queueStats()).toMatchObject({ total: 8, dead: 0 });
      world.nowMs += LIMITS.pauseMs;
    }
    a.grant = {};
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
    expect(world.sequencer.meta.seq).toBe(8);
  });

  test('[S20] is refused at once to who waits for it', async () => {
    const { a } = await barred();
    const write = { entityType: secret, entityId: entityId('strong'), kind: 'put', data: { n: 1 } } as const;
    await expect(a.access.writeStrong(write, {}, 1_000)).rejects.toMatchObject({ code: 'forbidden' });
    const both = [write, { ...write, entityType: TYPE }];
    await expect(a.access.transactStrong(both, {}, 1_000)).rejects.toMatchObject({ code: 'forbidden' });
    await expect(a.access.transactStrong(both.reverse(), {}, 1_000)).rejects.toMatchObject({ code: 'forbidden' });
  });
});

describe('where the cloud fails at a whole batch', () => {
  test.each(['internal', 'too_large', 'bad_request'] as const)(
    '[I11] [S28] it is halved down to the change that is to blame, which fails alone; the rest goes on (%s)',
    async (code) => {
      const { world, a, sizes } = choking(has('e2'), code);
      for (let n = 0; n < 8; n += 1) a.put(`e${n}`, { n });
      expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 7, failed: 1 });
      // Three to a batch here; then half; none, to see that the cloud takes that; and more again.
      expect(sizes).toEqual([3, 1, 2, 1, 1, 0, 1, 2, 2]);
      expect(queue(a)).toEqual([['e2', 'failed', 1, undefined]]);
      for (const waitMs of [1_000, 2_000]) {
        world.nowMs += waitMs;
        a.put('e0', { n: waitMs });
        await a.link.sync();
        expect(atCloud(world, 'e0')).toEqual({ n: waitMs });
      }
      expect(queue(a)).toEqual([['e2', 'dead', LIMITS.maxRetries, code]]);
      expect(a.read('e2')).toBeUndefined();
      expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 10, extra: [] });
    },
  );

  test('[I1] [S28] the change that is to blame keeps its tries over a restart, and goes alone after that', async () => {
    const { world, a, sizes } = choking(has('x'), 'internal');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.restart();
    expect(queue(a)).toEqual([['x', 'failed', 1, undefined]]);
    world.nowMs += 1_000;
    a.put('y', { n: 1 });
    sizes.splice(0);
    await a.link.sync();
    expect(sizes).toEqual([1, 1, 0]);
    expect(atCloud(world, 'y')).toEqual({ n: 1 });
    expect(queue(a)).toEqual([['x', 'failed', 2, undefined]]);
  });

  test('[I11] [S28] a batch that is too large goes in parts', async () => {
    const { world, a, sizes } = choking((batch) => batch.changes.length > 1, 'too_large');
    for (let n = 0; n < 4; n += 1) a.put(`e${n}`, { n });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 4, failed: 0 });
    expect(sizes).toEqual([3, 1, 2, 1, 1, 1]);
    expect([a.replica.queueStats().total, world.sequencer.meta.seq]).toEqual([0, 4]);
  });

  test('[I1] [S28] and at an empty one too, no change is to blame, however often', async () => {
    const { world, a, sizes, fault } = choking(() => true, 'internal');
    for (let n = 0; n < 4; n += 1) a.put(`e${n}`, { n });
    for (let tries = 0; tries < 10; tries += 1) {
      expect((await a.link.sync()).summary).toMatchObject({ success: false, failed: 0, error: { code: 'internal' } });
      expect(a.link.nextAttemptAtMs).toBeGreaterThan(world.nowMs);
      world.nowMs += 30_000;
    }
    expect(a.replica.queueStats()).toMatchObject({ pending: 4, failed: 0, dead: 0 });
    // Nor is it asked more than once at a time, from then on.
    expect(sizes).toEqual([3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    fault.isOn = false;
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 4 });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[S28] the link that breaks is nobody’s try', async () => {
    const { world, a, fault } = choking(has('x'), 'internal');
    a.put('x', { n: 1 });
    for (let tries = 0; tries < 10; tries += 1) {
      a.fault = 'request-lost';
      await a.link.sync();
      world.nowMs += 30_000;
    }
    expect(queue(a)).toEqual([['x', 'pending', 0, undefined]]);
    fault.isOn = false;
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I1] [I2] [S28] what the cloud took, though it said that it failed, is not dead', async () => {
    const { world, a } = choking(() => false, 'internal');
    const exchange = world.responder.exchange;
    world.responder.exchange = (sessionId, batch, caller) => {
      const answer = exchange(sessionId, batch, caller);
      if (has('x')(batch)) throw new TypeError('the answer can not be told');
      return answer;
    };
    a.put('x', { n: 1 });
    for (const waitMs of [0, 1_000, 2_000]) {
      world.nowMs += waitMs;
      await a.link.sync();
    }
    expect(a.replica.queueStats()).toMatchObject({ dead: 0, total: 0 });
    expect(a.read('x')).toEqual({ n: 1 });
    expect(world.sequencer.meta.seq).toBe(1);
    // The next cloud gets all of it.
    world.loseCloud();
    await a.link.sync();
    expect(atCloud(world, 'x')).toEqual({ n: 1 });
  });

  test('[S28] who waits for the change that is to blame is told so, and others for theirs', async () => {
    const { a } = choking(has('x'), 'too_large');
    a.put('z', { n: 1 });
    const write = (id: string) => a.access.writeStrong({ ...entity(id), kind: 'put', data: { n: 1 } }, {}, 1_000);
    const [x, y] = await Promise.allSettled([write('x'), write('y')]);
    expect(x).toMatchObject({ status: 'rejected', reason: { code: 'too_large' } });
    expect(y).toMatchObject({ status: 'fulfilled' });
    expect(a.replica.queueStats().total).toBe(0);
    const unknown = choking(has('x'), 'internal');
    await expect(unknown.a.access.writeStrong({ ...entity('x'), kind: 'delete' }, {}, 1_000)).rejects.toMatchObject({
      code: 'outcome_unknown',
    });
  });

  test.each([
    ['node_forked', [2, 2]],
    ['forbidden', [2]],
  ] as const)('[S17] [S23] %s is none of the batch', async (code, sent) => {
    const { a, sizes } = choking(() => true, code);
    a.put('x', { n: 1 });
    a.put('y', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: false, error: { code } });
    expect(sizes).toEqual(sent);
    expect(queue(a).map(([, status]) => status)).toEqual(['pending', 'pending']);
  });
});

describe('how long a node waits', () => {
  function failing(code: ErrorCode, retryAfterMs?: number) {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    a.beforeCall = () => {
      throw new SyncError(code, 'not now', { retryAfterMs });
    };
    return { world, a };
  }

  test.each(['overloaded', 'rate_limited', 'cloud_unavailable'] as const)(
    '[S23] no shorter than the cloud asks for, and no longer than an hour for that (%s)',
    async (code) => {
      for (const [asked, wanted] of [
        [7_000, 7_000],
        [24 * 3_600_000, 3_600_000],
        [1, 500],
      ] as const) {
        const { world, a } = failing(code, asked);
        await a.link.sync();
        expect(a.link.nextAttemptAtMs).toBe(world.nowMs + wanted);
        expect(a.link.isDue).toBe(false);
        world.nowMs += wanted;
        expect(a.link.isDue).toBe(true);
      }
    },
  );

  test('[I11] [S23] where its clock was put back: no longer, for nobody can tell how long it has waited', async () => {
    const { world, a } = failing('cloud_unavailable');
    await a.link.sync();
    expect(a.link.isDue).toBe(false);
    world.nowMs -= 3_600_000;
    expect([a.link.isDue, a.link.nextAttemptAtMs]).toEqual([true, null]);
  });

  test.each([
    ['unauthenticated', 'needs-auth'],
    ['forbidden', 'needs-auth'],
    ['protocol_unsupported', 'needs-upgrade'],
  ] as const)(
    '[I1] [S23] where its token is refused, or its version: minutes, for all to see, with all that waits kept (%s)',
    async (code, paused) => {
      const { world, a } = failing(code);
      for (let tries = 0; tries < 5; tries += 1) {
        await a.link.sync();
        expect(a.link.paused).toBe(paused);
        expect((a.link.nextAttemptAtMs ?? 0) - world.nowMs).toBe((LIMITS.pauseMs * 3) / 4);
        world.nowMs += LIMITS.pauseMs;
      }
      expect(queue(a)).toEqual([['x', 'pending', 0, undefined]]);
      await a.link.sync();
      expect(a.link.isDue).toBe(false);
      // It ends by itself once the token is good, or when somebody says that it is.
      a.beforeCall = () => undefined;
      a.link.setOnline(true);
      expect(a.link.isDue).toBe(true);
      await a.link.sync();
      expect(a.link.paused).toBeNull();
      expect(a.replica.queueStats().total).toBe(0);
    },
  );

  describe('and whom that keeps from asking', () => {
    const after = { clock: { other: 1 } };
    const eventual = { level: 'eventual', after, waitMs: 1_000 } as const;
    const note = { ...entity('y'), kind: 'put', data: { n: 1 } } as const;

    /** A node that has had everything, and after a sync that failed so; `asked` counts the calls since then. */
    async function waiting(code: ErrorCode, retryAfterMs?: number) {
      const { world, a } = failing(code, retryAfterMs);
      const { beforeCall } = a;
      a.beforeCall = () => undefined;
      await a.link.sync();
      const asked = { calls: 0 };
      a.beforeCall = (call) => {
        asked.calls += 1;
        beforeCall(call);
      };
      await a.link.sync();
      asked.calls = 0;
      return { world, a, asked };
    }

    test.each([
      ['its own', 'cloud_unavailable', undefined],
      ['the cloud’s', 'overloaded', 600_000],
    ] as const)('[S23] in %s wait: eventual reads, and writes with a token, take what is here', async (_, code, ms) => {
      const { a, asked } = await waiting(code, ms);
      for (let n = 0; n < 10; n += 1) {
        expect(await a.access.satisfy(TYPE, eventual)).toMatchObject({ source: 'edge' });
        await a.access.write(note, after, 1_000);
        await a.access.transact([note, { ...note, ...entity('z') }], after, 1_000);
      }
      expect(asked.calls).toBe(0);
      expect(a.replica.causalContext(after).clock).toMatchObject({ other: 1 });
    });

    test('[S23] a causal read waits for the end of the wait, and asks then', async () => {
      const { world, a, asked } = await waiting('overloaded', 10_000);
      const askedAtMs: number[] = [];
      world.responder.exchange = (
        (exchange) =>
        (...args) => {
          askedAtMs.push(world.nowMs);
          return exchange(...args);
        }
      )(world.responder.exchange.bind(world.responder));
      a.beforeCall = () => undefined;
      const startMs = world.nowMs;
      const other = new Node(world, 'other');
      other.put('x', { of: 'other' });
      const clock: Clock = {
        nowMs: () => world.nowMs,
        // A pause ends by itself; the caller's patience, which is longer, does not.
        sleep: async (ms, signal) => {
          if (signal !== undefined)
            return await new Promise<void>((end) => signal.addEventListener('abort', () => end()));
          world.nowMs += ms;
        },
      };
      await other.link.sync();
      askedAtMs.length = 0;
      const access = new Access(a.replica, a.link, clock);
      await access.satisfy(TYPE, { level: 'causal', after: other.replica.causalContext(), waitMs: 30_000 });
      expect(a.read('x')).toMatchObject({ of: 'other' });
      expect(asked.calls).toBe(0);
      expect(askedAtMs).toHaveLength(1);
      expect((askedAtMs[0] ?? 0) - startMs).toBeGreaterThanOrEqual(10_000);
      expect((askedAtMs[0] ?? 0) - startMs).toBeLessThan(11_000);
    });

    test('[S23] who needs the cloud now ends the node’s own wait', async () => {
      const { a, asked } = await waiting('cloud_unavailable');
      await expect(a.access.satisfy(TYPE, read)).rejects.toMatchObject({ code: 'cloud_unavailable' });
      expect(asked.calls).toBe(1);
      await expect(a.access.writeStrong(note, {}, 1_000)).rejects.toMatchObject({ code: 'outcome_unknown' });
      expect(asked.calls).toBe(2);
      await a.link.hear(99);
      expect(asked.calls).toBe(3);
      a.beforeCall = () => undefined;
      await a.link.hear(99);
      expect(a.link.nextAttemptAtMs).toBeNull();
      expect(a.replica.queueStats().total).toBe(0);
    });

    test('[S23] but not one that the cloud asked for: he is told so at once, and for how long', async () => {
      const { world, a, asked } = await waiting('overloaded', 90_000);
      world.nowMs += 10_000;
      const refusal = { code: 'overloaded', details: { retryAfterMs: 80_000 } };
      await expect(a.access.satisfy(TYPE, read)).rejects.toMatchObject(refusal);
      await expect(a.access.writeStrong(note, {}, 1_000)).rejects.toMatchObject(refusal);
      await a.link.hear(99);
      a.link.setOnline(true);
      expect([a.link.isDue, a.link.nextAttemptAtMs]).toEqual([false, world.nowMs + 80_000]);
      expect(asked.calls).toBe(0);
      // Nor does what was asked while the sync was under way that failed.
      world.nowMs += 80_000;
      const { beforeCall } = a;
      let second: Promise<unknown> = Promise.resolve();
      a.beforeCall = (call) => {
        second = a.access.satisfy(TYPE, read).catch((error) => error);
        beforeCall(call);
      };
      expect((await a.link.sync({ ends: 'none' })).summary.success).toBe(false);
      expect(await second).toMatchObject({ code: 'overloaded', details: { retryAfterMs: 90_000 } });
      a.beforeCall = beforeCall;
      expect(asked.calls).toBe(1);
      // A sync that is asked for goes.
      await a.link.sync();
      expect(asked.calls).toBe(2);
    });

    test('[S23] nor is a cloud that speaks another version asked by reads, writes and pokes', async () => {
      const { a, asked } = await waiting('protocol_unsupported');
      for (let n = 0; n < 10; n += 1) {
        await a.access.satisfy(TYPE, eventual);
        await a.access.write(note, after, 1_000);
        await expect(a.access.satisfy(TYPE, read)).rejects.toMatchObject({
          code: 'cloud_unavailable',
          message: 'not now',
        });
        await a.link.hear(99);
      }
      expect(asked.calls).toBe(0);
    });

    test('[S23] also after a restart, where it is longer than any of the node’s own', async () => {
      for (const [retryAfterMs, isKept] of [
        [30_000, false],
        [90_000, true],
      ] as const) {
        const { world, a, asked } = await waiting('overloaded', retryAfterMs);
        a.restart();
        expect(a.link.nextAttemptAtMs).toBe(isKept ? world.nowMs + retryAfterMs : null);
        await expect(a.access.satisfy(TYPE, read)).rejects.toMatchObject({ code: 'overloaded' });
        expect(asked.calls).toBe(isKept ? 0 : 1);
        a.beforeCall = () => undefined;
        await a.link.sync();
        a.restart();
        expect(a.link.nextAttemptAtMs).toBeNull();
      }
      const { a } = await waiting('unauthenticated');
      a.restart();
      expect([a.link.paused, a.link.isDue]).toEqual(['needs-auth', false]);
    });
  });

  test('[I3] [S23] before it reads everything once more, where that did not mend the difference', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const b = new Node(world, 'b');
    a.put('x', { n: 1 });
    await a.link.sync();
    const exchange = world.responder.exchange.bind(world.responder);
    world.responder.exchange = (...args) => ({ ...exchange(...args), digest: 'f'.repeat(32) });
    const waits: number[] = [];
    for (let tries = 0; tries < 8; tries += 1) {
      expect((await b.link.sync()).summary.success).toBe(true);
      waits.push((b.link.nextAttemptAtMs ?? 0) - world.nowMs);
      world.nowMs += 30_000;
    }
    expect(waits).toEqual([500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000, 15_000]);
    expect(b.replica.meta.digestMismatches).toBe(16);
    expect(await b.access.satisfy(TYPE, read)).toMatchObject({ source: 'cloud' });
    world.responder.exchange = exchange;
    await b.link.sync();
    expect([b.link.nextAttemptAtMs, b.replica.isPulling()]).toEqual([null, false]);
  });
});

test('[S16] [S27] what went into a change that is given up is void with it', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  a.put('x', { n: 2 });
  const exchange = world.responder.exchange.bind(world.responder);
  world.responder.exchange = (sessionId, batch, caller) => {
    if (has('x')(batch)) throw new SyncError('too_large', 'no');
    return exchange(sessionId, batch, caller);
  };
  for (const waitMs of [0, 1_000, 2_000]) {
    world.nowMs += waitMs;
    await a.link.sync();
  }
  const [dead] = a.replica.listQueue('dead', 0, 10).items as { change: Change }[];
  expect(dead && dotOf(dead.change).counter).toBe(2);
  expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 2, extra: [] });
});

describe('[I11] [S23] a cloud that never says its last word', () => {
  /** What a node does by itself in ten minutes. @returns how often it asked. */
  async function syncs(world: World, a: Node): Promise<number> {
    const endMs = world.nowMs + 600_000;
    let count = 0;
    while (world.nowMs < endMs) {
      if (a.link.isDue) {
        await a.link.sync();
        count += 1;
      }
      world.nowMs = Math.max(world.nowMs + 1_000, a.link.nextAttemptAtMs ?? 0);
    }
    return count;
  }

  const stalled = { success: false, pending: 1, error: { code: 'internal', detail: expect.stringContaining('word') } };

  test('on one change is asked less and less often, and others go on', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const exchange = world.responder.exchange.bind(world.responder);
    world.responder.exchange = (...args) => {
      const answer = exchange(...args);
      return { ...answer, vectorClock: { cloud: 0 }, results: answer.results.filter(({ id }) => id !== 'a:1') };
    };
    a.put('x', { n: 1 });
    a.put('y', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ ...stalled, uploaded: 1 });
    expect([a.link.state, a.link.isDue]).toEqual(['idle', false]);
    // What it has is the cloud's state all the same.
    expect(await a.access.satisfy(TYPE, read)).toMatchObject({ source: 'cloud' });
    expect(a.errors).toContainEqual({ event: 'stalled', node: 'a', changes: ['a:1'] });
    expect(await syncs(world, a)).toBeLessThan(50);
    expect(a.replica.queueStats()).toMatchObject({ pending: 1, dead: 0, total: 1 });
    world.responder.exchange = exchange;
    expect((await a.link.sync()).summary).toMatchObject({ success: true });
    expect([a.replica.queueStats().total, a.link.nextAttemptAtMs]).toEqual([0, null]);
  });

  test('but always wants the whole of one that it has got whole, as well', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    const exchange = world.responder.exchange.bind(world.responder);
    world.responder.exchange = (sessionId, batch, caller) => {
      const answer = exchange(sessionId, { ...batch, changes: [], void: undefined, checksum: undefined }, caller);
      return { ...answer, results: batch.changes.map(({ id }) => ({ id, status: 'needs-full' as const })) };
    };
    expect((await a.link.sync()).summary).toMatchObject(stalled);
    expect(await syncs(world, a)).toBeLessThan(50);
    world.responder.exchange = exchange;
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
  });
});
