import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type EntityType, entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { policyFor } from '../../src/core/policy.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { Witness } from './witness.ts';
import { entityId, entityType, type Fault, Node, World } from './world.ts';

const POLICIES = {
  merged: { conflict: 'merge', coalesce: false },
  latest: { conflict: 'lww', coalesce: false },
  latestOfMany: { conflict: 'lww', coalesce: true },
} as const;
const TYPES = Object.keys(POLICIES).map(entityType);

interface Faults {
  readonly connect: Fault;
  readonly handshake: Fault;
  readonly exchange: Fault;
}
/** Those of two writers of the same `value` without a mark may agree. */
interface WriteStep {
  readonly do: 'put' | 'patch' | 'delete';
  readonly node: number;
  readonly type: EntityType;
  readonly entity: number;
  readonly value: number;
  readonly isMarked: boolean;
  /** Set: the write is strong, and this happens on the way. */
  readonly strong: Faults | undefined;
}
type Step =
  | WriteStep
  | { do: 'sync'; node: number; faults: Faults }
  | { do: 'end-session'; node: number }
  | { do: 'restart-node'; node: number }
  | { do: 'restart-cloud' }
  | { do: 'pass-time'; ms: number };

const node = fc.nat(2);
const fault = fc.constantFrom<Fault>('none', 'none', 'none', 'request-lost', 'answer-lost', 'duplicated');
const faults = fc.record({ connect: fault, handshake: fault, exchange: fault });
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 7,
    arbitrary: fc.record({
      do: fc.constantFrom('put', 'put', 'patch', 'delete'),
      node,
      type: fc.constantFrom(...TYPES),
      entity: fc.nat(1),
      value: fc.nat(9),
      isMarked: fc.boolean(),
      strong: fc.option(faults, { freq: 3, nil: undefined }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('sync'), node, faults }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('end-session'), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart-node'), node }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart-cloud') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('pass-time'), ms: fc.integer({ min: -5_000, max: 5_000 }) }) },
);

async function withFaults<T>(
  actor: Node,
  { connect, handshake, exchange }: Faults,
  body: () => Promise<T>,
): Promise<T> {
  Object.assign(actor, { connectFault: connect, handshakeFault: handshake, fault: exchange });
  try {
    return await body();
  } finally {
    Object.assign(actor, { connectFault: 'none', handshakeFault: 'none', fault: 'none' });
  }
}

/** A story under way. */
class Play {
  readonly world = new World({ types: POLICIES });
  readonly nodes: readonly Node[];
  readonly #witness = new Witness(this.world);
  #marks = 0;

  constructor(pageLimit: number | undefined) {
    this.world.pageLimit = pageLimit;
    const { world } = this;
    this.nodes = [new Node(world, 'a'), new Node(world, 'b', 50_000), new Node(world, 'c', -3_600_000)];
  }

  async take(one: Step): Promise<void> {
    const { world } = this;
    if (one.do === 'restart-cloud') world.restartCloud();
    else if (one.do === 'pass-time') world.nowMs += one.ms;
    else {
      const actor = this.nodes[one.node];
      if (actor === undefined) throw new Error('a step without a node');
      const { cursor } = actor.replica.meta;
      if (one.do === 'restart-node') actor.restart();
      else if (one.do === 'end-session') actor.replica.saveSession(null);
      else if (one.do === 'sync') await withFaults(actor, one.faults, () => actor.link.sync());
      else if (one.strong !== undefined) await this.#writeStrong(actor, one, one.strong);
      else this.#write(actor, one);
      expect(actor.replica.meta.cursor).toBeGreaterThanOrEqual(cursor);
      expect(actor.replica.meta.digestMismatches).toBe(0);
      expect(actor.errors).toEqual([]);
    }
    this.#witness.expectNothingLost();
  }

  /** The links are healed, and nobody writes: two rounds bring everything everywhere. */
  async end(): Promise<void> {
    for (let round = 0; round < 2; round += 1) for (const one of this.nodes) await one.link.sync();
    this.#witness.expectAllRecorded();
    expect(this.world.waits.size).toBe(0);
  }

  #write(actor: Node, one: WriteStep): void {
    const id = `e${one.entity}`;
    if (one.do !== 'put' && actor.read(id, one.type) === undefined) return;
    const { content, mark, data } = this.#content(actor, one);
    const { cursor } = actor.replica.meta;
    const changeId = actor.write(id, content, one.type);
    const { coalesce: mayCoalesce } = policyFor(this.world.policies, one.type);
    const key = entityKey({ entityType: one.type, entityId: entityId(id) });
    this.#witness.acknowledged(changeId, { node: actor, key, mark, cursor, mayCoalesce });
    if (data === undefined) expect(actor.read(id, one.type)).toBeUndefined();
    else expect(actor.read(id, one.type)).toMatchObject(data);
  }

  async #writeStrong(actor: Node, one: WriteStep, under: Faults): Promise<void> {
    const address = { entityType: one.type, entityId: entityId(`e${one.entity}`) };
    const { content, mark } = this.#content(actor, one);
    const { cursor } = actor.replica.meta;
    try {
      const written = await withFaults(actor, under, () =>
        actor.access.writeStrong({ ...address, ...content }, {}, 1_000),
      );
      const key = entityKey(address);
      this.#witness.acknowledged(written.changeId, { node: actor, key, mark, cursor, mayCoalesce: false });
      expect(this.world.cloudStore.readEntity(entityKey(address))).toMatchObject({
        version: written.version,
        data: written.data,
      });
      expect(actor.replica.confirmed(entityKey(address))?.data).toEqual(written.data ?? undefined);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      expect(['cloud_unavailable', 'outcome_unknown', 'not_found', 'invalid_operation']).toContain(error.code);
    }
  }

  #content(
    actor: Node,
    { do: kind, value, isMarked }: WriteStep,
  ): { content: WriteContent; mark?: string; data?: JsonObject } {
    if (kind === 'delete') return { content: { kind } };
    this.#marks += 1;
    const mark = isMarked ? `m${this.#marks}` : undefined;
    const data = { value, by: actor.nodeId, ...(mark === undefined ? {} : { mark }) };
    if (kind === 'put') return { content: { kind, data: { ...data, count: 0 } }, data, ...(mark && { mark }) };
    const sets = Object.entries(data).map(([path, set]) => ({ op: 'set', path, value: set }) as const);
    const content = { kind, operations: [...sets, { op: 'increment', path: 'count', value: 1 } as const] };
    return { content, data, ...(mark && { mark }) };
  }
}

async function play(steps: readonly Step[], pageLimit: number | undefined): Promise<Play> {
  const story = new Play(pageLimit);
  for (const one of steps) await story.take(one);
  await story.end();
  return story;
}

test('[I1] [I2] [I3] [I7] whatever is lost, sent twice or restarted, all replicas end as the cloud, and nothing is lost', {
  timeout: 120_000,
}, async () => {
  let conflicts = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 1, maxLength: 60, size: 'max' }),
      fc.constantFrom(undefined, 1, 2),
      async (steps, pageLimit) => {
        const { world, nodes } = await play(steps, pageLimit);
        conflicts += world.sequencer.meta.conflicts;
        for (const type of TYPES) {
          const live = world.cloudStore.readAfter(0, 1000).filter((entity) => entity.data !== null);
          const cloud = live
            .filter((entity) => entity.entityType === type)
            .map((entity) => [entity.entityId, entity.data]);
          for (const one of nodes) expect(one.list(type)).toEqual(Object.fromEntries(cloud));
        }
        for (const one of nodes) {
          expect(one.replica.queueStats().total).toBe(0);
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
