import type { Comparison } from './replica-report.ts';

/** Something that has to be so at the end. */
export interface Check {
  readonly claim: string;
  /** What contradicts it, in words; none: it holds. */
  readonly differences: readonly string[];
}

export function check(claim: string, ...differences: (readonly string[])[]): Check {
  return { claim, differences: differences.flat() };
}

/** That all replicas hold the same, and, where that can be said, that each node knows it. Pure. */
export function replicaChecks(comparison: Comparison): Check[] {
  const { scope, reports } = comparison;
  const content = scope === 'space' ? 'content' : 'records of this run';
  const reference = reports[0]?.digest ?? '';
  return [
    check(
      `all ${reports.length} replicas have the same ${content}: digest ${reference}`,
      reports.filter(({ digest }) => digest !== reference).map(({ replica, digest }) => `${replica} has ${digest}`),
    ),
    ...(scope === 'space' ? [atHead(comparison)] : []),
  ];
}

export function emptyQueues(waiting: number): Check {
  return check('no queue holds anything', waiting === 0 ? [] : [`${waiting} changes wait`]);
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
