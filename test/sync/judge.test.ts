import { describe, expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import type { Policy } from '../../src/core/policy.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { batch } from '../../src/protocol/messages.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const nodeId = made(toNodeId('b'));

/** A cloud that has `x` of node `a`, and a session of `b`, which has heard of nothing since. */
async function session(policy: Partial<Policy>, capabilities: string[] = []) {
  const world = new World({ policy });
  const a = new Node(world, 'a');
  a.put('x', { n: 1 });
  await a.link.sync();
  const { sessionId } = world.responder.connect({ nodeId, protocol: 1, capabilities });
  const send = (changes: object[], extra: object = {}) => {
    const header = { batchId: 'b1', sourceNodeId: nodeId, targetNodeId: 'cloud', cursor: 1 };
    return world.responder.exchange(sessionId, batch.parse({ ...header, changes, ...extra }), { relay: false }).results;
  };
  return { world, a, send };
}

function change(counter: number, content: object, id = 'x') {
  const header = { id: `b:${counter}`, nodeId, entityType: TYPE, entityId: entityId(id), operation: 'update' };
  return { ...header, base: { cloud: 1 }, stamp: '0000000000ff-0000-b', timestamp: 1, ...content };
}

const conflicts = (world: World) => world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });

test('a whole record behind a delta that has to be sent once more waits for it; those of others do not', async () => {
  const { world, send } = await session({});
  const delta = change(1, { operations: [{ op: 'increment', path: 'n', value: 1 }] });
  const changes = [delta, change(2, { data: { n: 9 } }), change(3, { data: { n: 9 } }, 'y')];
  const results = send(changes, { digest: 'f'.repeat(32) });
  expect(results.map(({ status }) => status)).toEqual(['needs-full', 'needs-full', 'applied']);
  expect(world.cloudStore.readNode(nodeId)?.received).toEqual({ upTo: 0, extra: [[3, 3]] });
});

describe('where the policy leaves conflicts to the node that pushed', () => {
  async function push(...capabilities: string[]) {
    const { world, a, send } = await session({ conflict: 'custom', custom: 'node' }, capabilities);
    a.put('x', { n: 2 });
    await a.link.sync();
    return { world, results: send([change(1, { data: { n: 3 } })]) };
  }

  test('one that resolves conflicts is asked', async () => {
    const { results } = await push('conflict-resolution');
    expect(results).toMatchObject([{ status: 'conflict', data: { n: 2 } }]);
  });

  test('[I1] one that does not is told that people decide', async () => {
    const { world, results } = await push();
    expect(results).toMatchObject([{ status: 'superseded' }]);
    expect(conflicts(world)).toMatchObject([{ status: 'open', local: { data: { n: 2 } }, remote: { data: { n: 3 } } }]);
  });
});

test('[I1] a record that is renamed gets an id that is free, also where the first one is taken', async () => {
  const { world, a, send } = await session({ onCreate: 'rename' });
  a.put('x~b', { by: 'a' });
  await a.link.sync();
  const results = send([change(7, { operation: 'create', base: {}, data: { by: 'b' } })]);
  expect(results).toMatchObject([{ status: 'renamed', entityId: 'x~b:7' }]);
  await a.link.sync();
  expect(a.list()).toEqual({ x: { n: 1 }, 'x~b': { by: 'a' }, 'x~b:7': { by: 'b' } });
  expect(conflicts(world)).toMatchObject([{ type: 'create-create', entityId: 'x' }]);
});

test('[S16] a strong write that comes too late for a record that got another id is not taken for done', async () => {
  const { send } = await session({ onCreate: 'rename' });
  send([change(7, { operation: 'create', base: {}, data: { by: 'b' } })]);
  send([], { batchId: 'b2', void: [[8, 8]] });
  const late = change(8, { operation: 'delete', base: { b: 7 }, consistency: 'strong' });
  expect(send([late], { batchId: 'b3' })).toEqual([{ id: 'b:8', status: 'duplicate' }]);
});

test('[I5] behind a change that has to be sent once more all that its node wrote later waits, if the node can order it', async () => {
  const { world, send } = await session({}, ['causal-order']);
  const delta = change(2, { operations: [{ op: 'increment', path: 'n', value: 1 }] });
  const before = change(1, { data: { n: 1 } }, 'y');
  const after = change(3, { data: { n: 9 } }, 'z');
  expect(send([before, delta, after], { digest: 'f'.repeat(32) })).toMatchObject([
    { status: 'applied' },
    { status: 'needs-full' },
    { status: 'deferred' },
  ]);
  expect(world.cloudStore.readNode(nodeId)?.received).toEqual({ upTo: 1, extra: [] });
  expect(send([{ ...delta, data: { n: 2 } }, after], { batchId: 'b2' })).toMatchObject([
    { status: 'applied', seq: 3 },
    { status: 'applied', seq: 4 },
  ]);
});

