import { describe, expect, test } from 'vitest';
import { readDataset } from '../../scripts/demo/dataset.ts';
import { nameOf } from '../../scripts/demo/ledger.ts';
import { namesWith } from '../../scripts/demo/stations/names.ts';
import { expectedEntities, MIN_ROWS, makePlan } from '../../scripts/demo/stations/plan.ts';

const { types } = namesWith('');

describe('readDataset', () => {
  test('has every row of both files, each under an id of its own', () => {
    const { seattleDays, newYorkDays, seattleHours } = readDataset(Number.MAX_SAFE_INTEGER, types);
    expect([seattleDays.length, newYorkDays.length, seattleHours.length]).toEqual([1_461, 1_461, 8_759]);
    const names = [...seattleDays, ...newYorkDays, ...seattleHours].map(nameOf);
    expect(new Set(names).size).toBe(names.length);
    expect(seattleDays[0]).toEqual({
      entityType: 'daily-weather',
      entityId: 'seattle-2012-01-01',
      data: {
        location: 'Seattle',
        date: '2012-01-01',
        precipitation: 0,
        temp_max: 12.8,
        temp_min: 5,
        wind: 4.7,
        weather: 'drizzle',
      },
    });
    expect(seattleHours[0]?.entityId).toBe('seattle-2010-01-01T01');
  });
});

describe('makePlan', () => {
  test.each([MIN_ROWS, 200, Number.MAX_SAFE_INTEGER])('%i rows: no record has two parts in the story', (maxRows) => {
    const plan = makePlan(readDataset(maxRows, types));
    const { newYorkLast, seattleLast, seattleNotes, seattleDeletes, newYorkDeletes, mistakes } = plan;
    expect([newYorkLast, seattleLast, seattleNotes, mistakes].map(({ length }) => length)).toEqual([13, 12, 10, 3]);
    const changed = [newYorkLast, seattleLast, seattleNotes, seattleDeletes, newYorkDeletes, mistakes]
      .flat()
      .map(nameOf);
    expect(new Set(changed).size).toBe(changed.length);

    const written = new Set([...plan.seattleBefore, ...plan.newYorkBefore].map(nameOf));
    const existing = [newYorkLast, seattleLast, seattleNotes, seattleDeletes, newYorkDeletes].flat().map(nameOf);
    expect(existing.filter((name) => !written.has(name))).toEqual([]);
    expect(mistakes.map(nameOf).filter((name) => written.has(name))).toEqual([]);
    for (const group of [newYorkLast, seattleLast]) {
      expect(new Set(group.map(({ data }) => data['location']))).toEqual(new Set(['Seattle', 'New York']));
    }
  });

  test('all rows: 11,681 are written, and 10 of them deleted', () => {
    expect(expectedEntities(makePlan(readDataset(Number.MAX_SAFE_INTEGER, types)))).toBe(11_671);
  });
});
