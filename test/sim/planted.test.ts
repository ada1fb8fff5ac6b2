import { expect, test } from 'vitest';
import { checkLinearizability } from '../history/linearizability.ts';
import { withUnseenWriters } from './checkers/strong-history.ts';
import {
  forgettingWhatWaits,
  goingIntoWhatHasLeft,
  overtakingByPriority,
  reusingSlotsEarly,
  servingHere,
  writingOneByOne,
} from './planted/queues.ts';
import {
  claimingToHaveAll,
  declaringAllVoid,
  hidingNews,
  takingRetriesForNew,
  toOtherSpace,
} from './planted/routes.ts';
import {
  acknowledgingEarly,
  storingCursorFirst,
  withFieldsSeenByAll,
  withoutDedupe,
  withoutFieldStamps,
  withoutReports,
  withoutStamps,
  withoutTombstones,
} from './planted/stores.ts';
import { flat, planFor, run } from './run.ts';
import type { Rule } from './violation.ts';
import type { Plant } from './world.ts';

const FEW_SEEDS = 200;
/** For what takes two that set one field of one record that is merged. */
const MORE_SEEDS = 80;
const STEPS = 200;

/** Each with the rule that breaks first where all nodes are directly below the cloud. */
const PLANTS: readonly (readonly [bug: string, rule: Rule, plant: Plant, seeds?: number])[] = [
  ['no dedupe', 'I2', { cloudStore: withoutDedupe }],
  ['acknowledged before it is on the disk', 'I1', { replicaStore: acknowledgingEarly }],
  ['a cursor stored before its page', 'I4', { replicaStore: storingCursorFirst }],
  ['a transaction taken for several writes', 'I8', { engine: writingOneByOne }],
  ['the last to arrive wins', 'I3', { cloudStore: withoutStamps }],
  ['of two that set one field the last to arrive wins', 'I3', { cloudStore: withoutFieldStamps }, MORE_SEEDS],
  ['a merge takes all fields for seen', 'I3', { cloudStore: withFieldsSeenByAll }, MORE_SEEDS],
  ['an increment applied again on a retry', 'I2', { route: takingRetriesForNew }],
  ['a tombstone dropped early', 'I12', { cloudStore: withoutTombstones }],
  ['the tenant filter gone', 'I9', { route: toOtherSpace }],
  ['a cloud that claims to have what it has not', 'I6', { route: claimingToHaveAll }],
  ['a cloud that hides what is new', 'S45', { route: hidingNews }],
  ['a change that went into one that had left', 'I2', { engine: goingIntoWhatHasLeft }],
  ['a slot used again early', 'I1', { engine: reusingSlotsEarly }],
  ['what presses before earlier changes of its entity', 'I5', { engine: overtakingByPriority }],
  ['a node that sleeps though something waits', 'I11', { engine: forgettingWhatWaits }],
  ['a cloud that forgets what is dead at a node', 'S35', { cloudStore: withoutReports }],
  ['a causal read that does not wait', 'I6', { engine: servingHere('causal', 'session') }],
  ['a strong read that is served here', 'I7', { engine: servingHere('strong') }],
  ['a void counter that waits', 'I1', { route: declaringAllVoid }],
];

test('[I7] what clients were shown, and nothing else, tells of strong reads that are served here', {
  timeout: 60_000,
}, async () => {
  for (let seed = 1; seed <= FEW_SEEDS; seed += 1) {
    const { strong } = await run(flat(planFor(seed, STEPS)), { plant: { engine: servingHere('strong') } });
    const found = strong.flatMap((operations) => checkLinearizability(withUnseenWriters(operations), 20_000).anomalies);
    if (found.length > 0) return;
  }
  expect.unreachable(`no run of ${FEW_SEEDS} showed it`);
});

for (const [bug, rule, plant, seeds = FEW_SEEDS] of PLANTS) {
  test(`the simulator finds ${bug}: [${rule}]`, { timeout: 60_000 }, async () => {
    for (let seed = 1; seed <= seeds; seed += 1) {
      const { failure } = await run(flat(planFor(seed, STEPS, rule === 'I8')), { plant });
      if (failure === undefined) continue;
      expect(failure.rule, failure.message).toBe(rule);
      return;
    }
    expect.unreachable(`no run of ${seeds} failed`);
  });
}
