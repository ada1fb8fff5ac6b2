import type { JsonObject } from '../../../src/core/json.ts';
import type { Dataset, Reading } from '../dataset.ts';

/** Which records the story writes, changes and deletes, and when. The lists of changes don't overlap. */
export interface Plan {
  /** What the stations write while all are connected. */
  readonly seattleBefore: readonly Reading[];
  readonly newYorkBefore: readonly Reading[];
  /** What station-seattle goes on writing without its link. */
  readonly seattleAway: readonly Reading[];
  /** Changed by both stations while they can't see each other: station-seattle first, so station-newyork is later. */
  readonly newYorkLast: readonly Reading[];
  /** The same, the other way round. */
  readonly seattleLast: readonly Reading[];
  /** Changed by station-seattle alone, without its link. */
  readonly seattleNotes: readonly Reading[];
  /** Written by station-seattle without its link, and deleted again before anybody else has seen them. */
  readonly mistakes: readonly Reading[];
  readonly seattleDeletes: readonly Reading[];
  readonly newYorkDeletes: readonly Reading[];
}

/** Fewer rows don't have enough records for every part of the story. */
export const MIN_ROWS = 100;

const CONTESTED = 25;
const NOTES = 10;
const DELETES = 5;
const MISTAKES = 3;

/** Pure. */
export function makePlan({ seattleDays, newYorkDays, seattleHours }: Dataset): Plan {
  const half = Math.ceil(seattleHours.length / 2);
  // In turn one day of each city, so that both are in either group.
  const contested = seattleDays
    .flatMap((day, index) => [day, ...newYorkDays.slice(index, index + 1)])
    .slice(0, CONTESTED);
  const firstFree = Math.ceil(CONTESTED / 2);
  return {
    seattleBefore: [...seattleDays, ...seattleHours.slice(0, half)],
    newYorkBefore: newYorkDays,
    seattleAway: seattleHours.slice(half),
    newYorkLast: contested.slice(0, firstFree),
    seattleLast: contested.slice(firstFree),
    seattleNotes: seattleDays.slice(firstFree, firstFree + NOTES),
    mistakes: seattleDays.slice(0, MISTAKES).map((day) => ({ ...day, entityId: `${day.entityId}-twice` })),
    seattleDeletes: seattleHours.slice(0, DELETES),
    newYorkDeletes: newYorkDays.slice(-DELETES),
  };
}

/** How many records there are at the end. */
export function expectedEntities(plan: Plan): number {
  const written = plan.seattleBefore.length + plan.newYorkBefore.length + plan.seattleAway.length;
  return written - plan.seattleDeletes.length - plan.newYorkDeletes.length;
}

/** A day as a station has it after checking its thermometer, which is `offset` degrees off. */
export function corrected({ data }: Reading, offset: number, checkedBy: string): JsonObject {
  const before = data['temp_max'];
  if (typeof before !== 'number') throw new Error('only days have a highest temperature');
  return { temp_max: Math.round((before + offset) * 10) / 10, checkedBy };
}
