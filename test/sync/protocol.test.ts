import { describe, expect, test } from 'vitest';
import { formatStamp } from '../../src/core/hlc.ts';
import { entityKey, toNodeId } from '../../src/core/ids.ts';
import type { Policy } from '../../src/core/policy.ts';
import { batch } from '../../src/protocol/messages.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { backoffMs } from '../../src/sync/backoff.ts';
import { type LinkEvent, type LinkState, step } from '../../src/sync/machine.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

describe('a node without its storage', () => {
  test('[I2] [S18] goes on behind the counters of its former life, also with what it wrote before it asked', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { life: 1 });
    a.put('y', { life: 1 });
    await a.link.sync();
    a.restartEmpty();
    a.put('z', { life: 2 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
    expect(a.list()).toEqual({ x: { life: 1 }, y: { life: 1 }, z: { life: 2 } });
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 3, extra: [] });
  });

  /** A node that has asked where its counters go on, and has not got yet what its former life wrote: `x`, as `a:1`. */
  async function hasAsked() {
    const world = new World({ policy: { onCreate: 'lww' } });
    const a = new Node(world, 'a');
    a.put('x', { life: 1 });
    await a.link.sync();
    a.restartEmpty();
    a.fault = 'request-lost';
    await a.link.sync();
    return { world, a };
  }

  test('[I6] [S18] does not cover what its former life wrote before it has pulled that', async () => {
    const { a } = await hasAsked();
    expect(a.replica.meta.counter).toBe(1);
    expect(a.replica.covers({ clock: { a: 1 } })).toBe(false);
    await a.link.sync();
    expect(a.replica.covers({ clock: { a: 1 } })).toBe(true);
    expect(a.read('x')).toEqual({ life: 1 });
  });

  test('[I1] [S18] what it writes before it has pulled that is in conflict with it', async () => {
    const { world, a } = await hasAsked();
    world.nowMs += 1;
    expect(a.put('x', { life: 2 })).toBe('a:2');
    await a.link.sync();
    expect(a.list()).toEqual({ x: { life: 2 } });
    expect(world.cloudStore.listConflicts({ status: 'all', after: '', limit: 9 })).toMatchObject([
      { type: 'create-create', local: { version: 'a:1', data: { life: 1 } }, remote: { version: 'a:2' } },
    ]);
  });
});

