import { expect, test } from 'vitest';
import { LIMITS } from '../../src/protocol/limits.ts';
import { tries } from '../../src/sync/within.ts';

/** What is left at each try, where each takes as long, and pauses what they are. */
async function leftAtTries(waitMs: number, eachMs: number): Promise<number[]> {
  let nowMs = 1_000_000;
  const sleep = async (ms: number) => {
    nowMs += ms;
  };
  const left: number[] = [];
  for await (const leftMs of tries({ nowMs: () => nowMs, sleep }, waitMs)) {
    left.push(leftMs);
    nowMs += eachMs;
  }
  return left;
}

test('[S45] [I10] what is tried until it is so is tried less and less often, and no longer than its caller waits', async () => {
  expect(await leftAtTries(5_000, 10)).toEqual([5_000, 4_940, 4_830, 4_620, 4_210, 3_400, 2_390, 1_380, 370]);
  expect(await leftAtTries(1_000, 2_000)).toEqual([1_000]);
});

test('[S45] one question is asked however short its caller waits, and gets some time', async () => {
  expect(await leftAtTries(0, 10)).toEqual([LIMITS.askMs]);
  expect(await leftAtTries(100, 10)).toEqual([LIMITS.askMs, 40]);
});