test('[I11] a change that comes once more for the id that its record has got since is no fork', async () => {
  const { send } = await session({ onCreate: 'rename' });
  const update = change(8, { base: { b: 7 }, data: { by: 'b', again: true } });
  send([change(7, { operation: 'create', base: {}, data: { by: 'b' } }), update]);
  const moved = { ...update, entityId: entityId('x~b') };
  expect(send([moved], { batchId: 'b2' })).toEqual([{ id: 'b:8', status: 'duplicate' }]);
  const other = { ...moved, data: { by: 'b', again: false } };
  expect(() => send([other], { batchId: 'b3' })).toThrow(expect.objectContaining({ code: 'node_forked' }));
});

test('[S18] a record that a former life of the node made, and that got another id, is not what the next one means', async () => {
  const { send } = await session({ onCreate: 'rename' });
  send([change(7, { operation: 'create', base: {}, data: { life: 1 } })]);
  const again = change(8, { operation: 'create', base: { b: 7 }, ownFrom: 8, data: { life: 2 } });
  expect(send([again], { batchId: 'b2' })).toMatchObject([{ status: 'renamed', entityId: 'x~b:8' }]);
});

test('[S3] a change that names a conflict of another one is no answer to it', async () => {
  const { world, a, send } = await session({ conflict: 'custom', custom: 'node' }, ['conflict-resolution']);
  a.put('x', { n: 2 });
  await a.link.sync();
  const [asked] = send([change(1, { data: { n: 3 } })]);
  const resolves = { conflictId: asked?.conflictId, attempts: 1, reason: 'b says so' };
  const base = { cloud: 2 };
  // What it writes is a write as any other, and the conflict waits for the node that was asked.
  const [other] = send([change(2, { data: { n: 9 }, base, resolves })], { batchId: 'b2' });
  expect(other).toMatchObject({ status: 'applied', seq: 3 });
  expect(conflicts(world)).toMatchObject([{ status: 'open', remote: { version: 'b:1' }, local: { data: { n: 2 } } }]);
  const [answer] = send([change(1, { data: { n: 5 }, base: { cloud: 3 }, resolves })], { batchId: 'b3' });
  expect(answer).toMatchObject({ status: 'applied', seq: 4 });
  expect(conflicts(world)).toMatchObject([{ status: 'resolved', resolution: { resolvedData: { n: 5 } } }]);
  // Of one that is decided neither.
  const [late] = send([change(3, { data: { n: 7 }, base: { cloud: 4 }, resolves })], { batchId: 'b4' });
  expect(late).toMatchObject({ status: 'applied', seq: 5 });
});

describe('[S17] a dot that is older than those that are remembered by hash', () => {
  /** `b` has made `old`, and after it more than the cloud remembers. */
  async function longAgo(first: object) {
    const { world, send } = await session({});
    send([change(1, { ...first, base: {} }, 'old')]);
    const later = Array.from({ length: LIMITS.dotHashes }, (_, index) =>
      change(index + 2, { operation: 'create', base: {}, data: {} }, `e${index}`),
    );
    for (let sent = 0; sent < later.length; sent += LIMITS.batchChanges) {
      send(later.slice(sent, sent + LIMITS.batchChanges), { batchId: `later${sent}` });
    }
    expect(world.cloudStore.readNode(nodeId)?.hashes.some(([counter]) => counter === 1)).toBe(false);
    return send;
  }
  const created = { operation: 'create', data: { n: 1 } };
  const deleted = { operation: 'delete' };

  test.each([
    ['a delete', 'a record', deleted, created],
    ['a record', 'a delete', created, deleted],
  ])('[I9] is of a fork, where it is %s, and the version by its name is %s', async (_, __, again, first) => {
    const send = await longAgo(first);
    const forked = () => send([change(1, { ...again, base: {} }, 'old')], { batchId: 'again' });
    expect(forked).toThrow(expect.objectContaining({ code: 'node_forked' }));
  });

  test.each([
    ['the same', 'old', created],
    ['a record too', 'old', { ...created, data: { n: 2 } }],
    ['of another record', 'other', deleted],
  ])('[I2] is a duplicate, where it is %s, or nobody could tell', async (_, id, again) => {
    const send = await longAgo(created);
    const results = send([change(1, { ...again, base: {} }, id)], { batchId: 'again' });
    expect(results).toEqual([{ id: 'b:1', status: 'duplicate' }]);
  });

  test('[I2] is a duplicate, where the record is another version by now', async () => {
    const send = await longAgo(created);
    send([change(LIMITS.dotHashes + 2, { data: { n: 9 }, base: { b: 1 } }, 'old')], { batchId: 'next' });
    const results = send([change(1, { ...deleted, base: {} }, 'old')], { batchId: 'again' });
    expect(results).toEqual([{ id: 'b:1', status: 'duplicate' }]);
  });
});
