import { describe, expect, test } from 'vitest';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { freshNode } from '../../src/sync/node-record.ts';
import { Node, World } from './world.ts';

test('a session ends by time, and not before', () => {
  const world = new World();
  const { nodeId } = new Node(world, 'a');
  const caller = { nodeId, relay: false };
  const { sessionId, expiresAt } = world.responder.connect({ nodeId, protocol: 1 });
  const handshake = () => world.responder.handshake(sessionId, { vectorClock: {}, cursor: 0, epoch: null }, caller);
  const exchange = (batchId: string) => {
    const batch = { batchId, sourceNodeId: nodeId, targetNodeId: 'cloud', cursor: 0, changes: [] } as const;
    return world.responder.exchange(sessionId, { ...batch, changes: [] }, caller);
  };
  expect(expiresAt).toBe(world.nowMs + LIMITS.sessionMs);
  world.nowMs = expiresAt - 1;
  expect(handshake().mode).toBe('snapshot');
  expect(exchange('b1').more).toBe(false);
  world.nowMs = expiresAt;
  const isOver = expect.objectContaining({ code: 'session_expired' });
  expect(handshake).toThrow(isOver);
  expect(() => exchange('b2')).toThrow(isOver);
});

test('[I1] [I11] a node whose session has ended, and that doesn’t know it, renews it and loses nothing of the batch', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  await a.link.sync();
  const { session } = a.replica.meta;
  if (session === null) throw new Error('there is no session');
  world.nowMs += LIMITS.sessionMs;
  a.replica.saveSession({ ...session, expiresAtMs: world.nowMs + LIMITS.sessionMs });
  a.put('y', { n: 2 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
  // The new session's first exchange takes it.
  expect(a.exchanges.map(({ batch }) => batch.changes.map(({ id }) => id))).toEqual([['a:1'], ['a:2']]);
  expect(a.replica.meta.session?.id).not.toBe(session.id);
  expect(world.cloudStore.readAfter(0, 10).map(({ entityId }) => entityId)).toEqual(['x', 'y']);
  expect(a.replica.queueStats().total).toBe(0);
  expect(a.link.nextAttemptAtMs).toBeNull();
});

describe('what two sides can', () => {
  const BIG = 'text that is long enough for a field to be worth sending by itself';
  const increment = { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] } as const;

  /** Two nodes that have the same record, the first of a cloud that can no more than `capabilities`. */
  async function pair(capabilities?: readonly string[]) {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    const connect = world.responder.connect.bind(world.responder);
    world.responder.connect = (request) => {
      const isLess = capabilities !== undefined && request.nodeId === a.nodeId;
      return connect(isLess ? { ...request, capabilities: [...capabilities] } : request);
    };
    a.put('x', { n: 1, BIG });
    await a.link.sync();
    await b.link.sync();
    return { world, a, b };
  }

  test('[S41] is kept with the session', async () => {
    const { a } = await pair();
    a.restart();
    const capabilities = ['delta-sync', 'compression', 'conflict-resolution', 'causal-order'];
    expect(a.replica.meta.session).toMatchObject({ protocol: 1, capabilities });
    const less = await pair(['causal-order']);
    expect(less.a.replica.meta.session?.capabilities).toEqual(['causal-order']);
  });

  test('[S41] changes go and come as operations, where both can', async () => {
    const { a, b } = await pair();
    a.write('x', increment);
    await a.link.sync();
    expect(a.exchanges.at(-1)?.batch.changes).toMatchObject([{ operations: increment.operations }]);
    expect(a.exchanges.at(-1)?.batch.changes[0]).not.toHaveProperty('data');
    b.write('x', increment);
    await b.link.sync();
    await a.link.sync();
    expect(a.exchanges.at(-1)?.answer.changes).toMatchObject([{ operations: [{ op: 'set', path: 'n', value: 3 }] }]);
    expect(a.read('x')).toEqual({ n: 3, BIG });
  });

  test('[S41] and whole, where one can not', async () => {
    const { a, b } = await pair(['compression', 'conflict-resolution', 'causal-order']);
    a.write('x', increment);
    await a.link.sync();
    expect(a.exchanges.at(-1)?.batch.changes).toMatchObject([{ data: { n: 2, BIG } }]);
    b.write('x', increment);
    await b.link.sync();
    await a.link.sync();
    expect(a.exchanges.at(-1)?.answer.changes).toMatchObject([{ data: { n: 3, BIG } }]);
    expect(a.read('x')).toEqual({ n: 3, BIG });
    expect([a.replica.meta.digestMismatches, a.replica.queueStats().total]).toEqual([0, 0]);
  });

  test.each([
    [['delta-sync'], false],
    [['delta-sync', 'compression'], true],
  ])('[S31] [S41] of %j, batches are compressed: %s', async (capabilities, wanted) => {
    const { a } = await pair(capabilities);
    expect(a.compressed).toEqual([wanted]);
  });

  test('[S23] [S41] a cloud that answers with another version than one that is spoken here is no cloud for this node', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    const connect = world.responder.connect.bind(world.responder);
    world.responder.connect = (request) => ({ ...connect(request), protocol: 2 });
    a.put('x', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: false, error: { code: 'protocol_unsupported' } });
    expect([a.link.paused, a.link.state]).toEqual(['needs-upgrade', 'offline']);
    expect(a.replica.queueStats()).toMatchObject({ pending: 1, dead: 0 });
  });
});

