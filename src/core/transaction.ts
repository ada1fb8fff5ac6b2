import { type Dot, formatDot } from './dot.ts';

/**
 * The name of a transaction of several changes, which take effect together or not at all. Shape: the dot of the first
 * change, `-`, and the counter of the last: `a:7-9`. So whoever gets some of them knows whether these are all. `http.md`
 * says only that it is a text: changes with any other one belong together as far as they come in one batch.
 */
export function transactionName(first: Dot, last: Dot): string {
  return `${formatDot(first)}-${last.counter}`;
}

/** How many changes a transaction has; undefined: its name doesn't tell. */
export function transactionSize(name: string): number | undefined {
  const [, from, to] = /:(\d{1,16})-(\d{1,16})$/.exec(name) ?? [];
  if (from === undefined || to === undefined || Number(to) < Number(from)) return undefined;
  return Number(to) - Number(from) + 1;
}
