import { describe, expect, test } from 'vitest';
import type { CausalContext } from '../../src/core/causal-context.ts';
import { parseStamp } from '../../src/core/hlc.ts';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policy } from '../../src/core/policy.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { importRecords, writeAtCloud } from '../../src/sync/cloud-write.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const x = { entityType: TYPE, entityId: entityId('x') };
const put = { ...x, kind: 'put', data: { by: 'cloud' } } as const;

/** The ways to write at the cloud. */
const WAYS: Record<string, (world: World, after: CausalContext) => void> = {
  'a write': (world, after) => void world.sequencer.commit((commit) => writeAtCloud(commit, put, { after })),
  'an import': (world, after) => void world.sequencer.commit((commit) => importRecords(commit, [put], after)),
  'a decision': (world, after) => {
    const [{ id }] = conflictsOf(world);
    world.sequencer.commit((commit) => resolveConflict(commit, id, { data: put.data }, 'ada', {}, after));
  },
};

function conflictsOf(world: World) {
  const filter = { status: 'all', entityTypes: undefined, after: '', limit: 10 } as const;
  const [first, ...more] = world.cloudStore.listConflicts(filter);
  return [made(first), ...more] as const;
}

/** Two nodes that have written, of which one's clock is ahead, and that have met in a conflict. */
async function met(skewMs: number) {
  const world = new World();
  const [ahead, other] = [new Node(world, 'ahead', skewMs), new Node(world, 'other')];
  other.put('x', { by: 'other' });
  await other.link.sync();
  world.nowMs += 1;
  ahead.put('x', { by: 'ahead' });
  await ahead.link.sync();
  // By its own clock until it meets the cloud's again.
  ahead.restart();
  return { world, ahead, other };
}

describe('[I6] what is written at the cloud follows what its writer has seen, whatever the clocks were', () => {
  test.each(Object.entries(WAYS))('%s', async (_, write) => {
    const { world, ahead, other } = await met(30_000);
    ahead.put('x', { by: 'ahead, again' });
    write(world, ahead.replica.causalContext());
    for (const node of [ahead, other]) await node.link.sync();
    for (const node of [ahead, other]) expect(node.read('x')).toEqual({ by: 'cloud' });
  });

  test.each(Object.entries(WAYS))('%s goes after no clock that is further ahead than one may be', async (_, write) => {
    const { world } = await met(0);
    write(world, { atMs: world.nowMs + 24 * 3600_000 });
    const { stamp } = made(world.cloudStore.readEntity(entityKey(x)));
    expect(parseStamp(stamp)?.wallMs).toBe(world.nowMs + LIMITS.maxClockDriftMs);
  });
});

