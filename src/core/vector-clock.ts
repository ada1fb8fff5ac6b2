/**
 * What somebody has seen, as one number for each node: everything of that node up to and including it.
 * The cloud's sequence number is the entry of the node called `cloud`, not a special case.
 */

/** Shape: node id -> counter, a whole number from 0 to 2^53 - 1. A missing entry is 0. */
export type VectorClock = Readonly<Record<string, number>>;

export type ClockOrder = 'before' | 'after' | 'equal' | 'concurrent';

/** Has seen nothing. */
export const EMPTY_CLOCK: VectorClock = Object.freeze({});

/** The clock's number for a node, 0 where it has none. */
export function entry(clock: VectorClock, node: string): number {
  // An own property only: a node may be called `constructor` or `toString`.
  return Object.hasOwn(clock, node) ? (clock[node] ?? 0) : 0;
}

/** The clock after one more event of a node. */
export function increment(clock: VectorClock, node: string): VectorClock {
  return { ...clock, [node]: entry(clock, node) + 1 };
}

/** The least clock that covers both: the larger number of each node. */
export function merge(a: VectorClock, b: VectorClock): VectorClock {
  const ahead = Object.entries(b).filter(([node, counter]) => counter > entry(a, node));
  return { ...a, ...Object.fromEntries(ahead) };
}

/** How two clocks stand to each other in the causal order. An explicit 0 equals a missing entry. */
export function compare(a: VectorClock, b: VectorClock): ClockOrder {
  const aCoversB = covers(a, b);
  const bCoversA = covers(b, a);
  if (aCoversB && bCoversA) return 'equal';
  if (aCoversB) return 'after';
  return bCoversA ? 'before' : 'concurrent';
}

/** Whether `a` has seen all that `b` has. */
export function covers(a: VectorClock, b: VectorClock): boolean {
  return Object.entries(b).every(([node, counter]) => entry(a, node) >= counter);
}
