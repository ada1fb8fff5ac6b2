import { plot } from 'asciichart';
import { PRIORITIES, type Priority } from '../../../src/core/change.ts';
import { formatSeconds } from '../format.ts';
import type { QueueSample } from './queue-watch.ts';

/** A part of the time, and what is written below it, line by line. */
export interface Span {
  readonly fromMs: number;
  readonly toMs: number;
  readonly labels: readonly string[];
}

const MAX_ROWS = 5;
const TICK_CHARS = 5;
/** The tick, a space and the axis. */
const AXIS_CHARS = TICK_CHARS + 2;

/**
 * How many changes of each priority waited over time, in charts of `width` columns: three, each to its own scale, so that
 * the few critical ones can be seen, and all can be told apart without colours. `spans` follow each other. Pure.
 */
export function queueChart(samples: readonly QueueSample[], spans: readonly Span[], width: number): string {
  const [fromMs, toMs] = [spans[0]?.fromMs ?? 0, spans.at(-1)?.toMs ?? 0];
  const columns = width - AXIS_CHARS;
  const columnOf = (atMs: number) => Math.round(((atMs - fromMs) / (toMs - fromMs)) * columns);
  const charts = PRIORITIES.flatMap((priority) => chartOf(priority, samples, columns, columnOf));
  const below = [0, 1].map((line) =>
    spans.map((span) => cell(span.labels[line] ?? '', columnOf(span.toMs) - columnOf(span.fromMs))).join(''),
  );
  const [begin, end] = [formatSeconds(0), formatSeconds(toMs - fromMs)];
  const times = begin + end.padStart(columns - begin.length);
  return [...charts, ...[...below, times].map((line) => ' '.repeat(AXIS_CHARS) + line)]
    .map((line) => line.trimEnd())
    .join('\n');
}

function chartOf(
  priority: Priority,
  samples: readonly QueueSample[],
  columns: number,
  columnOf: (atMs: number) => number,
): string[] {
  const depths = depthsOf(priority, samples, columns, columnOf);
  const most = Math.max(...depths);
  const lines = plot(depths, {
    min: 0,
    max: most,
    height: Math.min(most, MAX_ROWS),
    format: (depth) => `${Math.round(depth)}`.padStart(TICK_CHARS),
  });
  return [`${priority}, ${most} at most`, ...lines.split('\n'), ''];
}

/** The most that waited in the time of each column; where nobody looked, as much as before. */
function depthsOf(
  priority: Priority,
  samples: readonly QueueSample[],
  columns: number,
  columnOf: (atMs: number) => number,
): number[] {
  const byColumn = Map.groupBy(samples, ({ atMs }) => columnOf(atMs));
  const depths: number[] = [];
  // One more than there are columns: a column is the way from one point to the next.
  for (let column = 0; column <= columns; column += 1) {
    const seen = byColumn.get(column)?.map(({ waiting }) => waiting[priority]);
    depths.push(seen === undefined ? (depths.at(-1) ?? 0) : Math.max(...seen));
  }
  return depths;
}

function cell(text: string, width: number): string {
  return `│${text}`.slice(0, width).padEnd(width);
}
