import { expect, test } from 'vitest';
import { failureLine } from './report.ts';
import { planFor, run } from './run.ts';

/** Seeds that failed once, with what they found; those of a known gap pass because it is known (`gaps.ts`). */
const SEEDS: readonly (readonly [seed: number, found: string])[] = [
  [9, 'a strong write goes before what its writer had written before (overtaken cause)'],
  [15324, 'a reader elsewhere sees a strong write, and not what its writer had seen (overtaken cause)'],
  [49, 'a token names counters of a new life, and passes for having seen those of the former one (former life)'],
  [77, 'a node that lost its disk overwrites what it had written before, without a record (former life)'],
  [341, 'a late batch of a former life makes a counter of the new one void (former life)'],
  [735, 'a node that lost its disk takes a token of its former life for covered (former life)'],
  [1415, 'a late batch of a former life forks the node for good (former life)'],
  [5785, 'a node that never asked after it lost its disk serves a session nothing (former life)'],
  [760, 'a token passes for having seen a strong write that nobody saw (strong under way)'],
  [865, 'a local write overwrites a strong one that was under way, without a record (strong under way)'],
  [7405, 'a strong write is acknowledged, and its token does not cover it (strong before the head)'],
  [1232, 'a strong delete of what is deleted has no version of its own'],
  [3689, 'a space in which nothing ever happened is at rest'],
  [6899, 'a counter that a crash kept from the disk is given out again, and rightly so'],
];

test.each(SEEDS)('seed %i: %s', { timeout: 30_000 }, async (seed) => {
  const plan = planFor(seed, STEPS);
  const outcome = await run(plan);
  expect(outcome.failure && failureLine(plan, outcome)).toBeUndefined();
});

const STEPS = 200;
