import { expect, test } from 'vitest';
import { checkStaleness } from './staleness.ts';
import { story } from './story.ts';
import { byTime } from './version-order.ts';

const STRONG = { level: 'strong' } as const;
const WRITES = [
  ['ann w x 1', STRONG],
  ['ann w x 2', STRONG],
] as const;

/** The second value is there at 3,000; the read begins at 4,000. */
function rulesOf(read: string, maxStalenessMs: number | undefined, toleranceMs = 0): string[] {
  const bound = maxStalenessMs === undefined ? {} : { maxStalenessMs };
  const history = story(...WRITES, [read, { level: 'eventual', ...bound }]);
  return checkStaleness(history, byTime(history), toleranceMs).map(({ rule }) => rule);
}

test('[I6] a read of what gave way earlier than its bound allows is found', () => {
  expect(rulesOf('bob r x 1', 999)).toEqual(['staleness']);
  expect(rulesOf('bob r x -', 999)).toEqual(['staleness']);
});

test('what is within the bound, or without one, or up to date, passes', () => {
  expect(rulesOf('bob r x 1', 1_000)).toEqual([]);
  expect(rulesOf('bob r x 1', 900, 100)).toEqual([]);
  expect(rulesOf('bob r x 1', undefined)).toEqual([]);
  expect(rulesOf('bob r x 2', 0)).toEqual([]);
});

test('a value counts from when a strong reader was shown it, whoever wrote it', () => {
  const history = story('ann w x 1', ['cid r x 1', STRONG], ['bob r x -', { level: 'eventual', maxStalenessMs: 500 }]);
  expect(checkStaleness(history, byTime(history), 0)).toHaveLength(1);
  const unseen = story('ann w x 1', ['bob r x -', { level: 'eventual', maxStalenessMs: 500 }]);
  expect(checkStaleness(unseen, byTime(unseen), 0)).toEqual([]);
});
