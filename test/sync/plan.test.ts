import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  debounceMs,
  EFFECTIVE_TYPES,
  leastOf,
  measure,
  type NetworkReport,
  planFor,
  UNMEASURED,
} from '../../src/sync/plan.ts';

const measured = (...rtts: (number | null)[]) => rtts.reduce(measure, UNMEASURED);
const strategyOf = (report: NetworkReport, quality = UNMEASURED) => planFor(report, quality).strategy;

describe('what callers say of the link', () => {
  test('good: everything, 100 at a time, at once', () => {
    for (const report of [{}, { effectiveType: '4g' }, { rttMs: 50, saveData: false }, { downlinkMbps: 10 }] as const) {
      const plan = planFor(report, UNMEASURED);
      expect(plan).toMatchObject({ strategy: 'full', batchSize: 100 });
      expect(debounceMs(plan)).toBe(0);
      expect(leastOf(plan)).toBe('normal');
    }
  });

  test('limited: what presses first, 50 at a time, a second after the first', () => {
    for (const report of [{ effectiveType: '3g' }, { rttMs: 270 }, { downlinkMbps: 0.5 }] as const) {
      const plan = planFor(report, UNMEASURED);
      expect(plan).toMatchObject({ strategy: 'priority', batchSize: 50 });
      expect(debounceMs(plan)).toBe(1_000);
      expect(leastOf(plan)).toBe('normal');
    }
  });

  test('[S14] poor: only what is critical, 10 at a time', () => {
    const reports = [
      { effectiveType: '2g' },
      { effectiveType: 'slow-2g' },
      { saveData: true },
      { rttMs: 1_400 },
    ] as const;
    for (const report of [...reports, { effectiveType: '4g', saveData: true }, { downlinkMbps: 0.05 }] as const) {
      const plan = planFor(report, UNMEASURED);
      expect(plan).toMatchObject({ strategy: 'critical', batchSize: 10 });
      expect(leastOf(plan)).toBe('critical');
    }
  });

  test('the worst of it counts, and the reason says which', () => {
    expect(planFor({ effectiveType: '2g', rttMs: 20 }, UNMEASURED).reason).toContain('2g');
    expect(planFor({ effectiveType: '4g', saveData: true }, UNMEASURED).reason).toContain('saves data');
    expect(planFor({ effectiveType: '4g' }, measured(900, 900)).reason).toContain('900 ms');
  });
});

describe('what is measured', () => {
  test('slow round trips and failures limit the plan, and never hold anything back', () => {
    expect(strategyOf({}, measured(20, 20, 20))).toBe('full');
    expect(strategyOf({}, measured(300))).toBe('priority');
    expect(strategyOf({}, measured(20, null))).toBe('full');
    expect(strategyOf({}, measured(20, null, null))).toBe('priority');
    const rtt = fc.option(fc.integer({ min: 0, max: 60_000 }), { nil: null });
    fc.assert(
      fc.property(fc.array(rtt), (rtts) => {
        expect(strategyOf({}, measured(...rtts))).not.toBe('critical');
      }),
    );
  });

  test('one good exchange is no better link: the plan follows the third', () => {
    const slow = measured(...Array.from({ length: 10 }, () => null));
    const grownBy = (count: number) => Array.from({ length: count }, () => 10).reduce(measure, slow);
    const risen = [1, 2, 3, 4, 5, 6, 7, 8].map((count) => strategyOf({}, grownBy(count)));
    expect(risen.indexOf('full')).toBeGreaterThanOrEqual(3);
    expect(risen.at(-1)).toBe('full');
    expect(strategyOf({}, measure(measure(grownBy(8), null), null))).toBe('priority');
  });

  test('a plan does not swing with every exchange', () => {
    const swinging = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? 100 : 600));
    const strategies = swinging.map((_, index) => strategyOf({}, measured(...swinging.slice(0, index + 1))));
    const changes = strategies.filter((strategy, index) => index > 0 && strategy !== strategies[index - 1]).length;
    expect(changes).toBeLessThanOrEqual(2);
  });

  test('every report and quality has a plan', () => {
    fc.assert(
      fc.property(
        fc.option(fc.constantFrom(...EFFECTIVE_TYPES), { nil: undefined }),
        fc.boolean(),
        (effectiveType, saveData) => {
          expect(planFor({ effectiveType, saveData }, UNMEASURED).reason).not.toBe('');
        },
      ),
    );
  });
});