describe('a node whose storage went back', () => {
  const increment = { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] } as const;

  /** A node that is about to go back to what it has now. @returns how it does. */
  async function restorable(policy: Partial<Policy> = {}) {
    const world = new World({ policy });
    const a = new Node(world, 'a');
    a.put('x', { n: 1, text: 'so long that a field of it is worth sending by itself' });
    await a.link.sync();
    const restore = () => {
      const kept = copyOf(a.store);
      return () => {
        a.store = kept;
        a.restart();
      };
    };
    const atCloud = (id: string) =>
      world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId(id) }))?.data;
    const dead = () => a.replica.listQueue('dead', 0, 10).items.map(({ error }) => error?.code);
    return { world, a, restore, atCloud, dead };
  }

  test.each([
    ['little, and is not restarted', 5, false, true],
    ['little, and is restarted', 5, true, true],
    ['much, and is not restarted', 1_100, false, true],
    ['what went into other changes', 1_100, false, false],
  ])('[I1] [S17] goes on behind what it had sent, which was %s', async (_, count, isRestarted, isEach) => {
    const { world, a, restore, atCloud } = await restorable();
    const goBack = restore();
    for (let n = 0; n < count; n += 1) a.put(isEach ? `y${n}` : 'y', { n });
    await a.link.sync();
    goBack();
    const ids = ['p', 'q', 'r', 's', 't'];
    for (const id of ids) a.put(id, { v: 1 });
    if (isRestarted) a.restart();
    const seen: unknown[] = [];
    a.beforeExchange = async () => {
      seen.push(...ids.map((id) => a.read(id)));
    };
    for (let n = 0; n < 2; n += 1) {
      expect((await a.link.sync()).summary).toMatchObject({ success: true });
      seen.push(...ids.map((id) => a.read(id)));
    }
    expect(seen).toEqual(seen.map(() => ({ v: 1 })));
    for (const id of ids) expect(atCloud(id)).toEqual({ v: 1 });
    expect(a.replica.queueStats().total).toBe(0);
    expect(world.cloudStore.readNode(a.nodeId)?.received.extra).toEqual([]);
    expect(a.replica.meta).toMatchObject({ digestMismatches: 0, ownFrom: undefined });
  });

  test('[I6] [S17] and that asks before it writes has what it writes', async () => {
    const { a, restore, atCloud } = await restorable();
    const goBack = restore();
    for (let n = 0; n < 3; n += 1) a.put(`y${n}`, { n });
    await a.link.sync();
    goBack();
    await a.link.sync();
    a.put('p', { v: 1 });
    expect(a.read('p')).toEqual({ v: 1 });
    await a.link.sync();
    expect([a.read('p'), atCloud('p')]).toEqual([{ v: 1 }, { v: 1 }]);
  });

  test('[I2] [S17] does nothing twice that waited then and was sent since', async () => {
    const { a, restore, atCloud, dead } = await restorable({ coalesce: false });
    a.write('x', increment);
    const goBack = restore();
    await a.link.sync();
    a.put('y', { n: 1 });
    await a.link.sync();
    goBack();
    a.write('x', increment);
    for (let n = 0; n < 2; n += 1) await a.link.sync();
    expect([atCloud('x'), a.read('x')]).toMatchObject([{ n: 3 }, { n: 3 }]);
    expect(dead()).toEqual([]);
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I1] [I2] [S17] leaves to people what may be there, and may not', async () => {
    const { a, restore, atCloud, dead } = await restorable();
    a.put('w', { n: 0 });
    a.restart();
    a.put('z', { n: 0 });
    a.write('x', increment);
    a.replica.saveSession(null);
    const goBack = restore();
    // It goes into another one, and its counter is void.
    a.write('x', increment);
    a.put('z', { n: 1 });
    await a.link.sync();
    goBack();
    // Here too, and into one that the cloud knows nothing of.
    for (let n = 0; n < 5; n += 1) a.write('x', increment);
    await a.link.sync();
    expect(atCloud('x')).toMatchObject({ n: 3 });
    expect(dead()).toEqual(['outcome_unknown', 'outcome_unknown']);
    expect(a.read('x')).toMatchObject({ n: 3 });
    for (const { change } of a.replica.listQueue('dead', 0, 10).items) a.replica.retryDead(change.id);
    await a.link.sync();
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('[I1] [S17] has not seen what it had written since', async () => {
    const { world, a, restore } = await restorable();
    const goBack = restore();
    for (let n = 0; n < 3; n += 1) a.put('y', { n });
    await a.link.sync();
    goBack();
    world.nowMs += 1;
    a.put('y', { after: true });
    await a.link.sync();
    expect(world.sequencer.meta.conflicts).toBe(1);
    expect(a.read('y')).toEqual({ n: 2, after: true });
  });

  test('[S17] [S20] refuses a strong write under a counter that was used, and the next one is done', async () => {
    const { a, restore, atCloud } = await restorable();
    const goBack = restore();
    for (let n = 0; n < 3; n += 1) a.put(`y${n}`, { n });
    await a.link.sync();
    goBack();
    const write = { entityType: TYPE, entityId: entityId('p'), kind: 'put', data: { v: 1 } } as const;
    await expect(a.access.writeStrong(write, {}, 1_000)).rejects.toMatchObject({ code: 'node_forked' });
    await expect(a.access.writeStrong(write, {}, 1_000)).resolves.toMatchObject({ created: true });
    expect(atCloud('p')).toEqual({ v: 1 });
  });

  test('[I8] [S17] gives a transaction new counters as a whole', async () => {
    const { a, restore, atCloud } = await restorable();
    const goBack = restore();
    for (let n = 0; n < 9; n += 1) a.put(`y${n}`, { n });
    await a.link.sync();
    goBack();
    const write = (id: string) => ({ entityType: TYPE, entityId: entityId(id), kind: 'put', data: { v: 1 } }) as const;
    a.replica.transact(['p', 'q'].map(write), {});
    a.restart();
    await a.link.sync();
    expect([atCloud('p'), atCloud('q')]).toEqual([{ v: 1 }, { v: 1 }]);
    const [sent] = a.exchanges.at(-1)?.batch.changes ?? [];
    expect(sent).toMatchObject({ id: 'a:11', transaction: 'a:11-12' });
  });

  test('[I9] [S17] again and again is a copy that is alive: it is told so, and keeps its queue', async () => {
    const { world, a, atCloud } = await restorable();
    const copy = new Node(world, 'a');
    copy.store = copyOf(a.store);
    copy.restart();
    a.put('y', { by: 'the one' });
    await a.link.sync();
    copy.put('z', { by: 'the other' });
    expect((await copy.link.sync()).summary.error).toBeUndefined();
    expect(atCloud('z')).toEqual({ by: 'the other' });
    for (const id of ['u', 'v']) a.put(id, { by: 'the one' });
    expect((await a.link.sync()).summary.error).toBeUndefined();
    copy.put('w', { by: 'the other' });
    for (let n = 0; n < 3; n += 1) {
      expect((await copy.link.sync()).summary.error?.code).toBe('node_forked');
      world.nowMs += 30_000;
    }
    expect(copy.replica.queueStats()).toMatchObject({ total: 1, pending: 1 });
    expect(copy.read('w')).toEqual({ by: 'the other' });
  });
});

