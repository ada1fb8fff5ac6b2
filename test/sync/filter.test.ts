import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, digestTotal } from '../../src/core/digest.ts';
import type { EntityType } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { entityId, entityType, type Fault, Node, TYPE, World } from './world.ts';

const TASK = entityType('task');
const USER = entityType('user');
const TYPES = [TYPE, TASK, USER];

async function began() {
  const world = new World();
  const [writer, reader] = [new Node(world, 'writer'), new Node(world, 'reader')];
  for (const type of TYPES) writer.put('x', { type }, type);
  await writer.link.sync();
  return { world, writer, reader };
}

/** With a restart, as a node begins with another filter; or at once. */
function refilter(node: Node, types: EntityType[] | undefined, isRestarted = true): void {
  node.entityTypes = types;
  if (isRestarted) node.restart();
  else node.replica.refilter(types);
}

function held(node: Node): EntityType[] {
  return TYPES.filter((type) => Object.keys(node.list(type)).length > 0);
}

/** The digest is that of what the cloud has in these types, and nothing had to be mended. */
function expectVerified(world: World, node: Node, types: EntityType[]): void {
  const entities = world.cloudStore.readAfter(0, 100_000).filter((entity) => types.includes(entity.entityType));
  expect(node.exchanges.at(-1)?.answer.digest).toBe(digestTotal(digestOf(entities)));
  expect(node.replica.handshakeRequest().digest).toBe(digestTotal(digestOf(entities)));
  expect(node.replica.meta.digestMismatches).toBe(0);
}

describe('a node that asks for some types', () => {
  test('gets these, and what it holds is verified', async () => {
    const { world, writer, reader } = await began();
    refilter(reader, [TASK]);
    await reader.link.sync();
    expect(held(reader)).toEqual([TASK]);
    expectVerified(world, reader, [TASK]);
    for (const type of TYPES) writer.put('y', { type }, type);
    await writer.link.sync();
    expect((await reader.link.sync()).summary).toMatchObject({ success: true, downloaded: 1 });
    expect(reader.replica.meta.cursor).toBe(6);
    expectVerified(world, reader, [TASK]);
  });

  test('[I3] notices a state that is not the cloud’s', async () => {
    const { reader } = await began();
    refilter(reader, [TASK]);
    await reader.link.sync();
    const [record] = reader.store.recordKeys();
    if (record === undefined) throw new Error('there is no record');
    reader.store.removeRecord(record);
    reader.store.writeMeta({ ...reader.replica.meta, digest: {} });
    reader.restart();
    expect((await reader.link.sync()).summary.success).toBe(true);
    expect(reader.replica.meta.digestMismatches).toBe(1);
    expect(held(reader)).toEqual([TASK]);
  });

  test('[I4] [I5] [S21] that asks for more later, reads the past of what is new, and says until then that it has not all', async () => {
    const { world, reader } = await began();
    refilter(reader, [TASK]);
    await reader.link.sync();
    expect(reader.replica.covers({ clock: { cloud: 3 } })).toBe(true);
    refilter(reader, [TASK, USER]);
    expect(held(reader)).toEqual([TASK]);
    expect(reader.replica.covers({ clock: { cloud: 3 } })).toBe(false);
    expect(reader.replica.stalenessMs()).toBeNull();
    expect(reader.replica.isPulling()).toBe(true);
    await reader.link.sync();
    expect(held(reader)).toEqual([TASK, USER]);
    expect(reader.replica.covers({ clock: { cloud: 3 } })).toBe(true);
    expectVerified(world, reader, [TASK, USER]);
    refilter(reader, undefined);
    await reader.link.sync();
    expect(held(reader)).toEqual(TYPES);
    expectVerified(world, reader, TYPES);
  });

  test('that asks for less later, drops the rest, and reads nothing again', async () => {
    const { world, reader } = await began();
    await reader.link.sync();
    refilter(reader, [TASK]);
    expect(held(reader)).toEqual([TASK]);
    expect(reader.replica.covers({ clock: { cloud: 3 } })).toBe(true);
    expect((await reader.link.sync()).summary).toMatchObject({ success: true, downloaded: 0 });
    expectVerified(world, reader, [TASK]);
  });

  test('keeps its session over a start with the same types', async () => {
    const { reader } = await began();
    refilter(reader, [TASK]);
    await reader.link.sync();
    const { session } = reader.replica.meta;
    reader.restart();
    expect(reader.replica.meta.session).toEqual(session);
    expect(session).not.toBeNull();
  });

  test('[I1] writes others as well: pending here, then gone, and nothing is read again', async () => {
    const { world, reader } = await began();
    refilter(reader, [TASK]);
    await reader.link.sync();
    reader.put('z', { n: 1 }, USER);
    reader.put('z', { n: 1 }, TASK);
    expect(reader.read('z', USER)).toEqual({ n: 1 });
    const before = reader.exchanges.length;
    expect((await reader.link.sync()).summary).toMatchObject({ success: true, uploaded: 2 });
    expect(reader.exchanges.length).toBe(before + 1);
    expect(reader.read('z', USER)).toBeUndefined();
    expect(reader.read('z', TASK)).toEqual({ n: 1 });
    expect(world.cloudStore.readAfter(0, 100).map(({ entityType }) => entityType)).toContain(USER);
    expectVerified(world, reader, [TASK]);
  });
});

