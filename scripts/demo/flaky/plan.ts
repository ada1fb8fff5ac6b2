import type { Priority } from '../../../src/core/change.ts';
import type { JsonObject } from '../../../src/core/json.ts';
import type { Network } from '../api-client.ts';
import type { Reading } from '../dataset.ts';
import type { Types } from './names.ts';

/** A time in which the link is of one kind. */
export interface Phase {
  readonly link: Link;
  /** What is measured in it, in order. */
  readonly hours: readonly Reading[];
}

export type Link = '4g' | '3g' | '2g' | 'none';

const LINKS: readonly Link[] = ['4g', '3g', '2g', 'none', '2g', '3g', '4g'];
/** One phase a day. */
export const WEEK_HOURS = LINKS.length * 24;
/** One a phase. */
export const MIN_HOURS = LINKS.length;

/** Pure. */
export function makePhases(hours: readonly Reading[]): Phase[] {
  const startOf = (phase: number) => Math.floor((phase * hours.length) / LINKS.length);
  return LINKS.map((link, phase) => ({ link, hours: hours.slice(startOf(phase), startOf(phase + 1)) }));
}

/** The link, as a node is told of it. */
export function networkOf(link: Link): Network {
  return link === 'none' ? { online: false } : { online: true, effectiveType: link };
}

/** What a station writes in an hour: a record of this hour, and the weather that is now, over that of before. Pure. */
export function writesOf(node: string, types: Types, { entityId, data }: Reading): Reading[] {
  return [
    { entityType: types.hours, entityId: `${node}-${entityId}`, data, priority: priorityOf(data) },
    { entityType: types.current, entityId: node, data },
  ];
}

/** Frost is near: somebody should know at once. */
const COLD_CELSIUS = 4;
const WINDY_METRES_PER_SECOND = 4.2;

function priorityOf({ temperature, wind }: JsonObject): Priority {
  if (typeof temperature !== 'number' || typeof wind !== 'number') throw new Error('an hour has temperature and wind');
  if (temperature <= COLD_CELSIUS) return 'critical';
  return wind >= WINDY_METRES_PER_SECOND ? 'high' : 'normal';
}
