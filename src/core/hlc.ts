/**
 * Hybrid logical clock: wall time where clocks agree, a counter where they don't. Orders concurrent writes the same
 * way everywhere; never decides causality. Source: Kulkarni et al., Logical Physical Clocks, OPODIS 2014.
 */

import type { NodeId } from './ids.ts';
import { CLOUD, toNodeId } from './ids.ts';

declare const brand: unique symbol;

/**
 * A moment of one node. Shape: 12 hex digits of milliseconds since 1970, 4 of counter, the node, joined by `-`.
 * Fixed width, so the order of the strings is the order of (wall, counter, node).
 */
export type Stamp = string & { readonly [brand]: 'Stamp' };

/** What a node remembers of its clock. Bounds: 48 bits of milliseconds (until the year 10889), 16 bits of counter. */
export interface HlcState {
  readonly wallMs: number;
  readonly counter: number;
}

export interface StampParts extends HlcState {
  readonly node: NodeId | typeof CLOUD;
}

/** Before every event. */
export const HLC_START: HlcState = Object.freeze({ wallMs: 0, counter: 0 });

const MAX_WALL_MS = 2 ** 48 - 1;
const MAX_COUNTER = 0xffff;

/**
 * The clock at a local event: later than before, and not before `nowMs`, though the wall clock stands or goes back.
 * @throws RangeError where 48 bits are used up, which only a stamp that nobody clamped can bring about.
 */
export function tick(state: HlcState, nowMs: number): HlcState {
  const now = Math.min(Math.floor(nowMs), MAX_WALL_MS);
  return now > state.wallMs ? { wallMs: now, counter: 0 } : successor(state);
}

/**
 * The clock on receipt of a stamp: later than before, later than the stamp, not before `nowMs`.
 * Bounds: as far ahead as the stamp; {@link clampStamp} first where its sender isn't trusted.
 * @throws RangeError as {@link tick}.
 */
export function observe(state: HlcState, stamp: Stamp, nowMs: number): HlcState {
  return tick(later(state, partsOf(stamp)), nowMs);
}

/** The stamp of the event that the clock stands at. */
export function stampOf(state: HlcState, node: StampParts['node']): Stamp {
  return formatStamp({ ...state, node });
}

/** The stamp of these parts, which must be within the bounds of {@link HlcState}. */
export function formatStamp(parts: StampParts): Stamp {
  return `${hex(parts.wallMs, 12)}-${hex(parts.counter, 4)}-${parts.node}` as Stamp;
}

/** The parts of a stamp, or `undefined` where the text isn't exactly what {@link formatStamp} writes. */
export function parseStamp(text: string): StampParts | undefined {
  return STAMP_PATTERN.test(text) && toWriter(text.slice(NODE_AT)) !== undefined ? partsOf(text as Stamp) : undefined;
}

/** The text as a stamp, where it is one. */
export function toStamp(text: string): Stamp | undefined {
  return parseStamp(text) === undefined ? undefined : (text as Stamp);
}

/** Negative where `a` is earlier, positive where it is later, 0 where they are the same. By code unit, not by locale. */
export function compareStamps(a: Stamp, b: Stamp): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

export function laterStamp(a: Stamp, b: Stamp): Stamp {
  return compareStamps(a, b) >= 0 ? a : b;
}

/**
 * A stamp further ahead of `nowMs` than `maxDriftMs` is put at `nowMs`, so that a fast clock can't win for ever.
 * Its counter goes to 0: two clamped stamps of one node may tie, but never change places.
 */
export function clampStamp(stamp: Stamp, nowMs: number, maxDriftMs: number): Stamp {
  const { wallMs, node } = partsOf(stamp);
  if (wallMs <= nowMs + maxDriftMs) return stamp;
  const now = Math.max(Math.floor(nowMs), 0);
  return formatStamp({ wallMs: now, counter: 0, node });
}

/** A node's stamp that is later than another one, and by no more than it has to be. */
export function stampBehind(stamp: Stamp, node: NodeId): Stamp {
  return stampOf(successor(partsOf(stamp)), node);
}

function successor(state: HlcState): HlcState {
  if (state.counter < MAX_COUNTER) return { wallMs: state.wallMs, counter: state.counter + 1 };
  if (state.wallMs >= MAX_WALL_MS) throw new RangeError('hybrid logical clock: 48 bits of milliseconds are used up');
  return { wallMs: state.wallMs + 1, counter: 0 };
}

function later(a: HlcState, b: HlcState): HlcState {
  if (a.wallMs === b.wallMs) return a.counter >= b.counter ? a : b;
  return a.wallMs > b.wallMs ? a : b;
}

const STAMP_PATTERN = /^[0-9a-f]{12}-[0-9a-f]{4}-/;
const NODE_AT = 18;

function partsOf(stamp: Stamp): StampParts {
  return {
    wallMs: Number.parseInt(stamp.slice(0, 12), 16),
    counter: Number.parseInt(stamp.slice(13, 17), 16),
    node: stamp.slice(NODE_AT) as StampParts['node'],
  };
}

function toWriter(text: string): StampParts['node'] | undefined {
  return text === CLOUD ? CLOUD : toNodeId(text);
}

function hex(value: number, width: number): string {
  return value.toString(16).padStart(width, '0');
}
