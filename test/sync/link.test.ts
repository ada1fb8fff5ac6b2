import { expect, test } from 'vitest';
import { parseStamp } from '../../src/core/hlc.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
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

test('[I11] the wait after failures in a row grows, and a success or the link’s return ends it', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const waitAfterFailure = async () => {
    a.fault = 'request-lost';
    expect((await a.link.sync()).summary.success).toBe(false);
    return (a.link.nextAttemptAtMs ?? 0) - world.nowMs;
  };
  expect(a.link.nextAttemptAtMs).toBeNull();
  // Half of what it may be at most, since the world's chance is always a half.
  for (const waitMs of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) expect(await waitAfterFailure()).toBe(waitMs);
  expect((await a.link.sync()).summary.success).toBe(true);
  expect(a.link.nextAttemptAtMs).toBeNull();
  expect(await waitAfterFailure()).toBe(500);
  expect(await waitAfterFailure()).toBe(1_000);
  for (const online of [false, true]) {
    a.link.setOnline(online);
    expect(a.link.nextAttemptAtMs).toBeNull();
  }
  expect(await waitAfterFailure()).toBe(500);
});

test('a write with a clock that is a year ahead does not win for ever: the cloud puts it at now, and says so', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', 365 * 24 * 3600_000);
  const honest = new Node(world, 'honest');
  // Before it could ask for the time.
  fast.put('x', { by: 'fast' });
  await fast.link.sync();
  const [result] = fast.exchanges.flatMap(({ answer }) => answer.results);
  expect(result).toMatchObject({ status: 'applied', stamp: expect.any(String) });
  expect(parseStamp(result?.stamp ?? '')).toMatchObject({ wallMs: world.nowMs, node: 'fast' });
  world.nowMs += 1;
  // The other has not seen it: the two are concurrent, and it is later.
  honest.put('x', { by: 'honest' });
  for (const node of [honest, fast]) await node.link.sync();
  expect(world.sequencer.meta.conflicts).toBe(1);
  for (const node of [honest, fast]) expect(node.list()).toEqual({ x: { by: 'honest' } });
  expect(fast.replica.meta.digestMismatches).toBe(0);
});

test('a stamp a little ahead, within a minute, is left as it is', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', LIMITS.maxClockDriftMs);
  fast.put('x', { by: 'fast' });
  await fast.link.sync();
  const [exchange] = fast.exchanges;
  expect(exchange?.answer.results).toMatchObject([{ status: 'applied' }]);
  expect(exchange?.answer.results[0]).not.toHaveProperty('stamp');
  expect(world.cloudStore.readAfter(0, 1)[0]?.stamp).toBe(exchange?.batch.changes[0]?.stamp);
});