describe('[I6] what a writer has seen and written over stays so, however late it arrives', () => {
  const RULES: Record<string, Partial<Policy>> = {
    'by the later stamp': { conflict: 'lww' },
    'by path': { conflict: 'merge', onCreate: 'merge' },
    'by people': { conflict: 'manual' },
    'by another id': { onCreate: 'rename' },
    'by the update': { onDelete: 'update-wins' },
  };
  const PLACES: Record<string, (all: Late, write: WriteContent) => Promise<unknown>> = {
    'at the cloud': async ({ world, seen }, write) =>
      world.sequencer.commit((commit) => writeAtCloud(commit, { ...x, ...write }, { after: seen })),
    'at another node': async ({ other, seen }, write) => {
      await other.access.write({ ...x, ...write }, seen, 1_000);
      await other.link.sync();
    },
    'at another node, strongly': ({ other, seen }, write) => other.access.writeStrong({ ...x, ...write }, seen, 1_000),
  };

  /** A record that a node has changed that is out of reach, and whose clock is a day ahead. */
  interface Late {
    readonly world: World;
    readonly late: Node;
    readonly other: Node;
    readonly seen: CausalContext;
  }

  async function began(policy: Partial<Policy>, first: WriteContent | undefined, change: WriteContent): Promise<Late> {
    const world = new World({ policy });
    const [late, other] = [new Node(world, 'late', 24 * 3600_000), new Node(world, 'other')];
    if (first !== undefined) other.write('x', first);
    for (const node of [other, late]) await node.link.sync();
    late.restart();
    late.write('x', change);
    return { world, late, other, seen: late.replica.causalContext() };
  }

  async function arrive({ world, late, other }: Late): Promise<void> {
    world.nowMs += 3600_000;
    for (const node of [late, other, late]) await node.link.sync();
    expect(late.list()).toEqual(other.list());
    expect(late.replica.meta.digestMismatches + other.replica.meta.digestMismatches).toBe(0);
    expect(late.replica.queueStats().dead).toBe(0);
  }

  /** No rule has decided, and nothing is lost. */
  function expectSeen(world: World): void {
    const local = { winner: 'local', metadata: { strategy: 'seen' } };
    const conflicts = conflictsOf(world);
    expect(conflicts).toMatchObject(conflicts.map(() => ({ status: 'resolved', resolution: local })));
  }

  const whole = (data: JsonObject): WriteContent => ({ kind: 'put', data });

  for (const [rule, policy] of Object.entries(RULES)) {
    for (const [place, write] of Object.entries(PLACES)) {
      test(`${rule}: a record, ${place}`, async () => {
        const all = await began(policy, whole({ a: 0, b: 0 }), whole({ a: 1, b: 0, c: 1 }));
        await write(all, whole({ a: 0, b: 2 }));
        await arrive(all);
        expect(all.other.list()).toEqual({ x: { a: 0, b: 2 } });
        expectSeen(all.world);
      });

      test(`${rule}: a first record, ${place}`, async () => {
        const all = await began(policy, undefined, whole({ a: 1 }));
        await write(all, whole({ b: 2 }));
        await arrive(all);
        expect(all.other.list()).toEqual({ x: { b: 2 } });
        expectSeen(all.world);
      });

      test(`${rule}: a delete, ${place}`, async () => {
        const all = await began(policy, whole({ a: 0 }), whole({ a: 1 }));
        await write(all, { kind: 'delete' });
        await arrive(all);
        expect(all.other.list()).toEqual({});
        expectSeen(all.world);
      });
    }
  }

  test('also where somebody has gone on from there', async () => {
    const all = await began({ conflict: 'merge' }, whole({ a: 0 }), whole({ a: 1, c: 1 }));
    await PLACES['at the cloud']?.(all, whole({ a: 0, b: 2 }));
    await all.other.link.sync();
    all.other.write('x', { kind: 'patch', operations: [{ op: 'set', path: 'd', value: 3 }] });
    await all.other.link.sync();
    await PLACES['at the cloud']?.({ ...all, seen: {} }, whole({ a: 0, b: 4, d: 3 }));
    await arrive(all);
    expect(all.other.list()).toEqual({ x: { a: 0, b: 4, d: 3 } });
  });

  test('what was only added to is not written over', async () => {
    const all = await began({ conflict: 'merge' }, whole({ a: 0 }), whole({ a: 0, c: 1 }));
    const operations = [{ op: 'set', path: 'b', value: 2 }] as const;
    await PLACES['at the cloud']?.(all, { kind: 'patch', operations });
    await arrive(all);
    expect(all.other.list()).toEqual({ x: { a: 0, b: 2, c: 1 } });
  });

  test('what was written there later meets it as any other', async () => {
    const all = await began({ conflict: 'manual', coalesce: false }, whole({ a: 0 }), whole({ a: 1 }));
    await PLACES['at the cloud']?.(all, whole({ a: 2 }));
    all.late.put('x', { a: 3 });
    await arrive(all);
    expect(conflictsOf(all.world).map(({ status }) => status)).toEqual(['resolved', 'open']);
  });

  test('also under a condition that was met where it was written', async () => {
    const all = await began({}, whole({ a: 0 }), whole({ a: 1 }));
    const ifMatch = all.late.replica.read(entityKey(x))?.version;
    await all.late.access.write({ ...x, ...whole({ a: 2 }), ifMatch }, {}, 1_000);
    await PLACES['at the cloud']?.({ ...all, seen: all.late.replica.causalContext() }, whole({ a: 3 }));
    await arrive(all);
    expect(all.other.list()).toEqual({ x: { a: 3 } });
  });

  test('what has arrived is not remembered any more', async () => {
    const all = await began({}, whole({ a: 0 }), whole({ a: 1 }));
    await PLACES['at the cloud']?.(all, whole({ a: 2 }));
    const marks = () => all.world.cloudStore.readEntity(entityKey(x))?.marks;
    expect(marks()?.ahead).toEqual({ late: 1 });
    await arrive(all);
    all.world.sequencer.commit((commit) => writeAtCloud(commit, put));
    expect(marks()?.ahead).toBeUndefined();
  });

  test('[S20] nobody has seen a strong write that is under way, though its counter is told of', async () => {
    const all = await began({}, whole({ a: 0 }), whole({ a: 1 }));
    await all.late.link.sync();
    all.late.beforeExchange = async () => {
      all.late.beforeExchange = async () => undefined;
      await PLACES['at the cloud']?.({ ...all, seen: { clock: { late: 2 } } }, whole({ a: 2 }));
    };
    const { changeId } = await all.late.access.writeStrong({ ...x, ...whole({ a: 3 }) }, {}, 1_000);
    expect(changeId).toBe('late:2');
    await arrive(all);
    expect(all.other.list()).toEqual({ x: { a: 3 } });
  });

  test('[S18] a node that lost its storage may have written another change under the name', async () => {
    const all = await began({}, undefined, whole({ a: 1 }));
    await all.late.link.sync();
    all.late.put('x', { a: 2 });
    const seen = all.late.replica.causalContext();
    all.late.restartEmpty();
    await PLACES['at the cloud']?.({ ...all, seen }, whole({ a: 3 }));
    all.late.put('x', { a: 4 });
    await arrive(all);
    expect(all.late.exchanges.flatMap(({ batch }) => batch.changes).at(-1)).toMatchObject({ id: 'late:2' });
    expect(all.other.list()).toEqual({ x: { a: 4 } });
  });
});

test('[I6] what a node that lost its storage writes under a counter that had been seen is another write', async () => {
  const world = new World({ policy: { conflict: 'lww' } });
  const node = new Node(world, 'n');
  await node.link.sync();
  node.put('x', { lost: true });
  const after = node.replica.causalContext();
  node.restartEmpty();
  await node.link.sync();
  world.sequencer.commit((commit) => writeAtCloud(commit, put, { after }));
  world.nowMs += 1_000;
  node.put('x', { n: 1 });
  await node.link.sync();
  // Two that were created at the same time are merged.
  expect(node.read('x')).toEqual({ by: 'cloud', n: 1 });
});
