import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDot, parseDot } from '../../src/core/dot.ts';
import { NODE_ID_PATTERN } from '../../src/core/ids.ts';

const node = fc.oneof(fc.constantFrom('cloud', 'n-1', 'a.b_c', '0', 'constructor'), fc.stringMatching(NODE_ID_PATTERN));
const counter = fc.oneof(fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }), fc.constant(Number.MAX_SAFE_INTEGER));

describe('a dot', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.record({ node, counter }), (dot) => {
        expect(parseDot(formatDot(dot))).toEqual(dot);
      }),
    );
  });

  test('has one name: whatever is read is written the same', () => {
    const text = fc.oneof(fc.string(), fc.stringMatching(/^[a-c:]{0,4}:[0-9+-]{0,18}$/));
    fc.assert(
      fc.property(text, (name) => {
        const dot = parseDot(name);
        if (dot !== undefined) expect(formatDot(dot)).toBe(name);
      }),
    );
  });

  test.each([
    '',
    ':',
    'n1',
    'n1:',
    ':1',
    'n1:0',
    'n1:01',
    'n1:-1',
    'n1:+1',
    'n1:1.5',
    'n1:1e3',
    'n1: 1',
    'n1:1 ',
    'n1:1\n',
    'n1:9007199254740992',
    'n1:99999999999999999999',
    'n1:1:2',
    '-n1:1',
    'n 1:1',
    '__proto__:1',
  ])('is not read from %j', (text) => {
    expect(parseDot(text)).toBeUndefined();
  });
});