function copyOf(store: MemoryReplicaStore): MemoryReplicaStore {
  const copy = new MemoryReplicaStore();
  const meta = store.readMeta();
  if (meta !== undefined) copy.writeMeta(meta);
  for (const key of store.recordKeys()) {
    const record = store.readRecord(key);
    if (record !== undefined) copy.writeRecord(record);
  }
  for (const queued of store.readQueue(0)) copy.writeQueued(queued);
  return copy;
}

test('[I11] a change that the cloud refuses is dead at its node, and those behind it go on', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const caller = { nodeId: a.nodeId, relay: false, writeTypes: ['note'] };
  a.put('x', { n: 1 });
  await a.link.sync();
  const { sessionId } = world.responder.connect({ nodeId: a.nodeId, protocol: 1 });
  const change = (counter: number, entityType: string) => ({
    id: `a:${counter}`,
    nodeId: a.nodeId,
    entityType,
    entityId: 'x',
    operation: 'update',
    data: { n: counter },
    base: { cloud: 1, a: counter - 1 },
    stamp: `0000000000ff-0000-a`,
    timestamp: 1,
  });
  const answer = world.responder.exchange(
    sessionId,
    {
      batchId: 'b1',
      sourceNodeId: a.nodeId,
      targetNodeId: 'cloud',
      cursor: 1,
      changes: [change(2, 'secret'), { ...change(3, 'note'), entityId: 'not/a/name' }, change(4, 'note')],
    },
    caller,
  );
  expect(answer.results).toMatchObject([
    { id: 'a:2', status: 'rejected', code: 'forbidden' },
    { id: 'a:3', status: 'rejected', code: 'bad_name' },
    { id: 'a:4', status: 'applied', seq: 2 },
  ]);
});

describe('a change that absorbed earlier ones of its node', () => {
  const nodeId = made(toNodeId('a'));
  const caller = { nodeId, relay: false };

  function session() {
    const world = new World();
    const { sessionId } = world.responder.connect({ nodeId, protocol: 1 });
    const received = () => world.responder.handshake(sessionId, { vectorClock: {}, cursor: 0 }, caller).received;
    const send = (batchId: string, ...changes: object[]) => {
      const header = { batchId, sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0 };
      return world.responder.exchange(sessionId, batch.parse({ ...header, changes }), caller).results;
    };
    return { world, received, send };
  }

  const change = (counter: number, covers?: [number, number][]) => ({
    id: `a:${counter}`,
    nodeId,
    entityType: TYPE,
    entityId: 'x',
    operation: 'update',
    data: { n: counter },
    base: {},
    covers,
    stamp: formatStamp({ wallMs: 1_000 - counter, counter: 0, node: nodeId }),
    timestamp: 1,
  });

  test('[I2] stands for them: they are received, and do nothing when they come late', () => {
    const { world, received, send } = session();
    const absorbing = change(6, [
      [1, 2],
      [4, 4],
    ]);
    expect(send('b1', absorbing)).toMatchObject([{ id: 'a:6', status: 'applied', seq: 1 }]);
    expect(received()).toEqual({
      upTo: 2,
      extra: [
        [4, 4],
        [6, 6],
      ],
    });
    const late = [change(1), change(2), change(4), change(6)];
    expect(send('b2', ...late).map(({ status }) => status)).toEqual(late.map(() => 'duplicate'));
    expect(world.sequencer.meta.seq).toBe(1);
    expect(send('b3', { ...change(3), entityId: 'y' })).toMatchObject([{ status: 'applied', seq: 2 }]);
    expect(received()).toEqual({ upTo: 4, extra: [[6, 6]] });
  });

  test('is no conflict with them, whatever its stamp', () => {
    const { world, send } = session();
    send('b1', change(1));
    expect(send('b2', change(3, [[1, 2]]))).toMatchObject([{ id: 'a:3', status: 'applied', seq: 2 }]);
    expect(send('b3', change(5, [[4, 4]]))).toMatchObject([{ status: 'superseded' }]);
    expect(world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 })).toHaveLength(1);
  });
});

