/** The name of one change for ever: who made it, and which of that node's changes it is. */

import { CLOUD, toNodeId } from './ids.ts';

/** Shape: `node` is a node id or `cloud`; `counter` a whole number from 1 to 2^53 - 1. */
export interface Dot {
  readonly node: string;
  readonly counter: number;
}

/** The dot as text: `<node>:<counter>`. */
export function formatDot(dot: Dot): string {
  return `${dot.node}:${dot.counter}`;
}

/** The dot that a text names, or `undefined` where it isn't exactly what {@link formatDot} writes. */
export function parseDot(text: string): Dot | undefined {
  const colon = text.indexOf(':');
  const node = text.slice(0, Math.max(colon, 0));
  const digits = text.slice(colon + 1);
  if (node !== CLOUD && toNodeId(node) === undefined) return undefined;
  const counter = COUNTER_PATTERN.test(digits) ? Number(digits) : NaN;
  return Number.isSafeInteger(counter) ? { node, counter } : undefined;
}

/** No leading zeros, so that a dot has one name; 16 digits hold 2^53 - 1. */
const COUNTER_PATTERN = /^[1-9][0-9]{0,15}$/;
