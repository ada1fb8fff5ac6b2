import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  EFFECTIVE_TYPES,
  leastAtOnce,
  leastOf,
  measure,
  type NetworkReport,
  planFor,
  reportOf,
  UNMEASURED,
} from '../../src/sync/plan.ts';

/** Of the plans, from good to poor. */
const BATCHES = [100, 50, 10];
/** Mostly quick ones: a link that is never good rises never. */
const anyRtts = fc.array(
  fc.oneof(
    { arbitrary: fc.integer({ min: 0, max: 200 }), weight: 8 },
    { arbitrary: fc.integer({ min: 0, max: 2_000 }), weight: 1 },
    { arbitrary: fc.constant(null), weight: 1 },
  ),
  { maxLength: 60, size: 'max' },
);
const anyReport = fc.record(
  {
    effectiveType: fc.constantFrom(...EFFECTIVE_TYPES),
    saveData: fc.boolean(),
    rttMs: fc.integer({ min: 0, max: 5_000 }),
    downlinkMbps: fc.float({ min: 0, max: 2, noNaN: true }),
  },
  { requiredKeys: [] },
);

const measured = (...rtts: (number | null)[]) => rtts.reduce(measure, UNMEASURED);
const strategyOf = (report: NetworkReport, quality = UNMEASURED) => planFor(report, quality).strategy;

describe('what callers say of the link', () => {
  test('good: everything, 100 at a time, at once', () => {
    for (const report of [{}, { effectiveType: '4g' }, { rttMs: 50, saveData: false }, { downlinkMbps: 10 }] as const) {
      const plan = planFor(report, UNMEASURED);
      expect(plan).toMatchObject({ strategy: 'full', batchSize: 100 });
      expect(leastAtOnce(plan)).toBe('normal');
      expect(leastOf(plan)).toBe('normal');
    }
  });

  test('[S29] limited: what presses first, 50 at a time; only what is critical waits for nothing', () => {
    for (const report of [{ effectiveType: '3g' }, { rttMs: 270 }, { downlinkMbps: 0.5 }] as const) {
      const plan = planFor(report, UNMEASURED);
      expect(plan).toMatchObject({ strategy: 'priority', batchSize: 50 });
      expect(leastAtOnce(plan)).toBe('critical');
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
      expect(leastAtOnce(plan)).toBe('critical');
    }
  });

  test('the worst of it counts, and the reason says which', () => {
    expect(planFor({ effectiveType: '2g', rttMs: 20 }, UNMEASURED).reason).toContain('2g');
    expect(planFor({ effectiveType: '4g', saveData: true }, UNMEASURED).reason).toContain('saves data');
    expect(planFor({ effectiveType: '4g' }, measured(900, 900)).reason).toContain('900 ms');
  });

  test('the worst of it counts, whatever else is said and measured', () => {
    const severity = (said: NetworkReport, quality = UNMEASURED) => BATCHES.indexOf(planFor(said, quality).batchSize);
    fc.assert(
      fc.property(anyReport, anyRtts, (said, rtts) => {
        const parts = [
          ...Object.entries(said).map(([name, value]) => severity({ [name]: value })),
          severity({}, measured(...rtts)),
        ];
        expect(severity(said, measured(...rtts))).toBe(Math.max(...parts));
      }),
    );
  });
});

describe('[S30] hints', () => {
  test('add to what was said on purpose, and never take its place', () => {
    fc.assert(
      fc.property(anyReport, anyReport, (said, hinted) => {
        expect(reportOf(said, hinted)).toMatchObject(said);
        expect(reportOf({}, hinted)).toEqual({ saveData: undefined, ...hinted });
      }),
    );
  });

  test('of round trips and downlink give way to a type that was said: it is made of these', () => {
    const hinted: NetworkReport = { effectiveType: 'slow-2g', rttMs: 3_000, downlinkMbps: 0.01 };
    expect(strategyOf(reportOf({ effectiveType: '4g' }, hinted))).toBe('full');
    expect(strategyOf(reportOf({ effectiveType: '4g' }, { ...hinted, saveData: true }))).toBe('critical');
    expect(strategyOf(reportOf({ effectiveType: '4g', saveData: false }, { ...hinted, saveData: true }))).toBe('full');
    expect(reportOf({ rttMs: 20 }, hinted)).toEqual({ ...hinted, rttMs: 20 });
  });
});

describe('what is measured', () => {
  test('slow round trips and failures limit the plan, and never hold anything back', () => {
    expect(strategyOf({}, measured(20, 20, 20))).toBe('full');
    expect(strategyOf({}, measured(300))).toBe('priority');
    expect(strategyOf({}, measured(20, null))).toBe('full');
    expect(strategyOf({}, measured(20, null, null))).toBe('priority');
    fc.assert(
      fc.property(anyRtts, (rtts) => {
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

  test('an exchange that failed is not better, and the count begins anew behind it', () => {
    const rising = measured(2_000, ...Array.from({ length: 8 }, () => 10));
    expect(rising).toMatchObject({ grade: 'limited', better: 1 });
    const grades = [null, 10, 10, 10].map((_, index, rtts) => rtts.slice(0, index + 1).reduce(measure, rising).grade);
    expect(grades).toEqual(['limited', 'limited', 'limited', 'good']);
  });

  test('a plan does not swing with every exchange', () => {
    const swinging = Array.from({ length: 200 }, (_, index) => (index % 2 === 0 ? 100 : 600));
    const strategies = swinging.map((_, index) => strategyOf({}, measured(...swinging.slice(0, index + 1))));
    const changes = strategies.filter((strategy, index) => index > 0 && strategy !== strategies[index - 1]).length;
    expect(changes).toBeLessThanOrEqual(2);
  });

  test('the grade falls at once, and rises only by the third in a row that is better', () => {
    let rises = 0;
    fc.assert(
      fc.property(anyRtts, (rtts) => {
        const grades = rtts.map((_, index) => measured(...rtts.slice(0, index + 1)).grade);
        const risen = grades.findIndex((grade, index) => index > 0 && grade === 'good' && grades[index - 1] !== grade);
        if (risen === -1) return;
        rises += 1;
        // Whatever came before, it was limited for the two measurements before, and none of the three failed.
        expect(grades.slice(Math.max(0, risen - 3), risen)).toEqual(['limited', 'limited', 'limited']);
        expect(rtts.slice(risen - 2, risen + 1)).not.toContain(null);
      }),
    );
    expect(rises).toBeGreaterThan(10);
  });
});
