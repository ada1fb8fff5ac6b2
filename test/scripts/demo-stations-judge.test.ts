import { describe, expect, test } from 'vitest';
import { conflict } from '../../scripts/demo/answers.ts';
import { verdictLines } from '../../scripts/demo/checks.ts';
import type { Reading } from '../../scripts/demo/dataset.ts';
import { Ledger, nameOf } from '../../scripts/demo/ledger.ts';
import type { ReplicaReport } from '../../scripts/demo/replica-report.ts';
import type { Scope } from '../../scripts/demo/stage.ts';
import { type DecidedConflict, decided } from '../../scripts/demo/stations/conflict-report.ts';
import { judge } from '../../scripts/demo/stations/judge.ts';
import type { Plan } from '../../scripts/demo/stations/plan.ts';

const cast = { seattle: 'sea', newYork: 'nyc', reader: 'reader' };
const [quiet, contested] = [reading('quiet'), reading('contested')];

/** A story of two records, one of which both stations changed: sea first, then nyc. */
function goodEnding() {
  const ledger = new Ledger();
  ledger.add(quiet, { node: 'sea', data: { v: 1 } });
  ledger.add(contested, { node: 'sea', data: { v: 2 } });
  ledger.add(contested, { node: 'nyc', data: { v: 3 } });
  const none: Reading[] = [];
  const plan: Plan = {
    seattleBefore: [quiet, contested],
    newYorkBefore: none,
    seattleAway: none,
    newYorkLast: [contested],
    seattleLast: none,
    seattleNotes: none,
    mistakes: none,
    seattleDeletes: none,
    newYorkDeletes: none,
  };
  const reports: ReplicaReport[] = [
    { replica: 'sea', entities: 2, cursor: 3, digest: 'd', ownDigest: 'd' },
    { replica: 'cloud', entities: 2, cursor: 3, digest: 'd' },
    { replica: 'D1', entities: 2, lagMs: 0, digest: 'd' },
  ];
  const state = new Map([quiet, contested].map((key) => [nameOf(key), { v: key === quiet ? 1 : 3 }]));
  const conflicts: DecidedConflict[] = [conflictOf('local')];
  return {
    cast,
    plan,
    ledger,
    strongReadRefusal: 'cloud_unavailable' as string | undefined,
    waiting: 0,
    conflicts,
    comparison: { scope: 'space' as Scope, reports, state },
  };
}

type GoodEnding = ReturnType<typeof goodEnding>;

describe('judge', () => {
  test('finds nothing wrong with a good ending', () => {
    expect(judge(goodEnding()).filter(({ differences }) => differences.length > 0)).toEqual([]);
  });

  test.each<[what: string, spoil: (ending: GoodEnding) => Partial<GoodEnding>, differences: string[]]>([
    ['a replica with another content', withReport({ replica: 'D1', entities: 2, lagMs: 0, digest: 'x' }), ['D1 has x']],
    [
      'a node that is wrong about itself',
      withReport({ replica: 'nyc', entities: 2, cursor: 3, digest: 'd', ownDigest: 'x' }),
      ['nyc says x'],
    ],
    [
      'a node behind the head',
      withReport({ replica: 'nyc', entities: 2, cursor: 2, digest: 'd', ownDigest: 'd' }),
      ['they stand at 3, 2'],
    ],
    ['a change that waits', () => ({ waiting: 1 }), ['1 changes wait']],
    ['a strong read that was served', () => ({ strongReadRefusal: undefined }), ['it was served']],
    [
      'a conflict too many',
      ({ conflicts }) => ({ conflicts: [...conflicts, ...conflicts] }),
      ['days/contested: 2 conflicts, not 1'],
    ],
    ['a conflict too few', () => ({ conflicts: [] }), ['days/contested: 0 conflicts, not 1']],
    [
      'an earlier write that won',
      ({ comparison }) => ({
        conflicts: [conflictOf('remote')],
        comparison: { ...comparison, state: new Map(comparison.state).set('days/contested', { v: 2 }) },
      }),
      ['days/contested: sea won, nyc wrote last'],
    ],
    [
      'a conflict whose sides were merged',
      ({ comparison }) => ({
        conflicts: [conflictOf('merged')],
        comparison: { ...comparison, state: new Map(comparison.state).set('days/contested', { v: 5 }) },
      }),
      [
        'days/contested: the last writer wrote {"v":3}, found {"v":5}',
        'days/contested: the sides were merged, and neither won',
      ],
    ],
    [
      'a record that is gone',
      ({ comparison }) => ({
        comparison: { ...comparison, state: new Map([...comparison.state].filter(([name]) => name !== 'days/quiet')) },
      }),
      [
        'days/quiet: the last writer wrote {"v":1}, found null',
        'the story ends with 2 records, and the cloud has 1 of them',
      ],
    ],
  ])('finds %s', (_, spoil, differences) => {
    const ending = goodEnding();
    const found = judge({ ...ending, ...spoil(ending) }).flatMap((check) => check.differences);
    expect(found).toEqual(differences);
  });
});

describe('judge, where others write too', () => {
  const ofRun = ({ comparison }: GoodEnding) => ({ comparison: { ...comparison, scope: 'run' as const } });

  test('lets the nodes stand at different places', () => {
    const ending = goodEnding();
    const report = { replica: 'nyc', entities: 2, cursor: 2, digest: 'd' };
    const apart = { ...ending, ...withReport(report)(ending) };
    expect(judge({ ...apart, ...ofRun(apart) }).flatMap((check) => check.differences)).toEqual([]);
  });

  test('finds a replica with other records of this run', () => {
    const ending = goodEnding();
    const spoilt = { ...ending, ...withReport({ replica: 'D1', entities: 2, lagMs: 0, digest: 'x' })(ending) };
    expect(judge({ ...spoilt, ...ofRun(spoilt) }).flatMap((check) => check.differences)).toEqual(['D1 has x']);
  });
});

test('verdictLines shows what holds, and the first of what differs', () => {
  const differences = ['a', 'b', 'c', 'd', 'e', 'f', 'g'];
  expect(
    verdictLines([
      { claim: 'good', differences: [] },
      { claim: 'bad', differences },
    ]),
  ).toEqual([
    'ok      good',
    'FAILED  bad',
    ...['a', 'b', 'c', 'd', 'e'].map((difference) => `        ${difference}`),
    '        and 2 more',
  ]);
});

function withReport(report: ReplicaReport) {
  return ({ comparison }: GoodEnding) => ({
    comparison: { ...comparison, reports: [...comparison.reports, report] },
  });
}

function reading(entityId: string): Reading {
  return { entityType: 'days', entityId, data: { v: 0 } };
}

/** As the server answers; nyc's later write is the cloud's side, and the winner is given. */
function conflictOf(winner: 'local' | 'remote' | 'merged'): DecidedConflict {
  return decided(
    conflict.parse({
      id: 'c1',
      type: 'update-update',
      entityType: 'days',
      entityId: 'contested',
      local: { version: 'nyc:1', stamp: '000000000002-0000-nyc', data: { v: 3 } },
      remote: { version: 'sea:1', stamp: '000000000001-0000-sea', data: { v: 2 } },
      resolution: {
        winner,
        resolvedData: { v: { local: 3, remote: 2, merged: 5 }[winner] },
        metadata: { strategy: winner === 'merged' ? 'merge' : 'lww', reason: '' },
      },
      status: 'resolved',
    }),
  );
}
