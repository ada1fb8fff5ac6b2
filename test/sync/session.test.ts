import { expect, test } from 'vitest';
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

test('[I11] [S18] a node is told what the cloud has of it, however many counters are missing in between', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const extra = Array.from({ length: LIMITS.intervals + 1 }, (_, n) => [2 * n + 2, 2 * n + 2] as const);
  world.cloudStore.writeNode({ ...freshNode(a.nodeId), received: { upTo: 0, extra } });
  a.put('x', { n: 1 });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1 });
  expect(a.replica.vectorClock()).toMatchObject({ a: 2 * extra.length + 1 });
});
