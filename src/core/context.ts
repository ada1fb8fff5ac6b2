/**
 * Whether a writer had seen the version that its change meets. Source: `design.md`, section 3; dotted version vectors,
 * Preguiça et al. 2010.
 */

import type { Dot } from './dot.ts';
import type { Interval } from './dot-set.ts';
import { CLOUD } from './ids.ts';
import { entry, type VectorClock } from './vector-clock.ts';

/**
 * Shape: `covers` are further counters of the dot's own node, of changes that this one absorbed; `ownFrom` is the first
 * counter of its own node that the base speaks for (undefined: 1).
 */
export interface ChangeContext {
  readonly dot: Dot;
  readonly base: VectorClock;
  readonly covers?: readonly Interval[] | undefined;
  readonly ownFrom?: number | undefined;
}

/** Shape: `seq` is the version's place in the cloud's order, `dot` wrote it: `(cloud, seq)` after a conflict. */
export interface VersionContext {
  readonly seq: number;
  readonly dot: Dot;
}

/**
 * Whether a change is a plain successor of a version; otherwise the two are concurrent. Exact in a star, where a
 * replica holds a prefix of the cloud's order and its own changes.
 */
export function hasSeen(change: ChangeContext, version: VersionContext): boolean {
  const { node, counter } = version.dot;
  const isOfFormerLife = node === change.dot.node && counter < (change.ownFrom ?? 1);
  return (
    entry(change.base, CLOUD) >= version.seq ||
    (entry(change.base, node) >= counter && !isOfFormerLife) ||
    absorbed(change, version.dot)
  );
}

function absorbed(change: ChangeContext, { node, counter }: Dot): boolean {
  return node === change.dot.node && (change.covers ?? []).some(([from, to]) => from <= counter && counter <= to);
}
