import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { clockIn, clockOfAll, isOfOther } from '../../src/core/causal-context.ts';

const clock = fc.record({ cloud: fc.nat(), n1: fc.nat(), n2: fc.nat() }, { requiredKeys: [] });
const epoch = fc.constantFrom('e1', 'e2');

describe('[I6] what somebody has seen', () => {
  test('is in its own history, and in one that is not known, what it is', () => {
    fc.assert(
      fc.property(clock, epoch, (seen, own) => {
        for (const history of [own, null, undefined]) expect(clockIn({ epoch: own, clock: seen }, history)).toBe(seen);
        expect(clockIn({ clock: seen }, own)).toBe(seen);
      }),
    );
  });

  test('is in another one what nodes wrote, by their counters', () => {
    fc.assert(
      fc.property(clock, (seen) => {
        const { cloud: _, ...nodes } = seen;
        expect(isOfOther({ epoch: 'e1', clock: seen }, 'e2')).toBe(true);
        expect(clockIn({ epoch: 'e1', clock: seen }, 'e2')).toEqual(nodes);
      }),
    );
  });

  test('is of several the larger number of each', () => {
    const contexts = [
      { epoch: 'e1', clock: { cloud: 9, n1: 1 } },
      { epoch: 'e2', clock: { cloud: 2, n1: 3, n2: 1 } },
      {},
    ];
    expect(clockOfAll(contexts, 'e2')).toEqual({ cloud: 2, n1: 3, n2: 1 });
  });
});
