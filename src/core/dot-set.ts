/**
 * Which counters of one node are there: a prefix without gaps, and the few intervals beyond it that priorities and
 * losses leave. Every function costs as much as there are intervals, however many counters these hold.
 */

export type Interval = readonly [from: number, to: number];

/**
 * Shape: counters 1 to `upTo`, and those of `extra`, both ends included. Always in normal form, so equal sets have
 * equal shapes: intervals sorted, disjoint, not adjacent to each other or to the prefix.
 */
export interface DotSet {
  readonly upTo: number;
  readonly extra: readonly Interval[];
}

export const EMPTY_DOT_SET: DotSet = Object.freeze({ upTo: 0, extra: Object.freeze([]) });

/** Whether a counter is in the set. */
export function has(set: DotSet, counter: number): boolean {
  if (counter <= set.upTo) return counter >= 1;
  return set.extra.some(([from, to]) => from <= counter && counter <= to);
}

/**
 * The set with the counters `from` to `to`, both included.
 * @throws RangeError where these aren't whole numbers with 1 <= from <= to.
 */
export function add(set: DotSet, from: number, to: number = from): DotSet {
  if (!isInterval([from, to])) throw new RangeError(`not an interval of counters: ${from} to ${to}`);
  return to <= set.upTo ? set : normalForm(set.upTo, [...set.extra, [from, to]]);
}

/** The set with all counters of these intervals, in any order; costs as much as adding one does, beside sorting them. */
export function addAll(set: DotSet, intervals: readonly Interval[]): DotSet {
  return normalForm(set.upTo, [...set.extra, ...intervals]);
}

/** The highest counter of a set; 0: it is empty. */
export function lastOf({ extra, upTo }: DotSet): number {
  return extra.at(-1)?.[1] ?? upTo;
}

/** The counters from 1 to `last` that are not in the set. */
export function gaps(set: DotSet, last: number): Interval[] {
  const missing: Interval[] = [];
  let from = set.upTo + 1;
  for (const [start, end] of set.extra) {
    if (start > from) missing.push([from, start - 1]);
    from = end + 1;
  }
  if (from <= last) missing.push([from, last]);
  return missing.filter(([first]) => first <= last);
}

/** The counters that are in either. */
export function union(a: DotSet, b: DotSet): DotSet {
  return normalForm(Math.max(a.upTo, b.upTo), [...a.extra, ...b.extra]);
}

/** How many counters are in the set. */
export function size(set: DotSet): number {
  return set.extra.reduce((sum, [from, to]) => sum + (to - from + 1), set.upTo);
}

/** A set from untrusted parts, brought into normal form; `undefined` where they aren't counters and intervals. */
export function dotSetFrom(upTo: unknown, extra: unknown): DotSet | undefined {
  if (upTo !== 0 && !isCounter(upTo)) return undefined;
  return Array.isArray(extra) && extra.every(isInterval) ? normalForm(upTo, extra) : undefined;
}

function isInterval(value: unknown): value is Interval {
  if (!Array.isArray(value) || value.length !== 2) return false;
  const [from, to]: readonly unknown[] = value;
  return isCounter(from) && isCounter(to) && from <= to;
}

function isCounter(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 1;
}

function normalForm(upTo: number, intervals: readonly Interval[]): DotSet {
  let prefix = upTo;
  const extra: Interval[] = [];
  for (const [from, to] of intervals.toSorted(byStart)) {
    const last = extra.at(-1);
    if (from <= prefix + 1) prefix = Math.max(prefix, to);
    else if (last !== undefined && from <= last[1] + 1) extra[extra.length - 1] = [last[0], Math.max(last[1], to)];
    else extra.push([from, to]);
  }
  return { upTo: prefix, extra };
}

function byStart(a: Interval, b: Interval): number {
  return a[0] - b[0];
}
