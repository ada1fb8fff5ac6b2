import { expect, test } from 'vitest';
import { queueItemOf } from '../../src/sync/queue-item.ts';
import { Node, World } from './world.ts';

test('[S12] a dead letter names what went into it', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  world.refuse = ({ data }) => data?.['bad'] === true;
  a.put('y', { n: 1 });
  for (const n of [1, 2]) a.put('x', { n });
  a.put('x', { bad: true });
  a.put('z', { bad: true });
  await a.link.sync();
  const items = a.replica.listQueue('dead', 0, 10).items.map(queueItemOf);
  expect(items.map(({ changeId, covers }) => [changeId, covers])).toEqual([
    ['a:4', [[2, 3]]],
    ['a:5', undefined],
  ]);
  expect(items.map((item) => 'covers' in item)).toEqual([true, false]);
});
