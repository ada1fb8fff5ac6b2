import { formatBytes, formatCount } from '../format.ts';
import { replicaTable } from '../replica-report.ts';
import { textTable } from '../text-table.ts';
import { NO_TRAFFIC, plus, type Traffic } from '../traffic-meter.ts';
import { queueChart } from './queue-chart.ts';
import type { Ending, PlayedPhase } from './story.ts';

const [MIN_WIDTH, MAX_WIDTH] = [40, 80];

/** What the end of the demo shows: the queue over time, what each plan cost, and the replicas. */
export function summaryText(ending: Ending): string {
  const { stage, phases, samples, comparison } = ending;
  const spans = phases.map((phase) => ({ ...phase, labels: [phase.link, plansIn([phase])] }));
  const width = Math.max(MIN_WIDTH, Math.min(MAX_WIDTH, process.stdout.columns ?? MAX_WIDTH));
  return [
    `Changes that waited at ${stage.cast.station}, by priority; below, its link and its plan:`,
    queueChart(samples, spans, width),
    trafficTable(ending),
    explanation(ending),
    replicaTable(comparison.reports),
  ].join('\n\n');
}

function trafficTable({ stage, ledger, phases, atOnce }: Ending): string {
  const columns = [
    { title: 'link' },
    { title: 'plan' },
    { title: 'writes', align: 'right' },
    { title: 'sent', align: 'right' },
    { title: 'round trips', align: 'right' },
    { title: 'bytes up', align: 'right' },
    { title: 'bytes down', align: 'right' },
  ] as const;
  const row = (link: string, plan: string, writes: number, { uploaded, roundTrips, bytesUp, bytesDown }: Traffic) => [
    link,
    plan,
    ...[writes, uploaded, roundTrips].map(formatCount),
    ...[bytesUp, bytesDown].map(formatBytes),
  ];
  const totalOf = (some: readonly PlayedPhase[]) =>
    [
      some.reduce((sum, { writes }) => sum + writes, 0),
      some.map(({ traffic }) => traffic).reduce(plus, NO_TRAFFIC),
    ] as const;
  return textTable(columns, [
    ...[...Map.groupBy(phases, ({ link }) => link)].map(([link, some]) => row(link, plansIn(some), ...totalOf(some))),
    row('all', 'as above', ...totalOf(phases)),
    row('4g', 'each at once', ledger.countOf(stage.cast.twin), atOnce),
  ]);
}

/** What the numbers are, and what the last two rows compare. */
function explanation({ stage: { cast, scope } }: Ending): string {
  return [
    'All of it is measured, by the nodes: "sent" are changes that the cloud took,',
    '"round trips" calls that it answered, and the bytes are those of these calls.',
    `"each at once" is ${cast.twin}: the same writes over 4g, each of them in the`,
    'cloud before the next, so that none shares a round trip or goes into another.',
    ...(scope === 'run' ? ['What others write meanwhile comes down too, and is counted.'] : []),
  ].join('\n');
}

function plansIn(phases: readonly PlayedPhase[]): string {
  return [...new Set(phases.flatMap(({ plans }) => [...plans]))].join(', ') || '-';
}
