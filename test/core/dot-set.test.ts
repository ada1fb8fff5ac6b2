import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { DotSet, Interval } from '../../src/core/dot-set.ts';
import { add, dotSetFrom, EMPTY_DOT_SET, has, size, union } from '../../src/core/dot-set.ts';

const HIGHEST = 40;
const interval: fc.Arbitrary<Interval> = fc
  .tuple(fc.integer({ min: 1, max: HIGHEST }), fc.nat({ max: 5 }))
  .map(([from, length]) => [from, Math.min(from + length, HIGHEST)]);
const intervals = fc.array(interval, { maxLength: 12 });

/** The model: every counter for itself. */
function counters(list: readonly Interval[]): Set<number> {
  return new Set(list.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, index) => from + index)));
}

function setOf(list: readonly Interval[]): DotSet {
  return list.reduce((set, [from, to]) => add(set, from, to), EMPTY_DOT_SET);
}

function expectSame(set: DotSet, model: ReadonlySet<number>): void {
  for (let counter = 0; counter <= HIGHEST + 1; counter += 1) expect(has(set, counter)).toBe(model.has(counter));
  expect(size(set)).toBe(model.size);
}

describe('the set of counters of one node', () => {
  test('[I2] knows exactly the counters that were added, in whatever order and however often', () => {
    fc.assert(fc.property(intervals, (list) => expectSame(setOf([...list, ...list]), counters(list))));
  });

  test('is always in normal form, so equal sets have equal shapes', () => {
    fc.assert(
      fc.property(intervals, (list) => {
        const set = setOf(list);
        let before = set.upTo;
        for (const [from, to] of set.extra) {
          expect(from).toBeGreaterThan(before + 1);
          expect(to).toBeGreaterThanOrEqual(from);
          before = to;
        }
        expect(setOf(list.toReversed())).toEqual(set);
      }),
    );
  });

  test('joins with another into exactly the counters of both, in either order', () => {
    fc.assert(
      fc.property(intervals, intervals, intervals, (a, b, c) => {
        expectSame(union(setOf(a), setOf(b)), counters([...a, ...b]));
        expect(union(setOf(b), setOf(a))).toEqual(union(setOf(a), setOf(b)));
        expect(union(union(setOf(a), setOf(b)), setOf(c))).toEqual(union(setOf(a), union(setOf(b), setOf(c))));
        expect(union(setOf(a), setOf(a))).toEqual(setOf(a));
      }),
    );
  });

  test('is read from untrusted parts in any order, overlapping or not', () => {
    fc.assert(
      fc.property(fc.nat({ max: HIGHEST }), intervals, (upTo, list) => {
        const prefix: Interval[] = upTo === 0 ? [] : [[1, upTo]];
        expect(dotSetFrom(upTo, list)).toEqual(setOf([...prefix, ...list]));
      }),
    );
  });

  test('survives the wire', () => {
    fc.assert(
      fc.property(intervals, (list) => {
        const { upTo, extra } = JSON.parse(JSON.stringify(setOf(list)));
        expect(dotSetFrom(upTo, extra)).toEqual(setOf(list));
      }),
    );
  });

  test('holds an interval of any length at the cost of one', () => {
    const set = add(add(EMPTY_DOT_SET, 3, Number.MAX_SAFE_INTEGER), 1);
    expect(set).toEqual({ upTo: 1, extra: [[3, Number.MAX_SAFE_INTEGER]] });
    expect(add(set, 2)).toEqual({ upTo: Number.MAX_SAFE_INTEGER, extra: [] });
  });

  test.each([
    [-1, []],
    [1.5, []],
    [Number.NaN, []],
    ['1', []],
    [undefined, []],
    [2 ** 53, []],
    [0, undefined],
    [0, {}],
    [0, [1, 2]],
    [0, [[1]]],
    [0, [[1, 2, 3]]],
    [0, [[2, 1]]],
    [0, [[0, 1]]],
    [0, [[1, 2 ** 53]]],
    [0, [['1', '2']]],
    [0, [[1, Number.POSITIVE_INFINITY]]],
  ])('is not read from %j and %j', (upTo, extra) => {
    expect(dotSetFrom(upTo, extra)).toBeUndefined();
  });

  test('refuses to add what is no interval of counters', () => {
    for (const [from, to] of [
      [0, 1],
      [2, 1],
      [1.5, 2],
      [Number.NaN, 1],
      [1, 2 ** 53],
    ] as const) {
      expect(() => add(EMPTY_DOT_SET, from, to)).toThrow(RangeError);
    }
  });
});
