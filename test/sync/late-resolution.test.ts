import { expect, test } from 'vitest';
import { awaitResolution } from '../../src/sync/late-resolution.ts';
import { Node, World } from './world.ts';

test('[I1] what a resolver answers in the end was seen by neither side: who goes on from its own is in conflict', async () => {
  const world = new World({
    policy: {
      conflict: 'custom',
      custom: async () => ({ winner: 'merged', resolvedData: { n: 'both' } }),
    },
  });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { n: 'begin' });
  for (const node of [a, b]) await node.link.sync();
  a.put('x', { n: 'of a' });
  b.put('x', { n: 'of b' });
  for (const node of [a, b]) await node.link.sync();
  for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
  b.put('x', { n: 'later' });
  for (const node of [b, a]) await node.link.sync();
  expect(a.read('x')).toEqual({ n: 'both' });
  expect(world.cloudStore.listConflicts({ status: 'open', after: '', limit: 10 })).toMatchObject([
    { local: { data: { n: 'both' } }, remote: { data: { n: 'later' } } },
  ]);
});
