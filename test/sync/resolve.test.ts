import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { definePolicies } from '../../src/core/define-policies.ts';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { utf8Bytes } from '../../src/protocol/record.ts';
import { type ManualDecision, withDecision } from '../../src/sync/conflict-record.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import type { ConflictRecord } from '../../src/sync/ports.ts';
import { Sequencer } from '../../src/sync/sequencer.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const keyOf = (id: string) => entityKey({ entityType: TYPE, entityId: entityId(id) });

/** A world in which `b` wrote `x` first and `a`, which hadn't seen it, second; the later write won. */
async function disputed(local: JsonObject | null, remote: JsonObject | null) {
  const world = new World();
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const node of [a, b]) await node.link.sync();
  if (local === null || remote === null) {
    a.put('x', { n: 'before' });
    for (const node of [a, b]) await node.link.sync();
  }
  for (const [node, data] of [
    [b, local],
    [a, remote],
  ] as const) {
    world.nowMs += 1_000;
    node.write('x', data === null ? { kind: 'delete' } : { kind: 'put', data });
  }
  for (const node of [b, a, b]) await node.link.sync();
  return { world, a, b, id: made(conflictsOf(world)[0]).id };
}

const conflictsOf = (world: World) => world.cloudStore.listConflicts({ status: 'all', after: '', limit: 1_000 });
const conflictOf = (world: World, id: string) => made(world.cloudStore.readConflict(id));
const contentOf = (world: World, id: string) => world.cloudStore.readEntity(keyOf(id))?.data ?? null;

/** Until somebody decides, the cloud's side stays. */
function reopen(world: World, id: string): ConflictRecord {
  const conflict = conflictOf(world, id);
  const metadata = { strategy: 'manual', reason: 'left to people by policy' };
  const resolution = { winner: 'local' as const, resolvedData: conflict.local.data, metadata };
  const open = { ...conflict, resolution, status: 'open' as const };
  world.cloudStore.writeConflict(open);
  return open;
}

function refusalOf(body: () => unknown): string | undefined {
  try {
    body();
  } catch (error) {
    return (error as SyncError).code;
  }
  return undefined;
}

/** All that the cloud holds, to see that nothing of it changed. */
const stateOf = ({ cloudStore, sequencer }: World) => ({
  meta: cloudStore.readMeta(),
  told: sequencer.meta,
  entities: cloudStore.readAfter(0, 1_000),
  conflicts: cloudStore.readConflictsAfter(0, 1_000),
});

