import { describe, expect, test } from 'vitest';
import { resolveConflict } from '../../src/sync/inbox.ts';
import { Node, World } from './world.ts';

/** Two sides of a conflict that `a` was asked to resolve, and whose answer the cloud refused. */
async function began() {
  const world = new World({ policy: { conflict: 'custom', custom: 'node' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 0 });
  for (const node of [a, b]) await node.link.sync();
  b.put('x', { n: 1 });
  await b.link.sync();
  const id = a.put('x', { n: 2 });
  a.resolve = () => ({ winner: 'merged', resolvedData: { n: 3, both: true } });
  world.refuse = ({ data }) => data?.['both'] === true;
  await a.link.sync();
  expect(a.replica.fateOf(id)).toMatchObject({ code: 'invalid_data' });
  world.refuse = () => false;
  const conflicts = () => world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });
  return { world, a, b, id, conflicts };
}

describe('the answer of a node to a conflict, that was refused and is sent again', () => {
  test('[S12] answers the conflict', async () => {
    const { a, id, conflicts } = await began();
    a.replica.retryDead(id);
    await a.link.sync();
    expect(a.read('x')).toEqual({ n: 3, both: true });
    expect(conflicts()).toMatchObject([
      {
        local: { data: { n: 1 } },
        remote: { version: id, data: { n: 2 } },
        status: 'resolved',
        resolution: { winner: 'merged', resolvedData: { n: 3, both: true } },
      },
    ]);
  });

  test('[S12] does so with another record too', async () => {
    const { a, id, conflicts } = await began();
    a.replica.retryDead(id, { n: 9 });
    await a.link.sync();
    expect(conflicts()).toMatchObject([{ status: 'resolved', resolution: { resolvedData: { n: 9 } } }]);
    expect(conflicts()[0]?.resolution.metadata.reason).toContain('in the place of');
  });

  test('[I1] [S12] is a write as any other where somebody else has decided meanwhile', async () => {
    const { world, a, b, id, conflicts } = await began();
    const [{ id: conflictId } = { id: '' }] = conflicts();
    world.sequencer.commit((commit) => resolveConflict(commit, conflictId, { data: { n: 4 } }, 'ada'));
    a.resolve = () => ({ winner: 'merged', resolvedData: { n: 5 } });
    a.replica.retryDead(id, { n: 9 });
    for (const node of [a, b]) await node.link.sync();
    expect(conflicts()).toMatchObject([
      { decidedBy: 'ada', resolution: { resolvedData: { n: 4 } } },
      { local: { data: { n: 4 } }, remote: { data: { n: 9 } }, status: 'resolved' },
    ]);
    expect(b.read('x')).toEqual({ n: 5 });
  });
});
