import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonicalText, checksum, hashHex } from '../../src/core/canonical.ts';

describe('[S22] the canonical text of RFC 8785', () => {
  test('its example of primitive types (3.2.2)', () => {
    const value = JSON.parse(
      '{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],' +
        '"string":"\\u20ac$\\u000F\\u000aA\'\\u0042\\u0022\\u005c\\\\\\"\\/","literals":[null,true,false]}',
    );
    expect(canonicalText(value)).toBe(
      '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],' +
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}',
    );
  });

  test('its example of sorting, by UTF-16 code units (3.2.3)', () => {
    const value = {
      '\u20ac': 'Euro Sign',
      '\r': 'Carriage Return',
      '\ufb33': 'Hebrew Letter Dalet With Dagesh',
      '1': 'One',
      '\u{1f600}': 'Emoji: Grinning Face',
      '\u0080': 'Control',
      '\u00f6': 'Latin Small Letter O With Diaeresis',
    };
    expect(canonicalText(value)).toBe(
      '{"\\r":"Carriage Return","1":"One","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis",' +
        '"\u20ac":"Euro Sign","\u{1f600}":"Emoji: Grinning Face","\ufb33":"Hebrew Letter Dalet With Dagesh"}',
    );
  });

  test.each([
    ['0000000000000000', '0'],
    ['8000000000000000', '0'],
    ['0000000000000001', '5e-324'],
    ['8000000000000001', '-5e-324'],
    ['7fefffffffffffff', '1.7976931348623157e+308'],
    ['ffefffffffffffff', '-1.7976931348623157e+308'],
    ['4340000000000000', '9007199254740992'],
    ['c340000000000000', '-9007199254740992'],
    ['4430000000000000', '295147905179352830000'],
    ['44b52d02c7e14af5', '9.999999999999997e+22'],
    ['44b52d02c7e14af6', '1e+23'],
    ['44b52d02c7e14af7', '1.0000000000000001e+23'],
    ['444b1ae4d6e2ef4e', '999999999999999700000'],
    ['444b1ae4d6e2ef4f', '999999999999999900000'],
    ['444b1ae4d6e2ef50', '1e+21'],
    ['3eb0c6f7a0b5ed8c', '9.999999999999997e-7'],
    ['3eb0c6f7a0b5ed8d', '0.000001'],
    ['41b3de4355555553', '333333333.3333332'],
    ['41b3de4355555554', '333333333.33333325'],
    ['41b3de4355555555', '333333333.3333333'],
    ['41b3de4355555556', '333333333.3333334'],
    ['41b3de4355555557', '333333333.33333343'],
    ['becbf647612f3696', '-0.0000033333333333333333'],
    ['43143ff3c1cb0959', '1424953923781206.2'],
  ])('its numbers (appendix B): %s is %s', (ieee, text) => {
    expect(canonicalText(Buffer.from(ieee, 'hex').readDoubleBE())).toBe(text);
  });

  test.each([[Number.NaN], [Number.POSITIVE_INFINITY], [undefined], [() => 1]])('there is none of %s', (value) => {
    expect(() => canonicalText(value)).toThrow();
  });

  test('is JSON of the same value, and the same in whatever order the keys were made', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (given) => {
        const value: unknown = JSON.parse(JSON.stringify(given));
        const text = canonicalText(value);
        expect(JSON.parse(text)).toEqual(value);
        expect(canonicalText(reversed(value))).toBe(text);
      }),
    );
  });
});

describe('[S22] a checksum', () => {
  test('is the first half of the SHA-256 of that text: 32 hex digits', () => {
    expect(checksum({})).toBe('44136fa355b3678a1146ad16f7e8649e');
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const hash = createHash('sha256').update(canonicalText(value), 'utf8').digest('hex');
        expect(hashHex(canonicalText(value))).toBe(hash);
        expect(checksum(value)).toBe(hash.slice(0, 32));
        expect(checksum(value)).toMatch(/^[0-9a-f]{32}$/);
      }),
    );
  });

  test('does not depend on the order of keys, but on that of elements', () => {
    expect(checksum({ a: { b: 1, c: 2 } })).toBe(checksum({ a: { c: 2, b: 1 } }));
    expect(checksum([1, 2])).not.toBe(checksum([2, 1]));
  });
});

/** With all keys in the opposite order. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([key, child]) => [key, reversed(child)]),
  );
}
