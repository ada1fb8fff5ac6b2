import { expect, test } from 'vitest';
import { withoutDedupe } from './planted/stores.ts';
import { planFor, run } from './run.ts';
import { shrink } from './shrink.ts';

const settings = { plant: { cloudStore: withoutDedupe } };

test('a failure is shrunk to a few steps that break the same rule, and can be played again', async () => {
  const failing = planFor(1, 200);
  const { failure } = await run(failing, settings);
  const { plan, outcome } = await shrink(failing, settings);
  expect(outcome.failure?.rule).toBe(failure?.rule);
  expect(plan.script.length).toBeLessThan(10);
  const again = await run(plan, settings);
  expect(again.trace).toEqual(outcome.trace);
});

test('a run that does not fail is left as it is', async () => {
  const plan = planFor(1, 20);
  expect(await shrink(plan)).toMatchObject({ plan, tries: 0, outcome: { failure: undefined } });
});