test('[S16] a change that arrives late under a counter that was declared void is a duplicate', () => {
  const world = new World();
  const nodeId = made(toNodeId('a'));
  const caller = { nodeId, relay: false };
  const { sessionId } = world.responder.connect({ nodeId, protocol: 1 });
  const header = { sourceNodeId: 'a', targetNodeId: 'cloud', cursor: 0 };
  const late = {
    id: 'a:1',
    nodeId,
    entityType: TYPE,
    entityId: 'x',
    operation: 'create',
    data: { n: 1 },
    base: {},
    stamp: formatStamp({ wallMs: 1_000, counter: 0, node: nodeId }),
    timestamp: 1,
  };
  const send = (more: object) => world.responder.exchange(sessionId, batch.parse({ ...header, ...more }), caller);
  send({ batchId: 'b1', changes: [], void: [[1, 1]] });
  expect(send({ batchId: 'b2', changes: [late] }).results).toMatchObject([{ id: 'a:1', status: 'duplicate' }]);
  expect(world.sequencer.meta.seq).toBe(0);
  const next = { ...late, id: 'a:2' };
  expect(send({ batchId: 'b3', changes: [next] }).results).toMatchObject([{ id: 'a:2', status: 'applied', seq: 1 }]);
});

test('[I4] pages become visible together, at the head', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const b = new Node(world, 'b');
  for (let index = 0; index < 7; index += 1) a.put(`e${index}`, { index });
  await a.link.sync();
  world.pageLimit = 2;
  const session = world.responder.connect({ nodeId: b.nodeId, protocol: 1 });
  b.replica.adopt(
    world.responder.handshake(session.sessionId, b.replica.handshakeRequest(), { nodeId: b.nodeId, relay: false }),
    world.nowMs,
    world.nowMs,
  );
  for (let pages = 1; ; pages += 1) {
    const batch = b.replica.nextBatch(`b${pages}`, { least: 'normal', maxChanges: 3, maxBytes: 1e6 }, []);
    const answer = world.responder.exchange(
      session.sessionId,
      { ...batch, limit: 2, changes: [], void: undefined },
      { nodeId: b.nodeId, relay: false },
    );
    b.replica.confirm(batch, answer, world.nowMs);
    // Half of the pages survive a restart, and still nobody sees them.
    if (pages === 2) b.restart();
    if (!answer.more) break;
    expect(b.list()).toEqual({});
    expect(b.replica.meta.cursor).toBe(0);
  }
  expect(Object.keys(b.list())).toHaveLength(7);
  expect(b.replica.meta.cursor).toBe(7);
});

test('[I4] a change that is applied while older pages are still staged is not undone by them', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  world.pageLimit = 1;
  a.put('x', { n: 1 });
  a.put('y', { n: 1 });
  a.put('x', { n: 2 });
  a.fault = 'answer-lost';
  await a.link.sync();
  a.put('y', { n: 2 });
  await a.link.sync();
  expect(a.list()).toEqual({ x: { n: 2 }, y: { n: 2 } });
  expect(a.replica.meta.digestMismatches).toBe(0);
});

test('[I4] what was applied to a version that its writer never got the answer of is sent back to it', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  a.fault = 'answer-lost';
  await a.link.sync();
  a.write('x', { kind: 'delete' });
  a.put('x', { n: 2 });
  a.put('x', { n: 3 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, downloaded: 1 });
  expect(a.list()).toEqual({ x: { n: 3 } });
  expect(a.replica.meta.digestMismatches).toBe(0);
});

