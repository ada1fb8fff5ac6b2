import { describe, expect, test } from 'vitest';
import { checksum } from '../../src/core/canonical.ts';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { batchChecksum } from '../../src/protocol/batch-checksum.ts';
import { recordProblem } from '../../src/protocol/record.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const TEXT = 'long enough that a field is worth sending by itself';
const entity = { entityType: TYPE, entityId: entityId('x') };
const set = (path: string, value: number) => ({ kind: 'patch', operations: [{ op: 'set', path, value }] }) as const;
const increment = (path: string) => ({ kind: 'patch', operations: [{ op: 'increment', path, value: 1 }] }) as const;

function atCloud(world: World, id = 'x'): JsonObject | null | undefined {
  return world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId(id) }))?.data;
}

function statuses(node: Node): string[][] {
  return node.exchanges.map(({ answer }) => answer.results.map(({ status }) => status));
}

/** A node that has a record other than the cloud has it, as a disk that fails may leave it. */
async function diverged() {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1, other: 1, text: TEXT });
  a.put('y', { n: 1, text: TEXT });
  await a.link.sync();
  const stored = a.store.readRecord(entityKey(entity));
  if (stored === undefined) throw new Error('there is no record');
  a.store.writeRecord({ ...stored, data: { ...stored.data, other: 2 } });
  return { world, a };
}

/** Somebody's own client, which sends what it likes. */
async function stranger() {
  const world = new World();
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  await a.link.sync();
  const sender = new Node(world, 'b');
  const { sessionId } = world.responder.connect({ nodeId: sender.nodeId, protocol: 1 });
  let counter = 0;
  const send = (content: object, extra: object = {}) => {
    counter += 1;
    const change = {
      id: `b:${counter}`,
      nodeId: sender.nodeId,
      ...entity,
      base: { cloud: world.sequencer.meta.seq },
      stamp: '0000000000ff-0000-b',
      timestamp: 1,
      operation: 'update',
      ...content,
    };
    const batch = { batchId: `b${counter}`, sourceNodeId: sender.nodeId, targetNodeId: 'cloud', cursor: 1 } as const;
    return world.responder.exchange(sessionId, { ...batch, changes: [change], ...extra }, { relay: false });
  };
  return { world, send };
}

describe('the checksum of a batch', () => {
  test('is sent, and is that of what arrives', async () => {
    const { a } = await diverged();
    const sent = a.exchanges.map(({ batch }) => batch);
    expect(sent.map((batch) => batch.checksum)).toEqual(
      sent.map(({ cursor, changes, void: voids }) =>
        checksum(JSON.parse(JSON.stringify({ cursor, changes, void: voids ?? [] }))),
      ),
    );
  });

  test('[S22] that is of something else is refused, and nothing happens', async () => {
    const { world, send } = await stranger();
    expect(() => send({ data: { n: 2 } }, { checksum: 'ffffffffffffffffffffffffffffffff' })).toThrow(
      expect.objectContaining({ code: 'bad_request' }),
    );
    expect(atCloud(world)).toEqual({ n: 1 });
  });

  test('takes a change that has no canonical text by its id', () => {
    const broken = (id: string, text: string): { id: string } & Record<string, unknown> => ({ id, data: { text } });
    const of = (...changes: { id: string }[]) => batchChecksum({ cursor: 0, changes });
    expect(of(broken('a:1', '\ud800'))).toBe(of(broken('a:1', '\udfff')));
    expect(of(broken('a:1', '\ud800'))).not.toBe(of(broken('a:2', '\ud800')));
  });
});

describe('the checksum of a change', () => {
  test('of whole data is that of the data, or the change is refused', async () => {
    const { world, send } = await stranger();
    const other = send({ data: { n: 2 }, checksum: checksum({ n: 3 }) });
    expect(other.results).toMatchObject([{ status: 'rejected', code: 'invalid_data' }]);
    expect(atCloud(world)).toEqual({ n: 1 });
    expect(send({ data: { n: 2 }, checksum: checksum({ n: 2 }) }).results).toMatchObject([{ status: 'applied' }]);
    expect(atCloud(world)).toEqual({ n: 2 });
  });

  test('of operations is that of the record that they make, or the record is asked for', async () => {
    const { world, send } = await stranger();
    const { operations } = increment('n');
    expect(send({ operations, checksum: checksum({ n: 5 }) }).results).toMatchObject([{ status: 'needs-full' }]);
    expect(atCloud(world)).toEqual({ n: 1 });
    expect(send({ operations, checksum: checksum({ n: 2 }) }).results).toMatchObject([{ status: 'applied' }]);
    expect(atCloud(world)).toEqual({ n: 2 });
  });

  test('of a record and operations that make another one is that of the record, which stands', async () => {
    const { world, send } = await stranger();
    const { operations } = increment('n');
    send({ operations, data: { n: 5 }, checksum: checksum({ n: 5 }) });
    expect(atCloud(world)).toEqual({ n: 5 });
  });
});

