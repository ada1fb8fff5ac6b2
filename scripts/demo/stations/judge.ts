import { type Check, check, emptyQueues, replicaChecks } from '../checks.ts';
import { formatCount } from '../format.ts';
import { nameOf } from '../ledger.ts';
import { type DecidedConflict, isWon } from './conflict-report.ts';
import { expectedEntities } from './plan.ts';
import type { Ending } from './story.ts';

type Judged = Omit<Ending, 'traffic'>;

/** All that has to be so when the story has ended. Pure. */
export function judge(ending: Judged): Check[] {
  const { ledger, waiting, strongReadRefusal, comparison, conflicts } = ending;
  const { state } = comparison;
  const winners = new Map(conflicts.filter(isWon).map(({ name, winner }) => [name, winner.node]));
  const expected = expectedEntities(ending.plan);
  const present = ledger.names.filter((name) => state.has(name)).length;
  return [
    ...replicaChecks(comparison),
    emptyQueues(waiting),
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