test('[S41] a batch has no more changes than the cloud takes, whatever the plan', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const connect = world.responder.connect.bind(world.responder);
  world.responder.connect = (request) => ({ ...connect(request), limits: { maxBatchChanges: 2, maxBatchBytes: 900 } });
  for (let n = 0; n < 5; n += 1) a.put(`e${n}`, { n });
  await a.link.sync();
  a.put('long', { text: 'x'.repeat(500) });
  a.put('longer', { text: 'x'.repeat(500) });
  await a.link.sync();
  expect(a.exchanges.map(({ batch }) => batch.changes.length)).toEqual([2, 2, 1, 1, 1]);
});

test('[S41] a session that ends at once again is renewed twice, and then a failure', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const calls: string[] = [];
  a.beforeCall = (call) => {
    calls.push(call);
    if (call === 'exchange') throw new SyncError('session_expired', 'connect again');
  };
  a.put('x', { n: 1 });
  expect((await a.link.sync()).summary).toMatchObject({ success: false, error: { code: 'session_expired' } });
  const once = ['connect', 'handshake', 'exchange'];
  expect(calls).toEqual([...once, ...once, ...once]);
  expect(a.link.nextAttemptAtMs).toBeGreaterThan(world.nowMs);
  expect(a.replica.queueStats().pending).toBe(1);
});

test('[S41] a node that knows that its session ends, within an exchange, connects before it sends', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const calls: string[] = [];
  a.beforeCall = (call) => calls.push(call);
  await a.link.sync();
  const before = a.replica.meta.session;
  world.nowMs += LIMITS.sessionMs - LIMITS.exchangeTimeoutMs - 1;
  await a.link.sync();
  expect(a.replica.meta.session).toEqual(before);
  world.nowMs += 1;
  await a.link.sync();
  expect(calls).toEqual(['connect', 'handshake', 'exchange', 'exchange', 'connect', 'handshake', 'exchange']);
});

test('[I11] [S18] a node is told what the cloud has of it, however many counters are missing in between', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const extra = Array.from({ length: LIMITS.intervals + 1 }, (_, n) => [2 * n + 2, 2 * n + 2] as const);
  world.cloudStore.writeNode({ ...freshNode(a.nodeId), received: { upTo: 0, extra } });
  a.put('x', { n: 1 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
  expect(a.replica.vectorClock()).toMatchObject({ a: 2 * extra.length + 1 });
});
