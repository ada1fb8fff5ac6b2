import type { Priority } from '../core/change.ts';
import { LIMITS } from '../protocol/limits.ts';

/** What a caller says of the link: the words of the Network Information API (wicg.github.io/netinfo). */
export interface NetworkReport {
  readonly effectiveType?: EffectiveType | undefined;
  readonly saveData?: boolean | undefined;
  readonly rttMs?: number | undefined;
  readonly downlinkMbps?: number | undefined;
}

export const EFFECTIVE_TYPES = ['4g', '3g', '2g', 'slow-2g'] as const;
export type EffectiveType = (typeof EFFECTIVE_TYPES)[number];

/** What goes over the link, and how much of it at a time. */
export interface Plan {
  readonly strategy: 'full' | 'priority' | 'critical';
  /** Changes, and bytes before compression; one change goes whatever its size. */
  readonly batchSize: number;
  readonly batchBytes: number;
  readonly reason: string;
}

/** What was measured of the link. Shape: as {@link UNMEASURED}. */
export interface LinkQuality {
  /** Of an exchange, averaged, ms; null: there was none. */
  readonly rttMs: number | null;
  /** The share of exchanges that failed, of late: 0 to 1. */
  readonly failures: number;
  /** What the measurements come to: never `poor`, for that holds changes back, which takes somebody's word. */
  readonly grade: 'good' | 'limited';
  /** How many measurements in a row came to something better. */
  readonly better: number;
}

type Grade = 'good' | 'limited' | 'poor';

export const UNMEASURED: LinkQuality = { rttMs: null, failures: 0, grade: 'good', better: 0 };

/** The quality after one more exchange; `rttMs: null`: it failed. The grade falls at once, and rises slowly. Pure. */
export function measure(quality: LinkQuality, rttMs: number | null): LinkQuality {
  const average = rttMs === null ? quality.rttMs : mix(quality.rttMs ?? rttMs, rttMs);
  const failures = mix(quality.failures, rttMs === null ? 1 : 0);
  const isGood = (average ?? 0) < LIMITED_RTT_MS && failures < LIMITED_FAILURES;
  const isBetter = isGood && rttMs !== null && quality.grade === 'limited';
  const better = isBetter ? quality.better + 1 : 0;
  const isRisen = isGood && (quality.grade === 'good' || better >= RISE_AFTER);
  return { rttMs: average, failures, grade: isRisen ? 'good' : 'limited', better: isRisen ? 0 : better };
}

/**
 * The plan for a link: on a limited one what presses goes first and in smaller batches, so that less is sent again when
 * it breaks; on a poor one only what is critical goes, and the rest waits. Of what callers say and what was measured the
 * worst counts. `design.md`, section 7.
 */
export function planFor(report: NetworkReport, quality: LinkQuality): Plan {
  const [grade, reason] = findings(report, quality).reduce((found, other) =>
    GRADES.indexOf(other[0]) > GRADES.indexOf(found[0]) ? other : found,
  );
  switch (grade) {
    case 'good':
      return { strategy: 'full', batchSize: 100, batchBytes: LIMITS.batchBytes, reason };
    case 'limited':
      return { strategy: 'priority', batchSize: 50, batchBytes: LIMITED_BYTES, reason };
    case 'poor':
      return { strategy: 'critical', batchSize: 10, batchBytes: POOR_BYTES, reason };
  }
}

/** The least pressing priority that goes by a plan. */
export function leastOf({ strategy }: Pick<Plan, 'strategy'>): Priority {
  return strategy === 'critical' ? 'critical' : 'normal';
}

/** The least pressing priority that doesn't wait for others to go with it. */
export function leastAtOnce({ strategy }: Pick<Plan, 'strategy'>): Priority {
  return strategy === 'full' ? 'normal' : 'critical';
}

/**
 * What is taken to be so: what was said on purpose, and what hints add to it. The type of a link is made of its round
 * trips and its downlink (Network Information API, section 3.4), so that a type stands for these as well.
 */
export function reportOf(said: NetworkReport, { saveData, ...speed }: NetworkReport): NetworkReport {
  return { saveData, ...(said.effectiveType === undefined ? speed : {}), ...said };
}

const GRADES: readonly Grade[] = ['good', 'limited', 'poor'];

function findings(
  { effectiveType, saveData, rttMs, downlinkMbps }: NetworkReport,
  quality: LinkQuality,
): [Grade, string][] {
  const found: [Grade, string][] = [
    ['good', effectiveType === undefined ? 'nothing speaks against it' : `the link is ${effectiveType}`],
  ];
  if (saveData) found.push(['poor', 'the caller saves data']);
  if (effectiveType !== undefined) found.push([gradeOfType(effectiveType), `the link is ${effectiveType}`]);
  if (rttMs !== undefined) found.push([gradeOfRtt(rttMs), `round trips are said to take ${rttMs} ms`]);
  if (downlinkMbps !== undefined) {
    const grade = downlinkMbps < POOR_MBPS ? 'poor' : downlinkMbps < LIMITED_MBPS ? 'limited' : 'good';
    found.push([grade, `the downlink is said to be ${downlinkMbps} Mbit/s`]);
  }
  const measured = `exchanges took ${Math.round(quality.rttMs ?? 0)} ms of late, and ${Math.round(quality.failures * 100)} % failed`;
  found.push([quality.grade, measured]);
  return found;
}

function gradeOfType(type: EffectiveType): Grade {
  if (type === '4g') return 'good';
  return type === '3g' ? 'limited' : 'poor';
}

function gradeOfRtt(rttMs: number): Grade {
  if (rttMs < LIMITED_RTT_MS) return 'good';
  return rttMs < POOR_RTT_MS ? 'limited' : 'poor';
}

/** An average that forgets: four measurements on, a third of what was. */
function mix(before: number, now: number): number {
  return before + (now - before) * WEIGHT;
}

const WEIGHT = 0.25;
/** Where browsers draw the line between 4g and 3g, and between 3g and 2g. Source: Network Information API, section 3.4. */
const LIMITED_RTT_MS = 270;
const POOR_RTT_MS = 1_400;
const LIMITED_MBPS = 0.7;
const POOR_MBPS = 0.07;
/** Under ten seconds at 256 kbit/s and at 50 kbit/s: what a break makes to be sent again. */
const LIMITED_BYTES = 256 * 1024;
const POOR_BYTES = 32 * 1024;
/** Two failures in a row on a link that was good. */
const LIMITED_FAILURES = 0.4;
/** Better measurements in a row before a plan follows: one lucky exchange is no better link. */
const RISE_AFTER = 3;