test('[I1] [S21] a filter that comes in the middle of a pull: what the pull had brought comes again, and what was answered is sent again', async () => {
  const { world, reader } = await began();
  refilter(reader, [TASK, USER], false);
  reader.put('z', { n: 1 }, TASK);
  world.pageLimit = 1;
  let calls = 0;
  reader.beforeCall = (call) => {
    calls += call === 'exchange' ? 1 : 0;
    if (calls === 2) throw new SyncError('cloud_unavailable', 'gone');
  };
  await reader.link.sync();
  reader.beforeCall = () => undefined;
  expect([reader.replica.isPulling(), reader.replica.queueStats().syncing]).toEqual([true, 1]);
  refilter(reader, [TASK], false);
  expect(reader.replica.queueStats()).toMatchObject({ pending: 1, syncing: 0 });
  await reader.link.sync();
  expect(held(reader)).toEqual([TASK]);
  expect(reader.replica.queueStats().total).toBe(0);
  expectVerified(world, reader, [TASK]);
});

test('[S11] [S21] what was written on a record that goes, and what is written after that, stay two', async () => {
  const { reader } = await began();
  await reader.link.sync();
  reader.put('x', { n: 1 }, USER);
  reader.put('x', { n: 1 }, TASK);
  refilter(reader, [TASK], false);
  reader.put('x', { n: 2 }, USER);
  reader.put('x', { n: 2 }, TASK);
  expect([...reader.replica.queued()].map(({ change }) => change.entityType)).toEqual([USER, USER, TASK]);
});

test('[S21] [S25] who listens is told of what a node drops, at once, and of what it gets again', async () => {
  const { reader } = await began();
  await reader.link.sync();
  reader.watches = () => true;
  refilter(reader, [TASK, USER], false);
  refilter(reader, undefined, false);
  expect(reader.seen).toEqual([{ entityType: TYPE, entityId: 'x', operation: 'delete', version: null }]);
  await reader.link.sync();
  expect(reader.seen.slice(1)).toMatchObject([{ entityType: TYPE, entityId: 'x', operation: 'create' }]);
});

