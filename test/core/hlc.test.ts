import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { HlcState, Stamp, StampParts } from '../../src/core/hlc.ts';
import {
  clampStamp,
  compareStamps,
  formatStamp,
  HLC_START,
  observe,
  parseStamp,
  stampOf,
  tick,
  toStamp,
} from '../../src/core/hlc.ts';
import { CLOUD, NODE_ID_PATTERN, toNodeId } from '../../src/core/ids.ts';

const MAX_WALL_MS = 2 ** 48 - 1;
const MAX_COUNTER = 0xffff;

function nodeOf(text: string): StampParts['node'] {
  const node = text === CLOUD ? CLOUD : toNodeId(text);
  if (node === undefined) throw new Error(`not a node: ${text}`);
  return node;
}

const NODE = nodeOf('n1');
const node = fc
  .oneof(fc.constantFrom('cloud', 'a', 'a-b', 'B', 'constructor'), fc.stringMatching(NODE_ID_PATTERN))
  .map(nodeOf);
const wallMs = fc.oneof(fc.nat({ max: 20 }), fc.integer({ min: 0, max: MAX_WALL_MS }), fc.constant(MAX_WALL_MS));
const counter = fc.oneof(fc.nat({ max: 3 }), fc.integer({ min: MAX_COUNTER - 2, max: MAX_COUNTER }));
const parts: fc.Arbitrary<StampParts> = fc.record({ wallMs, counter, node });

/** Wall clocks around one moment: they stand, jump, go back, and don't keep to whole milliseconds. */
const nowMs = fc.oneof(fc.integer({ min: -5, max: 60 }), fc.double({ min: 0, max: 60, noNaN: true }));
const nearby: fc.Arbitrary<StampParts> = fc.record({ wallMs: fc.nat({ max: 60 }), counter, node });

type Event = { readonly nowMs: number; readonly received: StampParts | undefined };
const events: fc.Arbitrary<Event[]> = fc.array(fc.record({ nowMs, received: fc.option(nearby, { nil: undefined }) }), {
  maxLength: 60,
});

function after(state: HlcState, event: Event): HlcState {
  if (event.received === undefined) return tick(state, event.nowMs);
  return observe(state, formatStamp(event.received), event.nowMs);
}

describe('a hybrid logical clock', () => {
  test('gives a later stamp for every event, though the wall clock stands, goes back or the counter overflows', () => {
    fc.assert(
      fc.property(counter, events, (start, list) => {
        let state: HlcState = { wallMs: 10, counter: start };
        for (const event of list) {
          const next = after(state, event);
          expect(compareStamps(stampOf(state, NODE), stampOf(next, NODE))).toBeLessThan(0);
          expect(toStamp(stampOf(next, NODE))).toBe(stampOf(next, NODE));
          state = next;
        }
      }),
    );
  });

  test('[I5] gives an effect a later stamp than its cause, at whichever node', () => {
    fc.assert(
      fc.property(events, nearby, nowMs, (list, cause, now) => {
        const state = observe(list.reduce(after, HLC_START), formatStamp(cause), now);
        for (const effect of ['0', 'zz'].map(nodeOf)) {
          expect(compareStamps(formatStamp(cause), stampOf(state, effect))).toBeLessThan(0);
        }
      }),
    );
  });

  test('stays with the wall clock where that is ahead, and otherwise with the latest stamp that it has met', () => {
    fc.assert(
      fc.property(events, (list) => {
        const walls = list.flatMap(({ nowMs: now, received }) => [Math.floor(now), received?.wallMs ?? 0]);
        const latest = Math.max(0, ...walls);
        const { wallMs: wall } = list.reduce(after, HLC_START);
        expect(wall).toBeGreaterThanOrEqual(latest);
        // Counters run over at most once for each event.
        expect(wall).toBeLessThanOrEqual(latest + list.length);
      }),
    );
  });

  test('reads the wall clock, and counts only while that stands', () => {
    const first = tick(HLC_START, 1_000);
    expect(first).toEqual({ wallMs: 1_000, counter: 0 });
    expect(tick(first, 1_000)).toEqual({ wallMs: 1_000, counter: 1 });
    expect(tick(first, 400)).toEqual({ wallMs: 1_000, counter: 1 });
    expect(tick(first, 1_001.9)).toEqual({ wallMs: 1_001, counter: 0 });
  });

  test('follows the rules of the paper on receipt', () => {
    const state = { wallMs: 100, counter: 5 };
    const at = (wall: number, count: number): Stamp => formatStamp({ wallMs: wall, counter: count, node: NODE });
    expect(observe(state, at(100, 9), 50)).toEqual({ wallMs: 100, counter: 10 });
    expect(observe(state, at(100, 2), 50)).toEqual({ wallMs: 100, counter: 6 });
    expect(observe(state, at(90, 9), 50)).toEqual({ wallMs: 100, counter: 6 });
    expect(observe(state, at(120, 9), 50)).toEqual({ wallMs: 120, counter: 10 });
    expect(observe(state, at(120, 9), 130)).toEqual({ wallMs: 130, counter: 0 });
  });

  test('goes on to the next millisecond where the counter is full', () => {
    expect(tick({ wallMs: 7, counter: MAX_COUNTER }, 0)).toEqual({ wallMs: 8, counter: 0 });
    const full = formatStamp({ wallMs: 9, counter: MAX_COUNTER, node: NODE });
    expect(observe({ wallMs: 7, counter: 1 }, full, 0)).toEqual({ wallMs: 10, counter: 0 });
  });

  test('takes no nonsense from the wall clock', () => {
    const state = { wallMs: 7, counter: 1 };
    for (const nonsense of [Number.NaN, Number.NEGATIVE_INFINITY, -1]) {
      expect(tick(state, nonsense)).toEqual({ wallMs: 7, counter: 2 });
    }
    expect(tick(state, Number.POSITIVE_INFINITY)).toEqual({ wallMs: MAX_WALL_MS, counter: 0 });
  });

  test('[I10] never goes beyond 48 bits: it says so rather than giving a stamp twice', () => {
    const last = { wallMs: MAX_WALL_MS, counter: MAX_COUNTER };
    expect(tick({ ...last, counter: MAX_COUNTER - 1 }, Number.MAX_SAFE_INTEGER)).toEqual(last);
    expect(() => tick(last, Number.MAX_SAFE_INTEGER)).toThrow(RangeError);
    expect(() => observe(HLC_START, stampOf(last, NODE), 0)).toThrow(RangeError);
  });
});

