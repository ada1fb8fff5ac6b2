import { expect, test } from 'vitest';
import { failureLine } from './report.ts';
import { flat, planFor, run } from './run.ts';

/**
 * Seeds that failed once, with what they found, all nodes directly below the cloud. A seed means something as long as the
 * scripts that are made of it stay what they are: those from before there were lost clouds and dead letters are gone.
 */
const SEEDS: readonly (readonly [seed: number, found: string])[] = [
  [72, 'a write of who has seen more than the node goes into one of who has not, and loses to what was seen'],
  [2, 'a node that meets its first history forgets what the writers of its queue had seen of that'],
  [89, 'operations that are given back to a cloud that lost their record are refused'],
  [99, 'two changes that are given back share a place in the queue, and one is never sent'],
  [784, 'a row that was free before the cloud was lost is used again, though its change waits'],
  [469, 'a strong write that was begun on a lost history passes for having seen the next one'],
  [872, 'a write goes into one from before the record was deleted elsewhere'],
  [188, 'what went into a change that waits is said to be in the cloud'],
];

test.each(SEEDS)('seed %i: %s', { timeout: 30_000 }, async (seed) => {
  const plan = flat(planFor(seed, STEPS, false));
  const outcome = await run(plan);
  expect(outcome.failure && failureLine(plan, outcome)).toBeUndefined();
});

const STEPS = 200;
