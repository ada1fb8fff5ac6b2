import { describe, expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const keyOf = (id: string) => entityKey({ entityType: TYPE, entityId: entityId(id) });

test('[I8] [S17] of a batch that is refused for its last change nothing has happened, in the store and in memory', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  await a.link.sync();
  const { seq } = world.sequencer.meta;
  const digest = world.cloudDigest();
  const node = world.cloudStore.readNode(a.nodeId);
  const change = (counter: number, n: number) => ({
    id: `a:${counter}`,
    nodeId: a.nodeId,
    entityType: TYPE,
    entityId: `e${counter}`,
    operation: 'create',
    data: { n },
    base: { cloud: seq },
    stamp: '0000000000ff-0000-a',
    timestamp: 1,
  });
  const { sessionId } = world.responder.connect({ nodeId: a.nodeId, protocol: 1 });
  const sent = { batchId: 'b', sourceNodeId: a.nodeId, targetNodeId: 'cloud', cursor: seq } as const;
  const caller = { nodeId: a.nodeId, relay: false };
  // The second one has the dot of another change: the node is a copy.
  const voids: [number, number][] = [[5, 6]];
  const forked = { ...sent, changes: [change(2, 2), { ...change(1, 9), entityId: 'x' }], void: voids };
  expect(() => world.responder.exchange(sessionId, forked, caller)).toThrow(
    expect.objectContaining({ code: 'node_forked' }),
  );
  const unchanged = () => {
    expect(world.cloudStore.readEntity(keyOf('e2'))).toBeUndefined();
    expect(world.cloudStore.readEntity(keyOf('x'))?.data).toEqual({ n: 1 });
    expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual(node?.received);
    expect(world.sequencer.meta.seq).toBe(seq);
    expect(world.cloudDigest()).toBe(digest);
  };
  unchanged();
  world.restartCloud();
  unchanged();
});

/** Fails once: at the end of a transaction, when the records and the queue are written. */
class FailingStore extends MemoryReplicaStore {
  fails: 'writeMeta' | 'clearStaged' | undefined;

  override writeMeta(meta: Parameters<MemoryReplicaStore['writeMeta']>[0]): void {
    this.#pass('writeMeta');
    super.writeMeta(meta);
  }

  override clearStaged(): void {
    super.clearStaged();
    this.#pass('clearStaged');
  }

  #pass(method: NonNullable<FailingStore['fails']>): void {
    if (this.fails !== method) return;
    this.fails = undefined;
    throw new Error('the disk is full');
  }
}

describe('[I4] [I8] a replica whose store fails on the way to the head is as it was, in the store and in memory', () => {
  for (const method of ['writeMeta', 'clearStaged'] as const) {
    test(`at ${method}; and the next sync does all of it`, async () => {
      const world = new World();
      const a = new Node(world, 'a');
      const b = new Node(world, 'b');
      const store = new FailingStore();
      a.store = store;
      a.restart();
      a.put('x', { n: 1 });
      await a.link.sync();
      for (const id of ['p', 'q', 'r']) b.put(id, { id });
      await b.link.sync();
      a.put('y', { n: 2 });
      const before = { meta: a.replica.meta, list: a.list(), queue: [...a.replica.queued()] };
      world.pageLimit = 2;

      store.fails = method;
      expect((await a.link.sync()).summary).toMatchObject({ success: false, error: { detail: 'the disk is full' } });
      for (const restarted of [false, true]) {
        if (restarted) a.restart();
        expect(a.replica.meta).toEqual(before.meta);
        expect(a.list()).toEqual(before.list);
        expect([...a.replica.queued()]).toEqual(before.queue);
        for (const id of ['p', 'q', 'r', 'y']) expect(store.readRecord(keyOf(id))).toBeUndefined();
      }

      expect((await a.link.sync()).summary.success).toBe(true);
      expect(a.list()).toEqual({ x: { n: 1 }, y: { n: 2 }, p: { id: 'p' }, q: { id: 'q' }, r: { id: 'r' } });
      expect(a.replica.queueStats().total).toBe(0);
      expect(a.replica.meta.digestMismatches).toBe(0);
    });
  }
});
