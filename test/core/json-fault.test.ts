import fc from 'fast-check';
import { expect, test } from 'vitest';
import { canonicalText } from '../../src/core/canonical.ts';
import { jsonFault } from '../../src/core/json-fault.ts';

test('what passes has a canonical text, and what has none does not pass', () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('"\\ud800"', '"\\udc00x"', '1e400', '-1e999', '1e308', '"\\ud83d\\ude00"'),
  );
  const json = fc.letrec((tie) => ({
    value: fc.oneof({ depthSize: 'small' }, text, fc.jsonValue(), tie('array'), tie('object')),
    array: fc.array(tie('value')),
    object: fc.dictionary(fc.string({ unit: fc.constantFrom('a', '\ud800', '\u{1f600}') }), tie('value')),
  })).value;
  const parsed = (value: unknown): unknown => {
    if (typeof value === 'string') return value.startsWith('"') || /^-?\d/.test(value) ? tryParse(value) : value;
    if (Array.isArray(value)) return value.map(parsed);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, parsed(child)]));
  };
  fc.assert(
    fc.property(json, (value) => {
      const made = parsed(value);
      expect(jsonFault(made, 1_000) === undefined).toBe(hasCanonicalText(made));
    }),
    { numRuns: 500 },
  );
});

test('it is told where', () => {
  expect(jsonFault({ a: [1, { b: '\ud800' }] }, 9)).toMatchObject({ kind: 'no-json', path: ['a', '1', 'b'] });
  expect(jsonFault({ a: { '\ud800': 1 } }, 9)).toMatchObject({ kind: 'no-json', path: ['a', '\ufffd'] });
  expect(jsonFault(JSON.parse('{"n":1e400}'), 9)).toMatchObject({ kind: 'no-json', path: ['n'] });
  expect(jsonFault({ a: [[]] }, 2)).toEqual({ kind: 'too-deep', path: ['a', '0'] });
  expect(jsonFault({ a: [[]] }, 3)).toBeUndefined();
});

test('[I10] it goes no deeper than it is told, however deep a value is', () => {
  const deep: unknown = JSON.parse(`${'['.repeat(200_000)}${']'.repeat(200_000)}`);
  expect(jsonFault(deep, 32)).toMatchObject({ kind: 'too-deep' });
});

function hasCanonicalText(value: unknown): boolean {
  try {
    canonicalText(value);
    return true;
  } catch {
    return false;
  }
}

function tryParse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
