import { describe, expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import type { Policy } from '../../src/core/policy.ts';
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
