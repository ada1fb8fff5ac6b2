import { formatBytes, formatCount, formatSeconds } from '../format.ts';
import type { Narrator } from '../narrator.ts';
import { replicaTable } from '../replica-report.ts';
import { textTable } from '../text-table.ts';
import { inWords, isWon } from './conflict-report.ts';
import type { Ending } from './story.ts';

/** What the end of the demo shows: the replicas, the conflicts, the traffic and the time. */
export function summaryText(ending: Ending, chapters: Narrator['chapters']): string {
  return [
    replicaTable(ending.comparison.reports),
    conflictText(ending),
    trafficTable(ending),
    timeTable(chapters),
  ].join('\n\n');
}

function conflictText({ cast, conflicts }: Ending): string {
  const won = conflicts.filter(isWon);
  const wonBy = (node: string) => won.filter(({ winner }) => winner.node === node).length;
  const [example] = won;
  const lines = [
    `Conflicts: ${conflicts.length}. ${cast.seattle} won ${wonBy(cast.seattle)}, ${cast.newYork} won ${wonBy(cast.newYork)}.`,
    ...(example === undefined ? [] : [`For example ${inWords(example, 'temp_max')}`]),
  ];
  return lines.join('\n');
}

function trafficTable({ cast, ledger, traffic }: Ending): string {
  const columns = [
    { title: 'node' },
    { title: 'writes', align: 'right' },
    { title: 'bytes up', align: 'right' },
    { title: 'bytes down', align: 'right' },
  ] as const;
  const rows = [cast.seattle, cast.newYork, cast.reader].map((node) => {
    const { bytesUp, bytesDown } = traffic.totalOf(node);
    return [node, formatCount(ledger.countOf(node)), formatBytes(bytesUp), formatBytes(bytesDown)];
  });
  return textTable(columns, rows);
}

function timeTable(chapters: Narrator['chapters']): string {
  const rows = chapters.map(({ title, ms }, index) => [`${index + 1}. ${title}`, formatSeconds(ms)]);
  const all = chapters.reduce((sum, { ms }) => sum + ms, 0);
  return textTable([{ title: 'chapter' }, { title: 'time', align: 'right' }], [...rows, ['all', formatSeconds(all)]]);
}