describe('a conflict that somebody decides', () => {
  test('[S4] leaves the inbox, its content becomes the entity, and every node gets it', async () => {
    const { world, a, b, id } = await disputed({ n: 1 }, { n: 2 });
    const open = reopen(world, id);
    world.nowMs += 5_000;
    const decided = world.sequencer.commit((commit) => resolveConflict(commit, id, { data: { n: 3 } }, 'ada'));
    expect(decided).toEqual({
      ...open,
      resolution: {
        winner: 'merged',
        resolvedData: { n: 3 },
        metadata: { strategy: 'manual', reason: 'decided by ada' },
      },
      status: 'resolved',
      decidedBy: 'ada',
      decidedAtMs: world.nowMs,
      seq: world.sequencer.meta.seq,
      history: [{ resolution: open.resolution, atMs: open.atMs, by: null }],
      revision: open.revision + 1,
    });
    expect(conflictOf(world, id)).toEqual(decided);
    expect(world.cloudStore.listConflicts({ status: 'open', after: '', limit: 10 })).toEqual([]);
    for (const node of [a, b]) await node.link.sync();
    expect([a.read('x'), b.read('x'), contentOf(world, 'x')]).toEqual([{ n: 3 }, { n: 3 }, { n: 3 }]);
    expect([a.replica.meta.digestMismatches, b.replica.meta.digestMismatches]).toEqual([0, 0]);
  });

  test('can be decided once more, and what held before is kept in order', async () => {
    const { world, id } = await disputed({ n: 1 }, { n: 2 });
    const decide = (decision: ManualDecision, by: string) => {
      world.nowMs += 1;
      return world.sequencer.commit((commit) => resolveConflict(commit, id, decision, by));
    };
    const first = conflictOf(world, id);
    const second = decide({ winner: 'local' }, 'ada');
    const third = decide({ data: { n: 2 } }, 'bob');
    expect(contentOf(world, 'x')).toEqual({ n: 2 });
    // The content is one side's, so that side has won.
    expect([second.resolution.winner, third.resolution.winner]).toEqual(['local', 'remote']);
    expect(third.history).toEqual([
      { resolution: first.resolution, atMs: first.atMs, by: null },
      { resolution: second.resolution, atMs: second.decidedAtMs, by: 'ada' },
    ]);
  });

  test('[I2] is not written for content that is there; the same decision of the same person changes nothing', async () => {
    const { world, id } = await disputed({ n: 1 }, { n: 2 });
    const { seq } = world.sequencer.meta;
    const decide = (by: string) =>
      world.sequencer.commit((commit) => resolveConflict(commit, id, { winner: 'remote' }, by));
    const decided = decide('ada');
    expect(decided).toMatchObject({ status: 'resolved', seq, decidedBy: 'ada' });
    expect(world.sequencer.meta.seq).toBe(seq);
    const before = stateOf(world);
    world.nowMs += 1_000;
    expect(decide('ada')).toEqual(decided);
    expect(stateOf(world)).toEqual(before);
    expect(decide('bob').history).toHaveLength(2);
  });

  test('deletes, where the winner had deleted or the chosen content is null, and brings back', async () => {
    const { world, a, id } = await disputed({ n: 1 }, null);
    expect(contentOf(world, 'x')).toBeNull();
    const decide = (decision: ManualDecision) =>
      world.sequencer.commit((commit) => resolveConflict(commit, id, decision, 'ada'));
    decide({ winner: 'local' });
    expect(contentOf(world, 'x')).toEqual({ n: 1 });
    decide({ winner: 'remote' });
    expect(contentOf(world, 'x')).toBeNull();
    decide({ data: { n: 5 } });
    expect(decide({ data: null }).resolution).toMatchObject({ winner: 'remote', resolvedData: null });
    await a.link.sync();
    expect(a.read('x')).toBeUndefined();
  });

  test('[S4] changes nothing where it is refused: unknown, another version, too large, too deep, not of the schema', async () => {
    const { world, id } = await disputed({ n: 1 }, { n: 2 });
    reopen(world, id);
    const schema = {
      '~standard': {
        version: 1 as const,
        vendor: 'test',
        validate: (value: unknown) => {
          return 'bad' in (value as JsonObject) ? { issues: [{ message: 'no', path: ['bad'] }] } : { value };
        },
      },
    };
    const policies = definePolicies({ types: { [TYPE]: { schema } } });
    const { clock, entropy, cloudStore: store } = world;
    const strict = new Sequencer({ store, policies, clock, entropy });
    let deep: JsonObject = {};
    for (let level = 0; level < LIMITS.recordDepth; level += 1) deep = { deep };
    const version = made(store.readEntity(keyOf('x'))).version;
    const refused: [string, string, ManualDecision, object][] = [
      ['not_found', 'c999999999999', { winner: 'local' }, {}],
      ['precondition_failed', id, { winner: 'local' }, { ifMatch: 'a:99' }],
      ['precondition_failed', id, { winner: 'remote' }, { ifMatch: 'a:99' }],
      ['precondition_failed', id, { winner: 'local' }, { ifNoneMatch: version }],
      ['too_large', id, { data: { text: 'x'.repeat(LIMITS.recordBytes) } }, {}],
      ['too_deep', id, { data: deep }, {}],
      ['invalid_data', id, { data: { bad: true } }, {}],
    ];
    const before = stateOf(world);
    for (const [code, of, decision, precondition] of refused) {
      const decide = () => strict.commit((commit) => resolveConflict(commit, of, decision, 'ada', precondition));
      expect(refusalOf(decide), code).toBe(code);
      expect(stateOf(world)).toEqual(before);
    }
    strict.commit((commit) => resolveConflict(commit, id, { winner: 'local' }, 'ada', { ifMatch: version }));
    expect(contentOf(world, 'x')).toEqual({ n: 1 });
  });
});

describe('the history of decisions', () => {
  const decide = (conflict: ConflictRecord, data: JsonObject, by: string) => {
    const metadata = { strategy: 'manual', reason: `decided by ${by}` };
    return withDecision(conflict, { winner: 'merged', resolvedData: data, metadata }, { by, atMs: 1, seq: 1 });
  };

  test('[I10] [S5] keeps the newest, in number', async () => {
    const { world, id } = await disputed({ n: 1 }, { n: 2 });
    let conflict = conflictOf(world, id);
    for (let n = 0; n <= LIMITS.pastDecisions + 5; n += 1) conflict = decide(conflict, { n }, `p${n}`);
    expect(conflict.history).toHaveLength(LIMITS.pastDecisions);
    expect(conflict.history.at(-1)?.by).toBe(`p${LIMITS.pastDecisions + 4}`);
    expect(conflict.history[0]?.by).toBe('p5');
  });

  test('[I10] [S5] and in bytes: a conflict fits in a row, however large its sides are and however often it is decided', async () => {
    const { world, id } = await disputed({ n: 1 }, { n: 2 });
    const largest = { text: 'é'.repeat((LIMITS.recordBytes - 20) / 2) };
    const side = { ...conflictOf(world, id).local, data: largest };
    let conflict: ConflictRecord = { ...conflictOf(world, id), base: { data: largest }, local: side, remote: side };
    for (let n = 0; n < 10; n += 1) {
      conflict = decide(conflict, { ...largest, n }, `p${n}`);
      expect(utf8Bytes(JSON.stringify(conflict))).toBeLessThanOrEqual(LIMITS.conflictBytes);
    }
    expect(conflict.history.map(({ by }) => by)).toEqual(['p6', 'p7', 'p8']);
  });
});

