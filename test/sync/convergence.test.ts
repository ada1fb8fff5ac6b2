import fc from 'fast-check';
import { expect, test } from 'vitest';
import { dotOf } from '../../src/core/change.ts';
import { has } from '../../src/core/dot-set.ts';
import { type Fault, Node, World } from './world.ts';

const FAULTS: readonly Fault[] = ['none', 'none', 'request-lost', 'answer-lost', 'duplicated'];

type Step =
  | { do: 'put' | 'delete' | 'patch'; node: number; entity: number; value: number }
  | { do: 'sync'; node: number; fault: Fault }
  | { do: 'restart-node'; node: number }
  | { do: 'restart-cloud' }
  | { do: 'pass-time'; ms: number };

const node = fc.nat(2);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constantFrom('put', 'put', 'patch', 'delete'),
      node,
      entity: fc.nat(2),
      value: fc.nat(99),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('sync'), node, fault: fc.constantFrom(...FAULTS) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart-node'), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart-cloud') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass-time'), ms: fc.integer({ min: -5_000, max: 5_000 }) }) },
);

/** Runs a story, checks what must hold after every step, and returns how it ended. */
async function play(steps: readonly Step[], pageLimit: number | undefined) {
  const world = new World();
  world.pageLimit = pageLimit;
  const nodes = [new Node(world, 'a'), new Node(world, 'b', 50_000), new Node(world, 'c', -3_600_000)];
  /** By change id: who wrote it, and on which entity. */
  const acknowledged = new Map<string, { writer: Node; entity: string }>();

  for (const one of steps) {
    const actor = 'node' in one ? nodes[one.node] : undefined;
    if (one.do === 'restart-cloud') world.restartCloud();
    else if (one.do === 'pass-time') world.nowMs += one.ms;
    else if (actor === undefined) throw new Error('a step without a node');
    else if (one.do === 'restart-node') actor.restart();
    else if (one.do === 'sync') {
      actor.fault = one.fault;
      const cursor = actor.replica.meta.cursor;
      await actor.link.sync();
      actor.fault = 'none';
      expect(actor.replica.meta.cursor).toBeGreaterThanOrEqual(cursor);
      expect(actor.replica.meta.digestMismatches).toBe(0);
    } else if (one.do === 'put') {
      const id = `e${one.entity}`;
      acknowledged.set(actor.put(id, { value: one.value, by: actor.nodeId }), { writer: actor, entity: id });
      expect(actor.read(id)).toEqual({ value: one.value, by: actor.nodeId });
    } else if (actor.read(`e${one.entity}`) !== undefined) {
      const id = `e${one.entity}`;
      const content =
        one.do === 'delete'
          ? ({ kind: 'delete' } as const)
          : ({ kind: 'patch', operations: [{ op: 'set', path: 'value', value: one.value }] } as const);
      acknowledged.set(actor.write(id, content), { writer: actor, entity: id });
      expect(actor.read(id)?.['value']).toBe(one.do === 'delete' ? undefined : one.value);
      // Made and deleted before anybody heard of it: there is nothing that could be lost.
      const queued = [...actor.replica.queued()].filter(({ change }) => change.entityId === id);
      const last = Math.max(0, ...queued.map(({ change }) => dotOf(change).counter));
      for (const [of, { writer, entity }] of acknowledged) {
        if (writer === actor && entity === id && dotOf({ id: of }).counter > last) acknowledged.delete(of);
      }
    }
    for (const [id, { writer, entity }] of acknowledged) {
      // In the queue itself, or in a later change of the same record, which it went into.
      const { counter } = dotOf({ id });
      const isQueued = [...writer.replica.queued()].some(
        ({ change }) => change.entityId === entity && dotOf(change).counter >= counter,
      );
      const received = world.cloudStore.readNode(writer.nodeId)?.received;
      expect(isQueued || (received !== undefined && has(received, counter)), `${id} is lost`).toBe(true);
    }
  }

  // The links are healed, and nobody writes: two rounds bring everything everywhere.
  for (let round = 0; round < 2; round += 1) for (const one of nodes) await one.link.sync();
  return { world, nodes, acknowledged };
}

test('[I1] [I2] [I3] whatever is lost, sent twice or restarted, all replicas end as the cloud, and nothing is lost', {
  timeout: 120_000,
}, async () => {
  let conflicts = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }),
      fc.constantFrom(undefined, 1, 2),
      async (steps, pageLimit) => {
        const { world, nodes } = await play(steps, pageLimit);
        const cloud = Object.fromEntries(
          world.cloudStore
            .readAfter(0, 1000)
            .filter(({ data }) => data !== null)
            .map(({ entityId, data }) => [entityId, data]),
        );
        conflicts += world.sequencer.meta.conflicts;
        for (const one of nodes) {
          expect(one.replica.queueStats().total).toBe(0);
          expect(one.list()).toEqual(cloud);
          expect(one.replica.meta.cursor).toBe(world.sequencer.meta.seq);
        }
      },
    ),
    { numRuns: 400 },
  );
  expect(conflicts, 'the stories had conflicts').toBeGreaterThan(100);
});

test('[I3] the digest that the cloud keeps is that of what it holds', { timeout: 120_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40, size: 'max' }), async (steps) => {
      const { world, nodes } = await play(steps, undefined);
      const answer = nodes.map(({ replica }) => replica.handshakeRequest().digest);
      expect(new Set(answer)).toEqual(new Set([world.cloudDigest()]));
    }),
    { numRuns: 100 },
  );
});
