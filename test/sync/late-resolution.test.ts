import { expect, test } from 'vitest';
import type { Policy } from '../../src/core/policy.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
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

const conflicts = (world: World) => world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });

/** `a` and `b` have written `x`, `a` first, and neither had seen the other. */
async function disputed(custom: Policy['custom'], onNode?: Resolver) {
  const world = new World({ policy: { conflict: 'custom', custom } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  b.resolve = onNode;
  a.put('x', { n: 'begin' });
  for (const node of [a, b]) await node.link.sync();
  a.put('x', { n: 'of a' });
  b.put('x', { n: 'of b' });
  for (const node of [a, b]) await node.link.sync();
  return { world, a };
}

const both: Resolver = () => ({ winner: 'merged', resolvedData: { n: 'both' } });
const rejects = () => Promise.reject(new Error('not today'));
const never = () => new Promise<never>(() => undefined);
const nonsense = async () => ({ winner: 'nobody' }) as never;
const large: Resolver = async () => ({ winner: 'merged', resolvedData: { big: 'x'.repeat(300_000) } });

test.each<[string, Resolver, RegExp]>([
  ['rejects', rejects, /^the resolver failed: not today$/],
  ['takes too long', never, /^the resolver took longer than 5 s$/],
  ['answers nonsense', nonsense, /^the resolver's answer is no resolution$/],
  ['answers what may not be stored', large, /^what 'custom' made of the two may not be stored: /],
])(
  '[S3] [S4] a conflict is open, with the reason, where a resolver in the cloud %s in the end',
  async (_, custom, why) => {
    const { world, a } = await disputed(custom);
    const atOnce = { ...world.clock, sleep: later };
    for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, atOnce);
    await a.link.sync();
    expect(a.read('x')).toEqual({ n: 'of a' });
    const metadata = { strategy: 'manual', reason: expect.stringMatching(why) };
    expect(conflicts(world)).toMatchObject([{ status: 'open', resolution: { winner: 'local', metadata } }]);
  },
);

test('[S3] [S4] so it is where the record had moved on before the answer', async () => {
  const { world, a } = await disputed(async (conflict) => both(conflict));
  a.put('x', { n: 'later' });
  await a.link.sync();
  for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
  expect(a.read('x')).toEqual({ n: 'later' });
  const metadata = { strategy: 'manual', reason: 'the record had moved on before the resolver answered' };
  expect(conflicts(world)).toMatchObject([{ status: 'open', resolution: { metadata } }]);
});

test('[S3] an answer to a conflict that somebody has decided changes nothing', async () => {
  const { world } = await disputed(rejects);
  const [{ id } = { id: '' }] = conflicts(world);
  const decided = world.sequencer.commit((commit) => resolveConflict(commit, id, { winner: 'remote' }, 'ada'));
  for (const awaited of world.awaited) await awaitResolution(world.sequencer, awaited, world.clock);
  expect(conflicts(world)).toEqual([decided]);
});

test.each<[string, Resolver | undefined, RegExp]>([
  ['has no resolver', undefined, /^at the node that pushed, there is no resolver$/],
  [
    'has one that throws',
    () => {
      throw new Error('not here');
    },
    /^at the node that pushed, the resolver failed: not here$/,
  ],
  ['has one that rejects', rejects, /^at the node that pushed, the resolver failed: not today$/],
  ['has one that answers nonsense', nonsense, /^at the node that pushed, the resolver's answer is no resolution$/],
  ['has one that answers what may not be stored', large, /^at the node that pushed, what .* may not be stored: /],
])('[S3] [S4] so it is where the node that is asked %s', async (_, onNode, why) => {
  const { world, a } = await disputed('node', onNode);
  expect(a.read('x')).toEqual({ n: 'of a' });
  const metadata = { strategy: 'manual', reason: expect.stringMatching(why) };
  expect(conflicts(world)).toMatchObject([
    { status: 'open', remote: { data: { n: 'of b' } }, resolution: { winner: 'local', metadata } },
  ]);
});

test('[S3] [S4] and where others were always faster than the node that is asked', async () => {
  const world = new World({ policy: { conflict: 'custom', custom: 'node' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  b.resolve = async (conflict) => {
    world.nowMs += 1;
    a.put('x', { n: world.nowMs });
    await a.link.sync();
    return both(conflict);
  };
  a.put('x', { n: 'begin' });
  for (const node of [a, b]) await node.link.sync();
  a.put('x', { n: 'of a' });
  b.put('x', { n: 'of b' });
  for (const node of [a, b]) await node.link.sync();
  const metadata = { reason: 'the node that pushed answered 3 times, and others were faster' };
  expect(conflicts(world)).toMatchObject([{ status: 'open', resolution: { metadata } }]);
});

/** Ends when all that can happen at once has happened. */
function later(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
