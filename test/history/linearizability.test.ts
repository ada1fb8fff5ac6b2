import { describe, expect, test } from 'vitest';
import { Random } from '../sim/random.ts';
import { checkLinearizability } from './linearizability.ts';
import type { Operation } from './operation.ts';
import { type Line, story } from './story.ts';

const STEPS = 100_000;

/** A strong operation, from one moment to another. */
const at = (line: string, startMs: number, endMs: number, told: Partial<Operation> = {}): Line => [
  line,
  { level: 'strong', startMs, endMs, ...told },
];

function isLinearizable(...lines: readonly Line[]): boolean {
  const { anomalies, skipped } = checkLinearizability(story(...lines), STEPS);
  expect(skipped).toEqual([]);
  return anomalies.length === 0;
}

describe('[I7] a history that is not linearizable is found', () => {
  test.each([
    ['a stale read', [at('a w x 1', 0, 1), at('a w x 2', 2, 3), at('b r x 1', 4, 5)]],
    ['nothing, where something is', [at('a w x 1', 0, 1), at('b r x -', 2, 3)]],
    ['a value from nowhere', [at('a w x 1', 0, 1), at('b r x 2', 2, 3)]],
    ['a read of what begins later', [at('b r x 1', 0, 1), at('a w x 1', 2, 3)]],
    ['there and back', [at('a w x 1', 0, 9), at('b r x 1', 1, 2), at('c r x -', 3, 4)]],
    [
      'two readers who saw two writes in two orders',
      [at('a w x 1', 0, 9), at('b w x 2', 0, 9), at('c r x 1', 1, 2), at('c r x 2', 3, 4), at('c r x 1', 5, 6)],
    ],
    ['a lost write', [at('a w x 1', 0, 1), at('b w x 2', 2, 3), at('c r x 2', 4, 5), at('c r x 1', 6, 7)]],
    [
      'an unknown write that happens twice',
      [
        at('a w x 1', 0, 1),
        at('b w x 2', 0, 1, { outcome: 'unknown' }),
        at('c r x 2', 2, 3),
        at('c w x 3', 4, 5),
        at('c r x 2', 6, 7),
      ],
    ],
    ['a refused write that is read', [at('a w x 1', 0, 1, { outcome: 'fail' }), at('b r x 1', 2, 3)]],
  ] satisfies [string, Line[]][])('%s', (_, lines) => {
    expect(isLinearizable(...lines)).toBe(false);
  });
});

describe('a history that is linearizable passes', () => {
  test.each([
    ['one after the other', [at('a r x -', 0, 1), at('a w x 1', 2, 3), at('b r x 1', 4, 5)]],
    ['a read beside the write that it shows', [at('a w x 1', 0, 9), at('b r x 1', 1, 2), at('c r x 1', 3, 4)]],
    ['a read beside a write that it doesn’t show', [at('a w x 1', 0, 9), at('b r x -', 1, 2), at('c r x 1', 3, 4)]],
    ['three that overlap', [at('a w x 1', 0, 9), at('b w x 2', 0, 9), at('c r x 2', 1, 5), at('d r x 1', 6, 8)]],
    [
      'an unknown write that happened late',
      [at('a w x 1', 0, 1, { outcome: 'unknown' }), at('b r x -', 2, 3), at('c r x 1', 4, 5)],
    ],
    ['an unknown write that never happened', [at('a w x 1', 0, 1, { outcome: 'unknown' }), at('b r x -', 2, 3)]],
    [
      'a write of another level that arrives in between',
      [['a w x 1', { level: 'eventual', startMs: 0, endMs: 1 }], at('b r x -', 2, 3), at('c r x 1', 4, 5)],
    ],
    ['what other keys hold', [at('a w x 1', 0, 1), at('b r y -', 2, 3), at('a w y 1', 4, 5), at('b r x 1', 6, 7)]],
    [
      'a value that comes again by another write',
      [at('a w x 1', 0, 1), at('a w x -', 2, 3), at('b r x -', 4, 5), at('a w x 1', 6, 7), at('b r x 1', 8, 9)],
    ],
  ] satisfies [string, Line[]][])('%s', (_, lines) => {
    expect(isLinearizable(...lines)).toBe(true);
  });
});

test('[I7] random registers pass, and are found as soon as one read shows what had given way before it began', () => {
  for (let seed = 1; seed <= 200; seed += 1) {
    const history = registerHistory(new Random(seed));
    expect(checkLinearizability(history, STEPS), `seed ${seed}`).toEqual({ anomalies: [], skipped: [] });
    const stale = staleRead(history);
    if (stale !== undefined) expect(checkLinearizability(stale, STEPS).anomalies, `seed ${seed}`).toHaveLength(1);
  }
});

test('a search that takes too long is given up, and says so', () => {
  const writes = Array.from({ length: 12 }, (_, value) => at(`c${value} w x ${value}`, 0, 9));
  const reads = ['1', '2', '1'].map((value, index) => at(`d r x ${value}`, index * 2 + 1, index * 2 + 2));
  const history = story(...writes, ...reads);
  expect(checkLinearizability(history, 100)).toEqual({ anomalies: [], skipped: ['x'] });
  expect(checkLinearizability(history, STEPS).anomalies).toHaveLength(1);
});

/** What five clients do with a register: each operation happens at a moment between its beginning and its end. */
function registerHistory(random: Random): Operation[] {
  const moments = Array.from({ length: 40 }, (_, moment) => ({ moment: moment * 10, isWrite: random.chance(0.4) }));
  const busyUntil = new Map<string, number>();
  let held: string | null = null;
  return moments.flatMap(({ moment, isWrite }, index) => {
    const client = `c${random.between(1, 5)}`;
    const startMs = Math.max(busyUntil.get(client) ?? 0, moment - random.between(0, 30));
    if (startMs > moment) return [];
    const endMs = moment + random.between(0, 30);
    busyUntil.set(client, endMs + 1);
    if (isWrite) held = `v${index}`;
    const isUnknown = isWrite && random.chance(0.2);
    const told = { startMs, endMs, outcome: isUnknown ? 'unknown' : 'ok' } as const;
    return story(at(`${client} ${isWrite ? 'w' : 'r'} x ${held ?? '-'}`, startMs, endMs, told));
  });
}

/** The same, but the last read shows the first value, if that had surely given way by then. */
function staleRead(history: readonly Operation[]): Operation[] | undefined {
  const sure = history.filter(({ op, outcome }) => op === 'write' && outcome === 'ok');
  const [first] = sure;
  const last = history.findLastIndex(({ op }) => op === 'read');
  const read = history[last];
  if (first === undefined || read === undefined) return undefined;
  const later = sure.find(({ startMs, endMs }) => startMs > first.endMs && endMs < read.startMs);
  return later && history.with(last, { ...read, value: first.value });
}
