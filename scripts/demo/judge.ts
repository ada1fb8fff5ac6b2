import { type DecidedConflict, isWon } from './conflict-report.ts';
import { formatCount } from './format.ts';
import { nameOf } from './ledger.ts';
import { expectedEntities } from './plan.ts';
import type { Comparison } from './replica-report.ts';
import type { Ending } from './story.ts';

/** Something that has to be so at the end. */
export interface Check {
  readonly claim: string;
  /** What contradicts it, in words; none: it holds. */
  readonly differences: readonly string[];
}

type Judged = Omit<Ending, 'traffic'>;

/** All that has to be so when the story has ended. Pure. */
export function judge(ending: Judged): Check[] {
  const { ledger, waiting, strongReadRefusal, comparison, conflicts } = ending;
  const { scope, reports, state } = comparison;
  const content = scope === 'space' ? 'content' : 'records of this run';
  const winners = new Map(conflicts.filter(isWon).map(({ name, winner }) => [name, winner.node]));
  const reference = reports[0]?.digest ?? '';
  const expected = expectedEntities(ending.plan);
  const present = ledger.names.filter((name) => state.has(name)).length;
  return [
    check(
      `all ${reports.length} replicas have the same ${content}: digest ${reference}`,
      reports.filter(({ digest }) => digest !== reference).map(({ replica, digest }) => `${replica} has ${digest}`),
    ),
    ...(scope === 'space' ? [atHead(comparison)] : []),
    check('no queue holds anything', waiting === 0 ? [] : [`${waiting} changes wait`]),
    check(
      `none of the ${formatCount(ledger.count)} acknowledged writes was lost`,
      ledger.missingIn(state, winners),
      present === expected ? [] : [`the story ends with ${expected} records, and the cloud has ${present} of them`],
    ),
    check('each record that both stations changed is one conflict, and there is no other', misplaced(ending)),
    check('in each conflict the later write won', lateWinners(ending)),
    check(
      'the strong read without a link was refused with cloud_unavailable',
      strongReadRefusal === 'cloud_unavailable' ? [] : [strongReadRefusal ?? 'it was served'],
    ),
  ];
}

/** More would scroll the claim itself off the screen. */
const MAX_SHOWN = 5;

/** The checks as lines; what doesn't hold is followed by what differs. */
export function verdictLines(checks: readonly Check[]): string[] {
  return checks.flatMap(({ claim, differences }) => {
    if (differences.length === 0) return [`ok      ${claim}`];
    const rest = differences.length - MAX_SHOWN;
    return [
      `FAILED  ${claim}`,
      ...differences.slice(0, MAX_SHOWN).map((difference) => `        ${difference}`),
      ...(rest > 0 ? [`        and ${rest} more`] : []),
    ];
  });
}

function check(claim: string, ...differences: (readonly string[])[]): Check {
  return { claim, differences: differences.flat() };
}

/** Of a space that nobody else writes in: elsewhere the head moves on, and digests are of more than this run. */
function atHead({ reports }: Comparison): Check {
  const cursors = new Set(reports.flatMap(({ cursor }) => cursor ?? []));
  return check(
    'every node knows its own digest, and all stand at the head of the history',
    reports
      .filter(({ digest, ownDigest }) => ownDigest !== undefined && ownDigest !== digest)
      .map(({ replica, ownDigest }) => `${replica} says ${ownDigest}`),
    cursors.size === 1 ? [] : [`they stand at ${[...cursors].join(', ')}`],
  );
}

function misplaced({ plan, conflicts }: Judged): string[] {
  const found = Map.groupBy(conflicts, ({ name }) => name);
  const contested = new Set([...plan.newYorkLast, ...plan.seattleLast].map(nameOf));
  return [...new Set([...contested, ...found.keys()])]
    .map((name) => ({ name, expected: contested.has(name) ? 1 : 0, count: found.get(name)?.length ?? 0 }))
    .filter(({ expected, count }) => count !== expected)
    .map(({ name, expected, count }) => `${name}: ${count} conflicts, not ${expected}`);
}

function lateWinners({ cast, plan, conflicts }: Judged): string[] {
  const last = new Map([
    ...plan.newYorkLast.map((key) => [nameOf(key), cast.newYork] as const),
    ...plan.seattleLast.map((key) => [nameOf(key), cast.seattle] as const),
  ]);
  return conflicts.flatMap((conflict) => differenceIn(conflict, last.get(conflict.name)));
}

/** @param last the node that wrote last, where the story tells. */
function differenceIn(conflict: DecidedConflict, last: string | undefined): string[] {
  const { name } = conflict;
  if (conflict.kind === 'merged') return [`${name}: the sides were merged, and neither won`];
  const { winner, isLatest } = conflict;
  if (isLatest && (last ?? winner.node) === winner.node) return [];
  return [`${name}: ${winner.node} won, ${last} wrote last`];
}
