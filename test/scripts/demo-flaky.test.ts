import { describe, expect, test } from 'vitest';
import { readHours } from '../../scripts/demo/dataset.ts';
import { judge } from '../../scripts/demo/flaky/judge.ts';
import { namesWith } from '../../scripts/demo/flaky/names.ts';
import { MIN_HOURS, makePhases, WEEK_HOURS, writesOf } from '../../scripts/demo/flaky/plan.ts';
import { queueChart } from '../../scripts/demo/flaky/queue-chart.ts';
import { Ledger, nameOf } from '../../scripts/demo/ledger.ts';
import { NO_TRAFFIC } from '../../scripts/demo/traffic-meter.ts';

const { types } = namesWith('');

describe('makePhases', () => {
  test.each([MIN_HOURS, 100, WEEK_HOURS])('%i hours: all of them, in order, and some in each phase', (rows) => {
    const hours = readHours(rows, types.hours);
    const phases = makePhases(hours);
    expect(phases.map(({ link }) => link)).toEqual(['4g', '3g', '2g', 'none', '2g', '3g', '4g']);
    expect(phases.flatMap((phase) => phase.hours)).toEqual(hours);
    expect(Math.min(...phases.map((phase) => phase.hours.length))).toBe(Math.floor(rows / 7));
  });
});

test('writesOf: an hour has a record of its own, as pressing as the weather is, and is the weather of now', () => {
  const hours = readHours(WEEK_HOURS, types.hours);
  const writes = hours.flatMap((hour) => writesOf('station', types, hour));
  const [cold, now] = writes;
  expect(cold).toMatchObject({
    entityId: 'station-seattle-2010-01-01T01',
    data: { temperature: 4 },
    priority: 'critical',
  });
  expect(now).toMatchObject({ entityType: 'current-weather', entityId: 'station', data: cold?.data });
  expect(new Set(writes.map(nameOf)).size).toBe(hours.length + 1);
  const countOf = (priority: string) => writes.filter((write) => write.priority === priority).length;
  expect(['critical', 'high', 'normal'].map(countOf)).toEqual([23, 40, 105]);
});

test('queueChart: the most that waited in each column, each priority to its own scale, and spans below', () => {
  const samples = [
    { atMs: 1_000, waiting: { critical: 0, high: 0, normal: 0 } },
    { atMs: 3_000, waiting: { critical: 0, high: 0, normal: 10 } },
    { atMs: 3_010, waiting: { critical: 1, high: 0, normal: 4 } },
    { atMs: 4_000, waiting: { critical: 0, high: 0, normal: 4 } },
  ];
  const spans = [
    { fromMs: 1_000, toMs: 3_000, labels: ['4g', 'full'] },
    { fromMs: 3_000, toMs: 6_000, labels: ['2g', 'critical'] },
  ];
  expect(queueChart(samples, spans, 27).split('\n')).toEqual([
    'critical, 1 at most',
    '    1 ┼       ╭───╮',
    '    0 ┼───────╯   ╰────────',
    '',
    'high, 0 at most',
    '    0 ┼────────────────────',
    '',
    'normal, 10 at most',
    '   10 ┼       ╭───╮',
    '    8 ┤       │   │',
    '    6 ┤       │   │',
    '    4 ┤       │   ╰────────',
    '    2 ┤       │',
    '    0 ┼───────╯',
    '',
    '       │4g     │2g',
    '       │full   │critical',
    '       0.0 s          5.0 s',
  ]);
});

describe('judge of the flaky link', () => {
  test('finds nothing wrong where a record has the last of its writes, and the cloud all that was sent', () => {
    expect(judge(goodEnding()).flatMap((check) => check.differences)).toEqual([]);
  });

  test.each<[what: string, spoil: Partial<ReturnType<typeof goodEnding>>, differences: string[]]>([
    ['a change that waits', { waiting: 1 }, ['1 changes wait']],
    ['a dead letter', { dead: 1 }, ['0 conflicts, 1 dead']],
    ['a conflict', { conflicts: 1 }, ['1 conflicts, 0 dead']],
    ['a record without its last write', withState(2), ['now/a: the last writer wrote {"v":3}, found {"v":2}']],
    ['more changes than writes', withSent(4, 4), ['4 changes were sent, for 1 records']],
    ['changes that the cloud has not got', withSent(3, 2), ['it has 2']],
  ])('finds %s', (_, spoil, differences) => {
    expect(judge({ ...goodEnding(), ...spoil }).flatMap((check) => check.differences)).toEqual(differences);
  });
});

/** Three writes of one record: the first was sent, the second went into the third. */
function goodEnding() {
  const ledger = new Ledger();
  for (const v of [1, 2, 3]) ledger.add({ entityType: 'now', entityId: 'a' }, { node: 'a', data: { v } });
  return { ledger, waiting: 0, dead: 0, conflicts: 0, ...withState(3), ...withSent(2, 2) };
}

function withSent(uploaded: number, head: number) {
  return { traffic: new Map([['a', { ...NO_TRAFFIC, uploaded }]]), comparison: comparisonOf(head, 3) };
}

function withState(v: number) {
  return { comparison: comparisonOf(2, v) };
}

function comparisonOf(head: number, v: number) {
  return {
    scope: 'space' as const,
    reports: [{ replica: 'cloud', entities: 1, cursor: head, digest: 'd' }],
    state: new Map([['now/a', { v }]]),
  };
}
