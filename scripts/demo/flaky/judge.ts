import { type Check, check, emptyQueues, replicaChecks } from '../checks.ts';
import { formatCount } from '../format.ts';
import type { Ending } from './story.ts';

type Judged = Pick<Ending, 'ledger' | 'traffic' | 'waiting' | 'dead' | 'conflicts' | 'comparison'>;

/** All that has to be so when the story has ended. Pure. */
export function judge(ending: Judged): Check[] {
  const { ledger, traffic, waiting, dead, conflicts, comparison } = ending;
  const records = ledger.names.length;
  const sent = [...traffic.values()].reduce((sum, { uploaded }) => sum + uploaded, 0);
  return [
    ...replicaChecks(comparison),
    emptyQueues(waiting),
    check(
      `none of the ${formatCount(ledger.count)} acknowledged writes was lost: the last of each record is in it,`,
      // Each record has one writer: whatever became of the writes before, the last one is what has to be there.
      ledger.missingIn(comparison.state, new Map()),
    ),
    check(
      `and the others gave way to it: ${formatCount(sent - records)} when the cloud had them, ` +
        `${formatCount(ledger.count - sent)} before they left`,
      records <= sent && sent <= ledger.count ? [] : [`${sent} changes were sent, for ${records} records`],
    ),
    check(
      'no write is in a conflict, and none is dead',
      conflicts + dead === 0 ? [] : [`${conflicts} conflicts, ${dead} dead`],
    ),
    ...(comparison.scope === 'space' ? [tookAll(ending, sent)] : []),
  ];
}

/** Two who count apart agree. Of a space that nobody else writes in. */
function tookAll({ comparison }: Judged, sent: number): Check {
  const head = comparison.reports.find(({ replica }) => replica === 'cloud')?.cursor;
  return check(
    `the cloud's history has as many changes as the nodes have sent, ${formatCount(sent)}`,
    head === sent ? [] : [`it has ${head}`],
  );
}