describe('the digest of the records that deltas make', () => {
  test('is one for a batch, and lets pass what makes these', async () => {
    const world = new World({ policy: { coalesce: false } });
    const a = new Node(world, 'a');
    a.put('x', { n: 1, text: TEXT });
    await a.link.sync();
    a.write('x', set('n', 2));
    a.write('x', increment('n'));
    await a.link.sync();
    const [first, second] = a.exchanges.map(({ batch }) => batch);
    expect([first?.digest, second?.changes.map(({ data, checksum: own }) => [data, own])]).toEqual([
      undefined,
      [
        [undefined, undefined],
        [undefined, undefined],
      ],
    ]);
    expect(second?.digest).toMatch(/^[0-9a-f]{32}$/);
    expect(statuses(a)).toEqual([['applied'], ['applied', 'applied']]);
    expect(atCloud(world)).toMatchObject({ n: 3 });
  });

  test('[I1] [I3] [S22] that differs has the records sent, which stand; what is no delta is done at once', async () => {
    const { world, a } = await diverged();
    a.put('x', { n: 5, other: 2, text: TEXT });
    a.write('y', increment('n'));
    a.put('z', { n: 1 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 3 });
    expect(statuses(a).slice(1, 3)).toEqual([
      ['needs-full', 'needs-full', 'applied'],
      ['applied', 'applied'],
    ]);
    expect(atCloud(world)).toEqual({ n: 5, other: 2, text: TEXT });
    expect(atCloud(world, 'y')).toMatchObject({ n: 2 });
    expect(a.list()).toMatchObject({ x: { n: 5, other: 2 }, y: { n: 2 }, z: { n: 1 } });
    expect(a.replica.queueStats().total).toBe(0);
  });

  test('says nothing where one of them met another write', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const a = new Node(world, 'a');
    a.put('x', { n: 1, text: TEXT });
    a.put('y', { n: 1, text: TEXT });
    await a.link.sync();
    world.sequencer.commit((commit) => writeAtCloud(commit, { ...entity, ...increment('n') }));
    a.write('x', increment('n'));
    a.write('y', increment('n'));
    await a.link.sync();
    expect(statuses(a).slice(1)).toEqual([['needs-full', 'applied'], ['merged']]);
    expect(a.list()).toMatchObject({ x: { n: 3 }, y: { n: 2 } });
  });
});

describe('half of a surrogate pair', () => {
  const half = { text: '\ud83d' };

  test('is no record and no operation, and blocks nothing', async () => {
    const { world, a } = await diverged();
    const refusal = expect.objectContaining({ code: 'invalid_data' });
    expect(() => a.put('h', half)).toThrow(refusal);
    expect(() => a.write('y', { kind: 'patch', operations: [{ op: 'unset', path: '\ud83d' }] })).toThrow(refusal);
    const strong = { ...entity, kind: 'merge-patch', patch: half } as const;
    await expect(a.access.writeStrong(strong, {}, 1_000)).rejects.toEqual(refusal);
    expect(() => world.sequencer.commit((commit) => writeAtCloud(commit, strong))).toThrow(refusal);
    expect(a.replica.queueStats().total).toBe(0);
    expect(a.errors).toEqual([]);
  });

  test('is told from what only looks like it', () => {
    const { default: policy } = new World().policies;
    expect(recordProblem({ text: '\ud83d\ude00 \\ud83d \\\\ud83d' }, policy)).toBeUndefined();
    expect(recordProblem({ text: '\\\ud83d' }, policy)).toMatchObject({ code: 'invalid_data' });
    expect(recordProblem({ '\udc00': 1 }, policy)).toMatchObject({ code: 'invalid_data' });
  });
});