test('[I3] a state that is not the cloud’s is noticed at the next exchange, and mended', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  a.put('y', { n: 1 });
  await a.link.sync();
  const record = [...a.store.recordKeys()][0];
  if (record === undefined) throw new Error('there is no record');
  const { digest } = a.replica.meta;
  a.store.writeMeta({ ...a.replica.meta, digest: { ...digest, note: 'f'.repeat(32) } });
  a.store.removeRecord(record);
  a.restart();
  expect((await a.link.sync()).summary.success).toBe(true);
  expect(a.replica.meta.digestMismatches).toBe(1);
  expect(a.list()).toEqual({ x: { n: 1 }, y: { n: 1 } });
  expect(a.replica.handshakeRequest().digest).toBe(world.cloudDigest());
});

describe('the machine', () => {
  const run = (...events: LinkEvent[]) => events.reduce<LinkState>(step, 'idle');

  test('goes through a sync, with or without conflicts, and back to idle', () => {
    const begin = ['sync_trigger', 'connected', 'handshake_complete'] as const;
    expect(run(...begin)).toBe('syncing');
    expect(run(...begin, 'no_conflicts', 'sync_complete')).toBe('idle');
    expect(run(...begin, 'conflicts_detected')).toBe('resolving');
    expect(run(...begin, 'conflicts_detected', 'conflicts_resolved', 'sync_failed')).toBe('idle');
  });

  test('is offline wherever the connection is lost, and queues there', () => {
    expect(run('sync_trigger', 'connection_failed')).toBe('offline');
    expect(run('sync_trigger', 'connected', 'connection_lost', 'local_change')).toBe('queuing');
    expect(run('sync_trigger', 'connection_failed', 'local_change', 'change_queued', 'retry')).toBe('connecting');
  });

  const STATES: readonly LinkState[] = [
    ...(['idle', 'connecting', 'handshake', 'syncing', 'resolving', 'finalizing', 'offline', 'queuing'] as const),
  ];
  /** `design.md`, section 7, row by row: all that moves anything. */
  const MOVES: readonly (readonly [from: LinkState, event: LinkEvent, to: LinkState])[] = [
    ['idle', 'sync_trigger', 'connecting'],
    ['connecting', 'connected', 'handshake'],
    ['connecting', 'connection_failed', 'offline'],
    ['handshake', 'handshake_complete', 'syncing'],
    ['handshake', 'handshake_failed', 'idle'],
    ['syncing', 'conflicts_detected', 'resolving'],
    ['syncing', 'no_conflicts', 'finalizing'],
    ['resolving', 'conflicts_resolved', 'finalizing'],
    ['finalizing', 'sync_complete', 'idle'],
    ['finalizing', 'sync_failed', 'idle'],
    ['handshake', 'connection_lost', 'offline'],
    ['syncing', 'connection_lost', 'offline'],
    ['resolving', 'connection_lost', 'offline'],
    ['finalizing', 'connection_lost', 'offline'],
    ['offline', 'retry', 'connecting'],
    ['offline', 'local_change', 'queuing'],
    ['queuing', 'change_queued', 'offline'],
  ];

  test.each(STATES)('[S33] goes from %s where the table says, and nowhere by any other event', (from) => {
    for (const event of new Set(MOVES.map(([, name]) => name))) {
      const move = MOVES.find((other) => other[0] === from && other[1] === event);
      expect(step(from, event), `${from}, ${event}`).toBe(move?.[2] ?? from);
    }
  });

  test('[S33] knows no state and no event that the table does not name', () => {
    expect(new Set(MOVES.flatMap(([from, , to]) => [from, to]))).toEqual(new Set(STATES));
    const events: Record<LinkEvent, true> = {
      sync_trigger: true,
      connected: true,
      connection_failed: true,
      handshake_complete: true,
      handshake_failed: true,
      conflicts_detected: true,
      no_conflicts: true,
      conflicts_resolved: true,
      sync_complete: true,
      sync_failed: true,
      connection_lost: true,
      retry: true,
      local_change: true,
      change_queued: true,
    };
    expect(new Set(MOVES.map(([, event]) => event))).toEqual(new Set(Object.keys(events)));
  });
});

test('the wait after failures doubles from one second to thirty, with full jitter', () => {
  expect([1, 2, 3, 5, 6, 7, 1_000].map((failures) => backoffMs(failures, 0.999_999))).toEqual([
    999, 1_999, 3_999, 15_999, 29_999, 29_999, 29_999,
  ]);
  expect(backoffMs(9, 0)).toBe(0);
});
