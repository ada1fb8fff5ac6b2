import { expect, test } from 'vitest';
import { claimingToHaveAll, hidingNews, takingRetriesForNew, toOtherSpace } from './planted/routes.ts';
import {
  acknowledgingEarly,
  storingCursorFirst,
  withoutDedupe,
  withoutStamps,
  withoutTombstones,
} from './planted/stores.ts';
import { planFor, run } from './run.ts';
import type { Rule } from './violation.ts';
import type { Plant } from './world.ts';

/** Each with the rule that breaks first. */
const PLANTS: readonly (readonly [bug: string, rule: Rule, plant: Plant])[] = [
  ['no dedupe', 'I2', { cloudStore: withoutDedupe }],
  ['acknowledged before it is on the disk', 'I1', { replicaStore: acknowledgingEarly }],
  ['a cursor stored before its page', 'I4', { replicaStore: storingCursorFirst }],
  ['the last to arrive wins', 'I3', { cloudStore: withoutStamps }],
  ['an increment applied again on a retry', 'I2', { route: takingRetriesForNew }],
  ['a tombstone dropped early', 'I12', { cloudStore: withoutTombstones }],
  ['the tenant filter gone', 'I9', { route: toOtherSpace }],
  ['a cloud that claims to have what it has not', 'I6', { route: claimingToHaveAll }],
  ['a cloud that hides what is new', 'I6', { route: hidingNews }],
];

test.each(PLANTS)('the simulator finds %s: [%s]', { timeout: 60_000 }, async (_, rule, plant) => {
  for (let seed = 1; seed <= FEW_SEEDS; seed += 1) {
    const { failure } = await run(planFor(seed, STEPS), { plant });
    if (failure === undefined) continue;
    expect(failure.rule, failure.message).toBe(rule);
    return;
  }
  expect.unreachable(`no run of ${FEW_SEEDS} failed`);
});

const FEW_SEEDS = 40;
const STEPS = 200;
