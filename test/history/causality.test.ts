import { describe, expect, test } from 'vitest';
import { checkCausality } from './causality.ts';
import type { IsOlder } from './operation.ts';
import { type Line, story } from './story.ts';
import { byDecision, byPlace, UNKNOWN_ORDER } from './version-order.ts';

const ORDER = byPlace({ x: ['1', '2', '3'], y: ['1', '2', '3'] });
const EVENTUAL = { level: 'eventual' } as const;

function rulesOf(lines: readonly Line[], isOlder: IsOlder = UNKNOWN_ORDER): string[] {
  return checkCausality(story(...lines), isOlder).map(({ rule }) => rule);
}

describe('[I6] each guarantee of a session that is broken is found, by its name', () => {
  test.each([
    ['read your writes', ['ann w x 1', 'ann r x -']],
    ['read your writes', ['bob w x 1', 'ann w x 2', 'ann r x 1']],
    ['monotonic reads', ['bob w x 1', 'bob w x 2', 'ann r x 2', 'ann r x 1']],
    ['monotonic reads', ['bob w x 1', ['ann r x 1', EVENTUAL], 'ann r x -']],
    ['monotonic writes', ['ann w x 1', 'ann w y 1', 'bob r y 1', 'bob r x -']],
    ['monotonic writes', ['ann w x 2', 'ann w x 1']],
    ['writes follow reads', ['cid w x 1', 'ann r x 1', 'ann w y 1', 'bob r y 1', 'bob r x -']],
    ['writes follow reads', ['cid w x 2', 'ann r x 2', 'ann w x 1']],
  ] satisfies [string, Line[]][])('%s: %j', (rule, lines) => {
    expect(rulesOf(lines, ORDER)).toEqual([rule]);
  });
});

describe('[I5] an effect without its cause is found', () => {
  test('over any number of clients', () => {
    const chain = ['ann w x 1', 'bob r x 1', 'bob w y 1', 'cid r y 1', 'cid w z 1', 'dan r z 1'];
    expect(rulesOf([...chain, 'dan r x -'])).toEqual(['causality']);
    expect(rulesOf([...chain, 'dan r y -'])).toEqual(['writes follow reads']);
    expect(rulesOf([...chain, 'dan r x 1', 'dan r y 1'])).toEqual([]);
  });

  test('where the order of versions is known by what the writers had seen alone', () => {
    const overwritten = ['ann w x 1', 'bob r x 1', 'bob w x 2', 'bob w y 1', 'cid r y 1'];
    expect(rulesOf([...overwritten, 'cid r x 1'])).toEqual(['monotonic writes']);
    expect(rulesOf([...overwritten, 'cid r x 2'])).toEqual([]);
  });

  test('in a circle: each reads what the other writes later', () => {
    expect(rulesOf(['ann r y 1', 'bob r x 1', 'ann w x 1', 'bob w y 1'])).toEqual(['causality']);
  });

  test('and what nobody has written, or what was refused', () => {
    expect(rulesOf(['ann r x 7'])).toEqual(['written by nobody']);
    expect(rulesOf([['ann w x 1', { outcome: 'fail' }], 'bob r x 1'])).toEqual(['written by nobody']);
  });
});

describe('what is allowed passes', () => {
  test.each([
    ['an eventual read of what is old', ['ann w x 1', ['ann r x -', EVENTUAL]]],
    ['a write without an answer, read or not', [['ann w x 1', { outcome: 'unknown' }], 'ann r x -', 'bob r x 1']],
    ['a refused write that is not read', [['ann w x 1', { outcome: 'fail' }], 'ann r x -']],
    ['a later value of another writer', ['ann w x 1', 'bob w x 2', 'ann r x 2', 'bob r x 2']],
    ['values whose order nobody knows', ['ann w x 1', 'bob w x 9', 'ann r x 9', 'ann r x 1']],
    ['store buffering', ['ann w x 1', 'bob w y 1', 'ann r y -', 'bob r x -']],
    [
      'independent reads of independent writes',
      ['ann w x 1', 'bob w y 1', 'cid r x 1', 'cid r y -', 'dan r y 1', 'dan r x -'],
    ],
    ['what goes ahead of its cause', ['ann w x 1', ['ann w y 1', { isAhead: true }], 'bob r y 1', 'bob r x -']],
    ['who carries nothing', ['ann w x 1', 'bob r x 1', 'cid r x -']],
  ] satisfies [string, Line[]][])('%s: %j', (_, lines) => {
    expect(rulesOf(lines, ORDER)).toEqual([]);
  });
});

test('a conflict that was decided orders its two sides, one way', () => {
  const order = byDecision([['x', '9', '1']]);
  expect(rulesOf(['ann w x 1', 'bob w x 9', 'ann r x 9'], order)).toEqual(['read your writes']);
  expect(rulesOf(['ann w x 1', 'bob w x 9', 'bob r x 1'], order)).toEqual([]);
});

test('a write that goes ahead of its cause is followed by its own client all the same', () => {
  const roaming: Line[] = ['ann w x 1', ['ann w y 1', { isAhead: true }]];
  expect(rulesOf([...roaming, 'ann r x -'])).toEqual(['read your writes']);
});
