import { CLOUD } from './ids.ts';
import { EMPTY_CLOCK, merge, type VectorClock } from './vector-clock.ts';

/**
 * What somebody has seen of a space. Shape: a vector clock, and the epoch of the history in which its entry of the cloud is
 * a place; missing: nothing, and no history. `design.md`, sections 2 and 8.
 */
export interface CausalContext {
  readonly epoch?: string | undefined;
  readonly clock?: VectorClock | undefined;
  /** The latest time of the stamps that were seen, ms: what comes after it gets a later one, by whichever clock. */
  readonly atMs?: number | undefined;
}

/**
 * The clock as it is in a history. A place in the order of another one, which was lost, means nothing there; what nodes
 * wrote keeps its name. Pure.
 *
 * @param epoch none: which history it is, isn't known yet.
 */
export function clockIn(context: CausalContext, epoch: string | null | undefined): VectorClock {
  const { clock = EMPTY_CLOCK } = context;
  if (!isOfOther(context, epoch)) return clock;
  const { [CLOUD]: _, ...nodes } = clock;
  return nodes;
}

/** Whether it is of another history than the given one. */
export function isOfOther(context: CausalContext, epoch: string | null | undefined): boolean {
  return context.epoch !== undefined && (epoch ?? context.epoch) !== context.epoch;
}

/** All that several have seen, as it is in a history. */
export function clockOfAll(contexts: Iterable<CausalContext>, epoch: string | null | undefined): VectorClock {
  return [...contexts].reduce((all, context) => merge(all, clockIn(context, epoch)), EMPTY_CLOCK);
}

/** What two say that somebody has seen, as it is in a history. */
export function joined(a: CausalContext, b: CausalContext, epoch: string | null | undefined): CausalContext {
  const of = epoch ?? a.epoch ?? b.epoch;
  return { epoch: of, clock: clockOfAll([a, b], of), ...latest([a, b]) };
}

/**
 * The time of what somebody writes who has seen that: after it, by whichever clock it was written.
 *
 * @param maxAheadMs no further ahead of now is it: what is put right by the cloud is not run after.
 */
export function timeAfter({ atMs = 0 }: CausalContext, nowMs: number, maxAheadMs: number): number {
  return Math.max(nowMs, Math.min(atMs + 1, nowMs + maxAheadMs));
}

/** The latest time that several have seen, if they have seen any. */
export function latest(contexts: readonly CausalContext[]): Pick<CausalContext, 'atMs'> {
  const atMs = Math.max(0, ...contexts.map((context) => context.atMs ?? 0));
  return atMs === 0 ? {} : { atMs };
}