type Step =
  | { do: 'write'; node: number; entity: number; n: number | null }
  | { do: 'sync'; node: number }
  | { do: 'restart-cloud' }
  | {
      do: 'decide';
      pick: number;
      by: string;
      decision: 'local' | 'remote' | number | null;
      ifMatch: 'right' | 'wrong' | 'none';
    };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('write'),
      node: fc.nat(1),
      entity: fc.nat(1),
      n: fc.option(fc.nat(3), { freq: 3 }),
    }),
  },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('sync'), node: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart-cloud') }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('decide'),
      pick: fc.nat(9),
      by: fc.constantFrom('ada', 'bob'),
      decision: fc.oneof(fc.constantFrom('local' as const, 'remote' as const, null), fc.nat(3)),
      ifMatch: fc.constantFrom('none', 'none', 'right', 'wrong'),
    }),
  },
);

test('[I3] [S8] [S15] decisions among writes and syncs: each does what it says or nothing, and all replicas end as one', async () => {
  // How often there was something to decide: a test whose stories have no conflicts would show nothing.
  let decisions = 0;
  let overwrites = 0;
  const story = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 60, size: 'max' }), async (steps) => {
    const world = new World();
    const nodes = [new Node(world, 'a'), new Node(world, 'b', 20_000)];
    const sync = async (index: number) => expect((await nodes[index]?.link.sync())?.summary.success).toBe(true);
    for (const one of steps) {
      world.nowMs += 10;
      const { conflictRevision, seq } = world.sequencer.meta;
      if (one.do === 'restart-cloud') world.restartCloud();
      else if (one.do === 'sync') await sync(one.node);
      else if (one.do === 'write') {
        const node = made(nodes[one.node]);
        const id = `e${one.entity}`;
        if (one.n !== null) node.put(id, { n: one.n });
        else if (node.read(id) !== undefined) node.write(id, { kind: 'delete' });
      } else {
        const conflicts = conflictsOf(world);
        const before = conflicts[one.pick % conflicts.length];
        if (before === undefined) continue;
        const decision: ManualDecision =
          one.decision === 'local' || one.decision === 'remote'
            ? { winner: one.decision }
            : { data: one.decision === null ? null : { n: one.decision } };
        const current = world.cloudStore.readEntity(keyOf(before.entityId));
        const isGone = current === undefined || current.data === null;
        const ifMatch = { none: undefined, right: current?.version, wrong: 'a:999' }[one.ifMatch];
        const state = stateOf(world);
        const decide = () =>
          world.sequencer.commit((commit) => resolveConflict(commit, before.id, decision, one.by, { ifMatch }));
        if (one.ifMatch === 'wrong' || (one.ifMatch === 'right' && isGone)) {
          expect(refusalOf(decide)).toBe('precondition_failed');
          expect(stateOf(world)).toEqual(state);
          continue;
        }
        const after = decide();
        decisions += 1;
        const wanted = 'winner' in decision ? before[decision.winner].data : decision.data;
        expect(contentOf(world, before.entityId)).toEqual(wanted);
        const hadIt = JSON.stringify(current?.data ?? null) === JSON.stringify(wanted);
        expect(world.sequencer.meta.seq - seq).toBe(hadIt ? 0 : 1);
        expect(after.resolution.resolvedData).toEqual(wanted);
        expect(conflictOf(world, before.id)).toEqual(after);
        if (after.revision === before.revision) {
          expect(after).toEqual(before);
        } else {
          const past = { resolution: before.resolution, atMs: before.decidedAtMs, by: before.decidedBy };
          expect(after.history).toEqual([...before.history, past].slice(-LIMITS.pastDecisions));
          // What others wrote since the conflict was decided is one side of a conflict of its own.
          const isNamed = one.ifMatch === 'right';
          const overwritten =
            hadIt || isNamed || current === undefined || current.seq <= before.seq ? undefined : current;
          const revision = conflictRevision + (overwritten === undefined ? 1 : 2);
          expect(after).toMatchObject({ status: 'resolved', decidedBy: one.by, revision });
          if (overwritten !== undefined) {
            overwrites += 1;
            expect(conflictsOf(world).find((other) => other.revision === revision - 1)).toMatchObject({
              local: { version: overwritten.version, data: overwritten.data },
              remote: { data: wanted },
              resolution: { winner: 'remote', resolvedData: wanted },
              status: 'resolved',
              decidedBy: one.by,
            });
          }
        }
      }
      // Whoever had followed to the revision before gets all that was written since, and the head is the last one's.
      const news = world.cloudStore.readConflictsAfter(conflictRevision, 1_000);
      expect(news.at(-1)?.revision ?? conflictRevision).toBe(world.sequencer.meta.conflictRevision);
    }
    for (const index of [0, 1, 0, 1]) await sync(index);
    for (const { replica } of nodes) {
      expect(replica.handshakeRequest().digest).toBe(world.cloudDigest());
      expect(replica.meta.digestMismatches).toBe(0);
    }
  });
  await fc.assert(story, { numRuns: 100 });
  expect(decisions).toBeGreaterThan(100);
  expect(overwrites).toBeGreaterThan(10);
});