describe('a stamp', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(parts, (value) => {
        expect(parseStamp(formatStamp(value))).toEqual(value);
      }),
    );
  });

  test('is ordered as a string just as by wall, counter and node', () => {
    const rank = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);
    fc.assert(
      fc.property(parts, parts, fc.boolean(), fc.boolean(), (a, other, sameWall, sameCounter) => {
        const b = { ...other, ...(sameWall && { wallMs: a.wallMs }), ...(sameCounter && { counter: a.counter }) };
        const order = rank(a.wallMs, b.wallMs) || rank(a.counter, b.counter) || rank(a.node, b.node);
        expect(Math.sign(compareStamps(formatStamp(a), formatStamp(b)))).toBe(order);
      }),
    );
  });

  test.each([
    '',
    '0',
    '000000000000-0000',
    '000000000000-0000-',
    '00000000000-0000-n1',
    '0000000000000-0000-n1',
    '000000000000-000-n1',
    '00000000000A-0000-n1',
    '00000000000g-0000-n1',
    '000000000000_0000_n1',
    '000000000000-0000--n1',
    '000000000000-0000-n 1',
    '000000000000-0000-n1\n',
    ' 000000000000-0000-n1',
    `000000000000-0000-${'n'.repeat(65)}`,
  ])('is not read from %j', (text) => {
    expect(parseStamp(text)).toBeUndefined();
    expect(toStamp(text)).toBeUndefined();
  });

  test('may be of the cloud', () => {
    expect(parseStamp('00000000000a-000b-cloud')).toEqual({ wallMs: 10, counter: 11, node: CLOUD });
  });

  test('further ahead than the drift is put at now; any other stays as it is', () => {
    fc.assert(
      fc.property(nearby, fc.nat({ max: 60 }), fc.nat({ max: 20 }), (value, now, maxDriftMs) => {
        const stamp = formatStamp(value);
        const clamped = formatStamp({ wallMs: now, counter: 0, node: value.node });
        const isAhead = value.wallMs > now + maxDriftMs;
        expect(clampStamp(stamp, now, maxDriftMs)).toBe(isAhead ? clamped : stamp);
      }),
    );
  });

  test('never changes places with another clamped stamp of its node', () => {
    fc.assert(
      fc.property(nearby, nearby, (a, b) => {
        const [first = '', second = ''] = [a, { ...b, node: a.node }].map(formatStamp).toSorted();
        const [x, y] = [toStamp(first), toStamp(second)];
        if (x === undefined || y === undefined) throw new Error('unreachable');
        const [cx, cy] = [clampStamp(x, 5, 5), clampStamp(y, 5, 5)];
        if (cx !== x && cy !== y) expect(compareStamps(cx, cy)).toBeLessThanOrEqual(0);
      }),
    );
  });

  test('is a valid stamp also where now is before 1970 or a fraction', () => {
    const ahead = formatStamp({ wallMs: 99_999, counter: 3, node: NODE });
    expect(clampStamp(ahead, 12.7, 10)).toBe(formatStamp({ wallMs: 12, counter: 0, node: NODE }));
    expect(clampStamp(ahead, -3, 10)).toBe(formatStamp({ wallMs: 0, counter: 0, node: NODE }));
  });
});