describe('a node whose token reads some types', () => {
  test('is verified in these, and writes others', async () => {
    const { world, reader } = await began();
    reader.grant = { readTypes: [TASK] };
    await reader.link.sync();
    reader.put('z', { n: 1 }, USER);
    await reader.link.sync();
    expect(held(reader)).toEqual([TASK]);
    expect(reader.replica.covers({ clock: { cloud: 4 } })).toBe(true);
    expectVerified(world, reader, [TASK]);
  });

  test('gets the past of what the token allows from now on, and drops what it no longer does', async () => {
    const { world, reader } = await began();
    reader.grant = { readTypes: [TASK] };
    await reader.link.sync();
    reader.grant = { readTypes: [TASK, USER] };
    expect((await reader.link.sync()).summary.success).toBe(true);
    expect(held(reader)).toEqual([TASK, USER]);
    expectVerified(world, reader, [TASK, USER]);
    reader.grant = { readTypes: [USER] };
    await reader.link.sync();
    expect(held(reader)).toEqual([USER]);
    expectVerified(world, reader, [USER]);
    reader.restart();
    expect(held(reader)).toEqual([USER]);
  });

  test('[S21] and that asks for others, gets what is in both', async () => {
    const { world, reader } = await began();
    reader.grant = { readTypes: [TASK, USER] };
    refilter(reader, [TYPE, USER]);
    await reader.link.sync();
    expect(held(reader)).toEqual([USER]);
    expectVerified(world, reader, [USER]);
  });
});

test('[I10] a page looks at so many entities, and goes on behind them', async () => {
  const world = new World();
  const last = LIMITS.pageScan + 100;
  world.sequencer.commit((commit) => {
    for (let index = 0; index <= last; index += 1) {
      const [id, stamp] = [commit.cloudDot(), commit.stampNow('cloud')];
      const source = {
        id,
        entityType: index === last ? TASK : TYPE,
        entityId: entityId(`e${index}`),
        stamp,
      };
      commit.put(source, undefined, { data: {}, written: 'whole', stamp }, id);
    }
  });
  const reader = new Node(world, 'reader');
  refilter(reader, [TASK]);
  await reader.link.sync();
  expect(reader.exchanges.map(({ answer }) => answer.more)).toEqual([true, false]);
  expect(Object.keys(reader.list(TASK))).toEqual([`e${last}`]);
});

const types = fc.option(fc.subarray(TYPES), { nil: undefined });
type Step =
  | { do: 'write'; node: number; type: EntityType; entity: number; value: number | null }
  | { do: 'sync'; node: number; fault: Fault }
  | { do: 'filter'; types: EntityType[] | undefined; isRestarted: boolean }
  | { do: 'grant'; types: EntityType[] | undefined };
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('write'),
      node: fc.nat(1),
      type: fc.constantFrom(...TYPES),
      entity: fc.nat(1),
      value: fc.option(fc.nat(9)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('sync'),
      node: fc.nat(1),
      fault: fc.constantFrom<Fault>('none', 'none', 'request-lost', 'answer-lost', 'duplicated'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('filter'), types, isRestarted: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('grant'), types }) },
);

test('[I3] [I4] whatever a node asks for and may read, and when, it ends with just that', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: 'max' }),
      fc.constantFrom(undefined, 1, 2),
      async (steps, limit) => {
        const world = new World();
        world.pageLimit = limit;
        const [plain, some] = [new Node(world, 'plain'), new Node(world, 'some')];
        for (const one of steps) {
          if (one.do === 'filter') refilter(some, one.types, one.isRestarted);
          else if (one.do === 'grant') some.grant = { readTypes: one.types };
          else {
            const node = one.node === 0 ? plain : some;
            if (one.do === 'sync') {
              node.fault = one.fault;
              await node.link.sync();
              node.fault = 'none';
            } else if (one.value !== null) node.put(`e${one.entity}`, { value: one.value }, one.type);
            else if (node.read(`e${one.entity}`, one.type) !== undefined) {
              node.write(`e${one.entity}`, { kind: 'delete' }, one.type);
            }
          }
        }
        for (let round = 0; round < 2; round += 1) for (const node of [plain, some]) await node.link.sync();
        const wanted = TYPES.filter((type) => some.entityTypes?.includes(type) ?? true).filter(
          (type) => some.grant.readTypes?.includes(type) ?? true,
        );
        for (const type of TYPES) expect(some.list(type)).toEqual(wanted.includes(type) ? plain.list(type) : {});
        expectVerified(world, some, wanted);
        expectVerified(world, plain, TYPES);
        expect([...some.errors, ...plain.errors]).toEqual([]);
      },
    ),
    { numRuns: 300 },
  );
});
