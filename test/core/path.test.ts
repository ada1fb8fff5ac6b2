import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatPath, isForbidden, isWithin, overlaps, parsePath } from '../../src/core/path.ts';

const segment = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'b',
    'a.b',
    '.',
    'a/b',
    '/',
    '/a',
    '~',
    '~0',
    '~1',
    '~01',
    '~2',
    '0',
    ' ',
    '\n',
    'ß',
    '😀',
    '\ud800',
  ),
  fc.string(),
  fc.string({ unit: fc.constantFrom('.', '/', '~', '0', '1', 'a') }),
);
const path = fc.array(segment, { minLength: 1, maxLength: 5 });
const shortPath = fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 4 });

describe('a path', () => {
  test('is read back as it was written, whatever its segments', () => {
    fc.assert(
      fc.property(path, (segments) => {
        expect(parsePath(formatPath(segments))).toEqual(segments);
      }),
      { numRuns: 1_000 },
    );
  });

  test('means the same after it was read and written again', () => {
    const text = fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom('.', '/', '~', '0', '1', '2', 'a') }));
    fc.assert(
      fc.property(text, (written) => {
        const segments = parsePath(written);
        if (segments !== undefined) expect(parsePath(formatPath(segments))).toEqual(segments);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    [['a'], 'a'],
    [['a', 'b', '0'], 'a.b.0'],
    [['a/b', 'c~d'], 'a/b.c~d'],
    [['a', '/b'], 'a./b'],
    [['/a'], '/~1a'],
    [['a.b', 'c'], '/a.b/c'],
    [['', 'a'], '//a'],
    [[''], '/'],
    [['a', ''], '/a/'],
    [['a.b', '~1/'], '/a.b/~01~1'],
  ])('%j is written %j', (segments, text) => {
    expect(formatPath(segments)).toBe(text);
    expect(parsePath(text)).toEqual(segments);
  });

  // From RFC 6901, section 5.
  test.each([
    ['/foo', ['foo']],
    ['/foo/0', ['foo', '0']],
    ['/', ['']],
    ['/a~1b', ['a/b']],
    ['/c%d', ['c%d']],
    ['/m~0n', ['m~n']],
    ['/~01', ['~1']],
  ])('reads the JSON Pointer %j as %j', (text, segments) => {
    expect(parsePath(text)).toEqual(segments);
  });

  test.each(['', '.', 'a.', '.a', 'a..b', '/~', '/a~2', '/a/~x'])('is not read from %j', (text) => {
    expect(parsePath(text)).toBeUndefined();
  });

  test('is forbidden where any segment leads to a prototype, and only there', () => {
    for (const name of ['__proto__', 'constructor', 'prototype']) {
      expect(isForbidden([name])).toBe(true);
      expect(isForbidden(['a', name, 'b'])).toBe(true);
    }
    for (const name of ['proto', '__proto', 'Constructor', 'toString', '']) expect(isForbidden([name])).toBe(false);
  });

  test('overlaps with what it is inside of and what is inside of it', () => {
    expect(overlaps(['a'], ['a', 'b'])).toBe(true);
    expect(overlaps(['a', 'b'], ['a'])).toBe(true);
    expect(overlaps(['a', 'b'], ['a', 'c'])).toBe(false);
    expect(overlaps(['a'], ['ab'])).toBe(false);
    fc.assert(
      fc.property(shortPath, shortPath, (a, b) => {
        const [x, y] = [`${a.join('.')}.`, `${b.join('.')}.`];
        expect(isWithin(a, b)).toBe(x.startsWith(y));
        expect(overlaps(a, b)).toBe(x.startsWith(y) || y.startsWith(x));
      }),
    );
  });
});
