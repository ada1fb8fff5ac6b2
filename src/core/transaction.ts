import { type Change, dotOf, PRIORITIES } from './change.ts';
import { type Dot, formatDot, parseDot } from './dot.ts';

/**
 * The name of a transaction of several changes, which take effect together or not at all. Shape: the dot of the first
 * change, `-`, and the counter of the last: `a:7-9`. So whoever gets some of them knows whether these are all. `http.md`
 * says only that it is a text: changes with any other one belong together as far as they come in one batch.
 */
export function transactionName(first: Dot, last: Dot): string {
  return `${formatDot(first)}-${last.counter}`;
}

/**
 * Whether changes of one node that have a name are all of their transaction, as far as the name tells. One that isn't of
 * that node, or doesn't count all of the changes, is somebody's own, whatever it looks like (`invoice:2024-2025`).
 */
export function isWhole(name: string, dots: readonly Dot[]): boolean {
  const dash = name.lastIndexOf('-');
  const first = parseDot(name.slice(0, Math.max(dash, 0)));
  const last = first && parseDot(`${first.node}:${name.slice(dash + 1)}`);
  if (first === undefined || last === undefined) return true;
  const isCounted = ({ node, counter }: Dot) =>
    node === first.node && first.counter <= counter && counter <= last.counter;
  const counters = new Set(dots.map(({ counter }) => counter));
  return !dots.every(isCounted) || counters.size === last.counter - first.counter + 1;
}

/** The changes as one transaction: the most pressing of them tells when it goes. */
export function asTransaction(changes: readonly Change[]): Change[] {
  const [first, last] = [changes[0], changes.at(-1)];
  if (first === undefined || last === undefined || first === last) return [...changes];
  const transaction = transactionName(dotOf(first), dotOf(last));
  const priority = PRIORITIES.find((each) => changes.some((change) => change.priority === each));
  return changes.map((change) => ({ ...change, transaction, priority }));
}

/** Changes that go together, in their order. */
export function unitsOf(changes: readonly Change[]): (readonly Change[])[] {
  return [...Map.groupBy(changes, ({ transaction, id }) => transaction ?? id).values()];
}
