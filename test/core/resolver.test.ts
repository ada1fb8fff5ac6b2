import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_DEPTH } from '../../src/core/delta.ts';
import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import { checkResolverOutput, MAX_METADATA_CHARS } from '../../src/core/resolver.ts';

/** What JSON makes of a value: the oracle. */
const throughJson = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
const check = (resolvedData: unknown) => checkResolverOutput({ winner: 'merged', resolvedData });
const boom = () => {
  throw new Error('boom');
};

describe('an answer that makes sense', () => {
  test('is taken as it is, for every JSON record', () => {
    const record = fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 5 })).map(throughJson);
    const winner = fc.constantFrom('local', 'remote', 'merged');
    fc.assert(
      fc.property(winner, fc.oneof(record, fc.constant(null)), (winner, resolvedData) => {
        expect(checkResolverOutput({ winner, resolvedData })).toEqual({ winner, resolvedData });
      }),
    );
  });

  test('with its reason, and what else it says', () => {
    const metadata = { reason: 'the larger one', score: 3, tags: ['a'] };
    const output = { winner: 'local', resolvedData: {}, metadata };
    expect(checkResolverOutput(output)).toEqual(output);
    expect(checkResolverOutput({ ...output, metadata: undefined, more: boom })).toEqual({
      winner: 'local',
      resolvedData: {},
    });
  });

  test('is a copy: the resolver keeps no hold on the record', () => {
    const kept = { list: [{ n: 1 }] };
    const output = check(kept);
    kept.list[0] = { n: 2 };
    kept.list.push({ n: 3 });
    expect(output?.resolvedData).toEqual({ list: [{ n: 1 }] });
  });

  test('names by which a prototype could be reached are names, and reach none', () => {
    const output = check(JSON.parse('{"__proto__":{"polluted":1},"constructor":2}'));
    expect(JSON.stringify(output?.resolvedData)).toBe('{"__proto__":{"polluted":1},"constructor":2}');
    expect(Object.getPrototypeOf(output?.resolvedData)).toBe(Object.prototype);
    expect(output?.resolvedData?.['polluted']).toBeUndefined();
  });

  test('-0, which JSON has not, is 0, and an object without a prototype is one', () => {
    const data = Object.assign(Object.create(null), { n: -0 });
    expect(check(data)?.resolvedData).toStrictEqual({ n: 0 });
  });

  test(`nested ${MAX_DEPTH} deep, and no deeper`, () => {
    expect(check(nested(MAX_DEPTH))).toBeDefined();
    expect(check(nested(MAX_DEPTH + 1))).toBeUndefined();
    expect(check(nested(100_000))).toBeUndefined();
  });
});

test('[I10] a record may have as many values as one that is not too large', () => {
  expect(check({ list: new Array(128 * 1024 - 2).fill(0) })).toBeDefined();
  expect(check({ list: new Array(128 * 1024 - 1).fill(0) })).toBeUndefined();
});

describe('nonsense is told as such, and nothing throws', () => {
  const circle: { self?: unknown } = {};
  circle.self = circle;
  let shared: unknown = {};
  for (let depth = 1; depth < MAX_DEPTH; depth += 1) shared = { a: shared, b: shared };
  const { proxy: revoked, revoke } = Proxy.revocable({}, {});
  revoke();

  test.each<[string, unknown]>([
    ['nothing', undefined],
    ['a text', 'local'],
    ['an array', ['local', {}]],
    ['a promise', Promise.resolve({ winner: 'local', resolvedData: {} })],
    ['no winner', { resolvedData: {} }],
    ['an unknown winner', { winner: 'both', resolvedData: {} }],
    ['no data', { winner: 'local' }],
    [
      'a getter that throws',
      {
        winner: 'local',
        get resolvedData() {
          return boom();
        },
      },
    ],
    ['a proxy that throws', new Proxy({}, { get: boom })],
    ['a revoked proxy', revoked],
    ['metadata that are no object', { winner: 'local', resolvedData: {}, metadata: 'why' }],
    ['metadata that JSON can not hold', { winner: 'local', resolvedData: {}, metadata: { why: boom } }],
    ['a reason that is no text', { winner: 'local', resolvedData: {}, metadata: { reason: 1 } }],
    ['long metadata', { winner: 'local', resolvedData: {}, metadata: { reason: 'x'.repeat(MAX_METADATA_CHARS) } }],
  ])('%s', (_, value) => {
    expect(checkResolverOutput(value)).toBeUndefined();
  });

  test.each<[string, unknown]>([
    ['a number', 1],
    ['an array', []],
    ['a date', new Date(0)],
    ['a map', new Map([['a', 1]])],
    [
      'an instance of a class',
      new (class Note {
        text = 'x';
      })(),
    ],
    ['a boxed text', { a: new String('x') }],
    ['undefined in it', { a: undefined }],
    ['a function in it', { a: boom }],
    ['a symbol in it', { a: Symbol('x') }],
    ['a bigint in it', { a: 1n }],
    ['NaN in it', { a: Number.NaN }],
    ['Infinity in it', { a: [Number.POSITIVE_INFINITY] }],
    ['a hole in it', { a: new Array(2 ** 32 - 1) }],
    ['half a surrogate pair in it', { a: '\ud800' }],
    ['half a surrogate pair as a name', { ['\udc00']: 1 }],
    ['a toJSON', { toJSON: () => ({}) }],
    ['a circle', circle],
    ['2^32 values, by sharing', shared],
    [
      'a getter that throws',
      {
        a: {
          get b() {
            return boom();
          },
        },
      },
    ],
    ['a proxy that throws', { a: new Proxy({}, { ownKeys: boom }) }],
    ['a proxy without end', { a: new Proxy([], { get: (_, key) => (key === 'length' ? 2 ** 40 : 0) }) }],
    ['a revoked proxy', { a: revoked }],
  ])('data: %s', (_, data) => {
    expect(check(data)).toBeUndefined();
  });

  test('for whatever there is: it is taken only where JSON would make the same of it', () => {
    const value = fc.anything({
      withBigInt: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withSparseArray: true,
      withTypedArray: true,
      withNullPrototype: true,
    });
    fc.assert(
      fc.property(fc.dictionary(fc.string(), value), (data) => {
        const output = check(data);
        if (output !== undefined) expect(output.resolvedData).toStrictEqual(throughJson(data));
        // Wrong in one place is wrong.
        expect(check({ ...data, wrong: undefined })).toBeUndefined();
      }),
    );
  });
});

function nested(depth: number): JsonObject {
  let value: JsonValue = 1;
  for (let level = 0; level < depth; level += 1) value = { a: value };
  return value as unknown as JsonObject;
}
