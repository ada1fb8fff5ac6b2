import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Operation } from '../../src/core/delta.ts';
import {
  applyOperations,
  compose,
  diff,
  exceedsDepth,
  isSmaller,
  MAX_DEPTH,
  MAX_OPERATIONS,
  mergePatchOperations,
} from '../../src/core/delta.ts';
import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import { isJsonObject, jsonEqual } from '../../src/core/json.ts';
import { formatPath, parsePath } from '../../src/core/path.ts';

// Records that are hard on purpose. Few different keys and values, so that two records have much in common.

const FORBIDDEN_KEYS = ['__proto__', 'constructor', 'prototype'];
const PLAIN_KEYS = ['a', 'b', 'c', '0', '1', 'toString', 'length'];
const NASTY_KEYS = ['', 'a.b', 'a/b', '/', '/a', '~', '~1', '.', ' ', 'ß', '😀', '\ud800', 'hasOwnProperty'];

const scalar: fc.Arbitrary<JsonValue> = fc.oneof(
  fc.constantFrom<JsonValue>(null, true, false, 0, 1, 2, -1, 0.5, 1e21, '', 'a', '0', 'ß😀', '\ud800'),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.string(),
);

function recordsOf(key: fc.Arbitrary<string>, leaf: fc.Arbitrary<JsonValue> = scalar): fc.Arbitrary<JsonObject> {
  return fc.letrec<{ value: JsonValue; object: JsonObject }>((tie) => ({
    value: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      leaf,
      tie('object'),
      fc.array(tie('value'), { maxLength: 5 }),
    ),
    // From entries, as JSON.parse does: also `__proto__` becomes an own key.
    object: fc.array(fc.tuple(key, tie('value')), { maxLength: 5 }).map((entries) => Object.fromEntries(entries)),
  })).object;
}

const nastyRecord = recordsOf(fc.constantFrom(...PLAIN_KEYS, ...NASTY_KEYS));
const hostileRecord = recordsOf(fc.constantFrom(...PLAIN_KEYS, ...NASTY_KEYS, ...FORBIDDEN_KEYS));
const smallRecord = recordsOf(fc.constantFrom('a', 'b', '0'));
/** Numbers that are exact in binary, so that sums don't depend on the order of adding. */
const exactRecord = recordsOf(fc.constantFrom('a', 'b', '0'), fc.constantFrom(null, 0, 1, -2, 0.5, 'x', true));
const anyRecord = fc.oneof(
  nastyRecord,
  smallRecord,
  fc
    .dictionary(
      fc.string(),
      fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value))),
    )
    .map(plain),
);

const path = fc.array(fc.constantFrom('a', 'b', '0', '1'), { minLength: 1, maxLength: 3 }).map(formatPath);
const amount = fc.constantFrom(0, 1, 2, -1, -3, 0.5, 0.25);
const element: fc.Arbitrary<JsonValue> = fc.constantFrom<JsonValue>(
  null,
  0,
  1,
  'x',
  [],
  {},
  [1],
  { a: 1 },
  { a: { b: [] } },
);
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ op: fc.constant('set' as const), path, value: element }),
  fc.record({ op: fc.constant('unset' as const), path }),
  fc.record({ op: fc.constant('increment' as const), path, value: amount }),
  fc.record({ op: fc.constant('push' as const), path, value: element }),
  fc.record({ op: fc.constant('pull' as const), path, value: element }),
);
const operations = fc.array(operation, { maxLength: 12 });

function plain(value: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(value));
}

function nested(levels: number): JsonObject {
  return JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
}

/** What of `list` succeeds, one after another. */
function feasible(data: JsonObject, list: readonly Operation[]): Operation[] {
  const kept: Operation[] = [];
  for (const next of list) if (isOk(data, [...kept, next])) kept.push(next);
  return kept;
}

function isOk(data: JsonObject, list: readonly Operation[]): boolean {
  return applyOperations(data, list).ok;
}

function applied(data: JsonObject, list: readonly Operation[]): JsonObject {
  const result = applyOperations(data, list);
  if (!result.ok) throw new Error(`${result.reason} at ${result.index}: ${result.detail}`);
  return result.data;
}

function refusal(data: JsonObject, ...list: Operation[]): string {
  const result = applyOperations(data, list);
  return result.ok ? 'ok' : `${result.index} ${result.reason}`;
}

function frozen<T extends JsonValue | readonly Operation[]>(value: T): T {
  if (typeof value === 'object' && value !== null) {
    for (const child of Object.values(value)) frozen(child);
    Object.freeze(value);
  }
  return value;
}

/** Sorted keys, so that equal text is equal data; written apart from the code under test. */
function canonical(value: JsonValue): string {
  return JSON.stringify(value, (_, child) => {
    if (!isJsonObject(child)) return child;
    return Object.fromEntries(Object.entries(child).sort(([a], [b]) => (a < b ? -1 : 1)));
  });
}

function hasForbiddenKey(value: JsonValue): boolean {
  return FORBIDDEN_KEYS.some((key) => JSON.stringify(value).includes(`"${key}":`));
}

/** The plainest reading of the rules: clone everything, change in place, one operation at a time. */
function model(data: JsonObject, { path: text, ...operation }: Operation): JsonValue | undefined {
  const root = JSON.parse(JSON.stringify(data));
  const keys = parsePath(text) ?? [];
  const last = keys.at(-1) ?? '';
  const hasChild = (parent: object, key: string): boolean =>
    Array.isArray(parent) ? Object.keys(parent).includes(key) : Object.hasOwn(parent, key);
  const isRemoval = operation.op === 'unset' || operation.op === 'pull';
  let parent = root;
  for (const key of keys.slice(0, -1)) {
    if (!hasChild(parent, key)) {
      if (Array.isArray(parent)) return undefined;
      if (isRemoval) return root;
      parent[key] = {};
    }
    parent = parent[key];
    if (typeof parent !== 'object' || parent === null) return undefined;
  }
  const has = hasChild(parent, last);
  if (Array.isArray(parent) && (!has || operation.op === 'unset')) return undefined;
  switch (operation.op) {
    case 'set':
      parent[last] = operation.value;
      return root;
    case 'unset':
      delete parent[last];
      return root;
    case 'increment':
      if (has && typeof parent[last] !== 'number') return undefined;
      parent[last] = (has ? parent[last] : 0) + operation.value;
      return root;
    case 'push':
      if (has && !Array.isArray(parent[last])) return undefined;
      parent[last] = [...(has ? parent[last] : []), operation.value];
      return root;
    case 'pull':
      if (has && !Array.isArray(parent[last])) return undefined;
      if (has) parent[last] = parent[last].filter((item: JsonValue) => canonical(item) !== canonical(operation.value));
      return root;
  }
}

describe('applying operations', () => {
  test('gives what the plainest reading of the rules gives, refusals included', () => {
    const counts = { ok: 0, refused: 0 };
    fc.assert(
      fc.property(smallRecord, operations, (data, list) => {
        let expected: JsonObject = data;
        let failedAt = -1;
        for (const [index, next] of list.entries()) {
          const result = model(expected, next);
          if (!isJsonObject(result)) {
            failedAt = index;
            break;
          }
          expected = result;
        }
        const result = applyOperations(data, list);
        if (result.ok) expect([canonical(result.data), -1]).toEqual([canonical(expected), failedAt]);
        else expect(result.index).toBe(failedAt);
        counts[result.ok ? 'ok' : 'refused'] += 1;
      }),
      { numRuns: 3_000 },
    );
    expect(Math.min(counts.ok, counts.refused)).toBeGreaterThan(100);
  });

  test('never changes the record or the operations, nor lets one place show through another', () => {
    fc.assert(
      fc.property(smallRecord, operations, (data, list) => {
        const [dataBefore, listBefore] = [canonical(data), JSON.stringify(list)];
        const kept = feasible(frozen(data), frozen(list));
        expect(isOk(data, kept)).toBe(true);
        expect([canonical(data), JSON.stringify(list)]).toEqual([dataBefore, listBefore]);
      }),
    );
    const shared: JsonValue = { n: 0 };
    const twice = applied({}, [
      { op: 'set', path: 'a', value: shared },
      { op: 'set', path: 'b', value: shared },
      { op: 'increment', path: 'a.n', value: 1 },
    ]);
    expect(twice).toEqual({ a: { n: 1 }, b: { n: 0 } });
  });

  test('[I8] does all or nothing, and says which operation was refused', () => {
    const data = frozen({ a: 1 });
    const result = applyOperations(data, [
      { op: 'set', path: 'a', value: 2 },
      { op: 'push', path: 'a', value: 3 },
    ]);
    expect(result).toEqual({ ok: false, index: 1, reason: 'not-an-array', detail: expect.stringContaining('"a"') });
    expect(data).toEqual({ a: 1 });
  });

  test('shares what it does not touch', () => {
    const data = { a: { b: 1 }, c: { d: 2 } };
    expect(applied(data, [{ op: 'set', path: 'a.b', value: 3 }])['c']).toBe(data.c);
  });

  test('makes missing parents for set, increment and push, and for nothing else', () => {
    expect(applied({}, [{ op: 'set', path: 'a.b.c', value: null }])).toEqual({ a: { b: { c: null } } });
    expect(applied({}, [{ op: 'increment', path: 'a.n', value: 2 }])).toEqual({ a: { n: 2 } });
    expect(applied({}, [{ op: 'push', path: 'a.0', value: 'x' }])).toEqual({ a: { '0': ['x'] } });
    expect(applied({}, [{ op: 'unset', path: 'a.b' }])).toEqual({});
    expect(applied({}, [{ op: 'pull', path: 'a.b', value: 1 }])).toEqual({});
  });

  test('takes an inherited name for missing', () => {
    for (const name of ['toString', 'valueOf', 'hasOwnProperty']) {
      expect(applied({}, [{ op: 'increment', path: name, value: 1 }])).toEqual({ [name]: 1 });
      expect(applied({}, [{ op: 'set', path: `${name}.a`, value: 1 }])).toEqual({ [name]: { a: 1 } });
      expect(applied({}, [{ op: 'pull', path: name, value: 1 }])).toEqual({});
    }
    expect(refusal({ list: [1] }, { op: 'set', path: 'list.length', value: 0 })).toBe('0 bad-index');
  });

  test('goes through no value that has no parts', () => {
    for (const value of ['text', 1, null, true]) {
      for (const op of ['set', 'push', 'pull'] as const) {
        expect(refusal({ a: value }, { op, path: 'a.b', value: 1 })).toBe('0 not-an-object');
      }
      expect(refusal({ a: value }, { op: 'unset', path: 'a.b' })).toBe('0 not-an-object');
    }
  });

  test('names only elements that are there, by the digits that JavaScript writes', () => {
    const data = { list: [1, { n: 1 }] };
    expect(applied(data, [{ op: 'set', path: 'list.0', value: 9 }])).toEqual({ list: [9, { n: 1 }] });
    expect(applied(data, [{ op: 'increment', path: '/list/1/n', value: 1 }])).toEqual({ list: [1, { n: 2 }] });
    expect(applied(data, [{ op: 'unset', path: 'list.1.n' }])).toEqual({ list: [1, {}] });
    for (const index of ['2', '-', '-1', '00', '01', '1.0', '1e0', ' 1', 'x', '+1']) {
      expect(refusal(data, { op: 'set', path: formatPath(['list', index]), value: 0 })).toBe('0 bad-index');
    }
    expect(refusal(data, { op: 'unset', path: 'list.0' })).toBe('0 bad-index');
    expect(refusal(data, { op: 'unset', path: 'list.7' })).toBe('0 bad-index');
  });

  test('increments numbers only, to finite numbers only, and never to -0', () => {
    const add = (value: number): Operation => ({ op: 'increment', path: 'n', value });
    expect(applied({ n: 1.5 }, [add(-2)])).toEqual({ n: -0.5 });
    expect(Object.is(applied({ n: -0 }, [add(-0)])['n'], 0)).toBe(true);
    expect(refusal({ n: Number.MAX_VALUE }, add(Number.MAX_VALUE))).toBe('0 not-a-number');
    expect(refusal({}, add(Number.NaN))).toBe('0 not-a-number');
    for (const value of [null, '1', true, [], {}]) expect(refusal({ n: value }, add(1))).toBe('0 not-a-number');
  });

  test('pushes onto arrays only, and pulls every deeply equal element, whatever the order of its keys', () => {
    const data = { list: [{ a: 1, b: 2 }, 1, { b: 2, a: 1 }, '1', [1], 1] };
    expect(applied(data, [{ op: 'pull', path: 'list', value: { b: 2, a: 1 } }])).toEqual({ list: [1, '1', [1], 1] });
    expect(applied(data, [{ op: 'pull', path: 'list', value: 1 }])).toEqual({
      list: [data.list[0], data.list[2], '1', [1]],
    });
    for (const op of ['push', 'pull'] as const) {
      for (const value of [null, 1, 'x', {}])
        expect(refusal({ a: value }, { op, path: 'a', value: 1 })).toBe('0 not-an-array');
    }
  });

  test.each(['', 'a..b', '.', '/a~2'])('refuses the bad path %j', (text) => {
    expect(refusal({}, { op: 'set', path: text, value: 1 })).toBe('0 bad-path');
  });

  test.each([
    '__proto__.polluted',
    'constructor.prototype.polluted',
    'a.__proto__.polluted',
    '/a/prototype',
    '__proto__',
  ])('[I9] refuses %j, with any operation, and leaves every prototype as it was', (text) => {
    const before = Object.getOwnPropertyNames(Object.prototype);
    const hostile = JSON.parse('{"a":{"__proto__":{"x":1},"constructor":{"prototype":{}}},"__proto__":{"y":1}}');
    for (const data of [{}, { a: {} }, hostile]) {
      for (const op of ['set', 'push', 'pull'] as const) {
        expect(refusal(data, { op, path: text, value: 1 })).toBe('0 forbidden-path');
      }
      expect(refusal(data, { op: 'increment', path: text, value: 1 })).toBe('0 forbidden-path');
      expect(refusal(data, { op: 'unset', path: text })).toBe('0 forbidden-path');
    }
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(before);
    expect('polluted' in {}).toBe(false);
  });

  test('[I9] leaves a key `__proto__` of the data as it is: untouched, an own key, nobody’s prototype', () => {
    const data: JsonObject = JSON.parse('{"__proto__":{"x":1},"a":{"__proto__":[1],"b":1}}');
    const value: JsonValue = JSON.parse('{"__proto__":{"z":1}}');
    const result = applied(data, [
      { op: 'increment', path: 'a.b', value: 1 },
      { op: 'set', path: 'c', value },
      { op: 'set', path: 'c.d', value: 1 },
      { op: 'unset', path: 'a.x' },
    ]);
    expect(canonical(result)).toBe('{"__proto__":{"x":1},"a":{"__proto__":[1],"b":2},"c":{"__proto__":{"z":1},"d":1}}');
    expect(Object.getPrototypeOf(result)).toBe(Object.prototype);
    expect('x' in result).toBe(false);
  });

  test('[I10] makes nothing deeper than the limit', () => {
    const deepPath = (length: number): string => Array.from({ length }, () => 'a').join('.');
    expect(refusal({}, { op: 'set', path: deepPath(MAX_DEPTH), value: 1 })).toBe('ok');
    expect(refusal({}, { op: 'set', path: deepPath(MAX_DEPTH), value: {} })).toBe('0 too-deep');
    expect(refusal({}, { op: 'set', path: deepPath(MAX_DEPTH - 1), value: {} })).toBe('ok');
    expect(refusal({}, { op: 'push', path: deepPath(MAX_DEPTH - 1), value: 1 })).toBe('ok');
    expect(refusal({}, { op: 'push', path: deepPath(MAX_DEPTH), value: 1 })).toBe('0 too-deep');
    for (const op of ['increment', 'pull'] as const) {
      expect(refusal({}, { op, path: deepPath(MAX_DEPTH), value: 1 })).toBe('ok');
      expect(refusal({}, { op, path: deepPath(MAX_DEPTH + 1), value: 1 })).toBe('0 too-deep');
    }
    expect(refusal({}, { op: 'unset', path: deepPath(MAX_DEPTH + 1) })).toBe('0 too-deep');
    expect(refusal({}, { op: 'set', path: 'a', value: nested(100_000) })).toBe('0 too-deep');
  });

  test('measures depth in containers inside one another', () => {
    expect(exceedsDepth('text', 0)).toBe(false);
    expect(exceedsDepth({}, 0)).toBe(true);
    expect(exceedsDepth({ a: [1] }, 2)).toBe(false);
    expect(exceedsDepth({ a: [[]] }, 2)).toBe(true);
  });
});

describe('the difference of two records', () => {
  test('[I3] applied to the first gives exactly the second, for every JSON that has no forbidden key', () => {
    fc.assert(
      fc.property(anyRecord, anyRecord, (before, after) => {
        fc.pre(!hasForbiddenKey([before, after]));
        const delta = diff(frozen(before), frozen(after));
        expect(delta).toBeDefined();
        expect(canonical(applied(before, delta ?? []))).toBe(canonical(after));
      }),
      { numRuns: 2_000 },
    );
  });

  test('[I3] also where the second came from the first by a few operations', () => {
    fc.assert(
      fc.property(smallRecord, operations, (before, list) => {
        const after = applied(before, feasible(before, list));
        expect(canonical(applied(before, diff(before, after) ?? []))).toBe(canonical(after));
      }),
      { numRuns: 2_000 },
    );
  });

  test('is exact or not there where keys are forbidden, and never pollutes', () => {
    const counts = { expressed: 0, whole: 0 };
    const names = Object.getOwnPropertyNames(Object.prototype);
    fc.assert(
      fc.property(hostileRecord, hostileRecord, (before, after) => {
        const delta = diff(before, after);
        counts[delta === undefined ? 'whole' : 'expressed'] += 1;
        if (delta === undefined) expect(hasForbiddenKey([before, after])).toBe(true);
        else expect(canonical(applied(before, delta))).toBe(canonical(after));
      }),
      { numRuns: 1_000 },
    );
    expect(Math.min(counts.expressed, counts.whole)).toBeGreaterThan(50);
    expect(Object.getOwnPropertyNames(Object.prototype)).toEqual(names);
  });

  test('of a record and itself is nothing, whatever the order of the keys', () => {
    fc.assert(
      fc.property(hostileRecord, (record) => {
        const reversed = Object.fromEntries(Object.entries(record).reverse());
        expect(diff(record, reversed)).toEqual([]);
      }),
    );
  });

  test('does not depend on the order of the keys', () => {
    fc.assert(
      fc.property(nastyRecord, nastyRecord, (before, after) => {
        const reversed = (record: JsonObject): JsonObject => Object.fromEntries(Object.entries(record).reverse());
        expect(diff(reversed(before), reversed(after))).toEqual(diff(before, after));
      }),
    );
  });

  test('says set for a number that changed: an increment is only what a caller asked for', () => {
    expect(diff({ n: 1, m: 0 }, { n: 2, m: 0 })).toEqual([{ op: 'set', path: 'n', value: 2 }]);
  });

  test('tells null from missing', () => {
    expect(diff({ a: null }, {})).toEqual([{ op: 'unset', path: 'a' }]);
    expect(diff({}, { a: null })).toEqual([{ op: 'set', path: 'a', value: null }]);
  });

  test('says what changed inside an object, sorted by key', () => {
    expect(diff({ o: { b: 1, a: 1 }, x: [] }, { o: { c: 2, b: 3 }, x: {} })).toEqual([
      { op: 'unset', path: 'o.a' },
      { op: 'set', path: 'o.b', value: 3 },
      { op: 'set', path: 'o.c', value: 2 },
      { op: 'set', path: 'x', value: {} },
    ]);
  });

  const long = Array.from({ length: 20 }, (_, index) => `element ${index}`);

  test.each<[string, JsonValue, JsonValue, unknown]>([
    [
      'push for what was appended',
      [1],
      [1, 1, 2],
      [
        ['push', 1],
        ['push', 2],
      ],
    ],
    ['pull where that leaves exactly the rest', [1, 2, 1, 3], [2, 3], [['pull', 1]]],
    ['set where a pull would take too much', [1, 2, 1], [2, 1], [['set', [2, 1]]]],
    ['set where one was removed and one added', [1, 2, 3], [2, 4], [['set', [2, 4]]]],
    ['set for short arrays in another order', [1, 2, 3], [3, 2, 1], [['set', [3, 2, 1]]]],
    ['set where elements came in front', [1, 2], [0, 1, 2], [['set', [0, 1, 2]]]],
    ['set of one element where that is smaller', long, long.with(3, 'x'), [['set', 'x']]],
    ['set where too many are gone', long, [], [['set', []]]],
  ])('of two arrays says %s', (_, before, after, expected) => {
    const delta = diff({ list: before }, { list: after }) ?? [];
    expect(delta.map((item) => [item.op, 'value' in item ? item.value : undefined])).toEqual(expected);
  });

  test('goes into an element where that is smaller', () => {
    const items = long.map((text) => ({ text, tags: ['a'] }));
    const after = items.with(2, { text: 'element 2', tags: ['a', 'b'] });
    expect(diff({ items }, { items: after })).toEqual([{ op: 'push', path: 'items.2.tags', value: 'b' }]);
  });

  test('is not there where operations cannot express it', () => {
    const hostile: JsonObject = JSON.parse('{"a":{"__proto__":1}}');
    expect(diff({ a: {} }, hostile)).toBeUndefined();
    expect(diff(hostile, { a: {} })).toBeUndefined();
    expect(diff({}, { constructor: 1 })).toBeUndefined();
    expect(diff({}, hostile)).toEqual([{ op: 'set', path: 'a', value: hostile['a'] }]);
    expect(diff(hostile, { ...hostile, b: 1 })).toEqual([{ op: 'set', path: 'b', value: 1 }]);
  });

  test('[I10] is not there where it would be too deep or too long', () => {
    expect(diff({}, nested(MAX_DEPTH))).toBeDefined();
    expect(diff({}, nested(MAX_DEPTH + 1))).toBeUndefined();
    expect(diff({ a: [1] }, { a: [nested(100_000)] })).toBeUndefined();
    const wide = (size: number): JsonObject =>
      Object.fromEntries(Array.from({ length: size }, (_, key) => [`k${key}`, key]));
    expect(diff({}, wide(MAX_OPERATIONS))).toHaveLength(MAX_OPERATIONS);
    expect(diff({}, wide(MAX_OPERATIONS + 1))).toBeUndefined();
  });
});

describe('two deltas in a row', () => {
  test('become one that does the same, on every record on which both succeed', () => {
    const counts = { simplified: 0, other: 0 };
    fc.assert(
      fc.property(exactRecord, exactRecord, operations, operations, (record, other, a, b) => {
        const first = feasible(record, a);
        const second = feasible(applied(record, first), b);
        const both = compose(frozen(first), frozen(second));
        expect(both.length).toBeLessThanOrEqual(first.length + second.length);
        expect(canonical(applied(record, both))).toBe(canonical(applied(record, [...first, ...second])));
        counts.simplified += both.length < first.length + second.length ? 1 : 0;
        const elsewhere = applyOperations(other, [...first, ...second]);
        if (!elsewhere.ok) return;
        expect(canonical(applied(other, both))).toBe(canonical(elsewhere.data));
        counts.other += 1;
      }),
      { numRuns: 5_000 },
    );
    expect(Math.min(counts.simplified, counts.other)).toBeGreaterThan(500);
  });

  test('compose the same however many are grouped', () => {
    fc.assert(
      fc.property(operations, operations, operations, (a, b, c) => {
        const record = {};
        const x = feasible(record, a);
        const y = feasible(applied(record, x), b);
        const z = feasible(applied(record, [...x, ...y]), c);
        const left = applied(record, compose(compose(x, y), z));
        expect(canonical(applied(record, compose(x, compose(y, z))))).toBe(canonical(left));
      }),
    );
  });

  const set = (at: string, value: JsonValue): Operation => ({ op: 'set', path: at, value });
  const unset = (at: string): Operation => ({ op: 'unset', path: at });
  const add = (at: string, value: number): Operation => ({ op: 'increment', path: at, value });
  const push = (at: string, value: JsonValue): Operation => ({ op: 'push', path: at, value });
  const pull = (at: string, value: JsonValue): Operation => ({ op: 'pull', path: at, value });

  test.each<[string, Operation[], Operation[], Operation[]]>([
    ['a later set replaces an earlier one', [set('a', 1), set('b', 1)], [set('a', 2)], [set('b', 1), set('a', 2)]],
    ['a later set replaces what is inside it', [add('a.b', 1), push('a.c', 1)], [set('a', 0)], [set('a', 0)]],
    ['a later unset replaces what came before', [set('a.b', 1), add('a.n', 1)], [unset('a')], [unset('a')]],
    ['a later unset replaces what only removed', [unset('a.b.c'), pull('a.b.l', 1)], [unset('a.b')], [unset('a.b')]],
    ['an increment inside a number stays', [add('a', 1)], [add('a.b', 2)], [add('a', 1), add('a.b', 2)]],
    ['an unset keeps the parents that were made', [set('a.b', 1)], [unset('a.b')], [set('a.b', 1), unset('a.b')]],
    ['a set after an unset is a set', [set('a.b', 1), unset('a.b')], [set('a.b', 2)], [set('a.b', 2)]],
    ['what is inside a set goes into it', [set('a', { b: 1 })], [set('a.c', 2), unset('a.b')], [set('a', { c: 2 })]],
    ['an increment of a set number is a set', [set('n', 1)], [add('n', 2)], [set('n', 3)]],
    ['a push onto a set array is a set', [set('l', [1])], [push('l', 2), pull('l', 1)], [set('l', [2])]],
    ['whole increments add up', [add('n', 1), set('m', 1)], [add('n', 2)], [add('n', 3), set('m', 1)]],
    ['fractions stay apart', [add('n', 0.1)], [add('n', 0.2)], [add('n', 0.1), add('n', 0.2)]],
    ['pushes stay apart', [push('l', 1)], [push('l', 2)], [push('l', 1), push('l', 2)]],
    [
      'a pull moves elements',
      [set('l.0', 5), pull('l', 5)],
      [set('l.0', 7)],
      [set('l.0', 5), pull('l', 5), set('l.0', 7)],
    ],
    ['dotted and pointer name the same', [set('/a/b', 1)], [set('a.b', 2)], [set('a.b', 2)]],
    [
      'what has no path stays as it is',
      [set('a', 1)],
      [set('', 2), set('a', 3)],
      [set('a', 1), set('', 2), set('a', 3)],
    ],
  ])('%s', (_, first, second, expected) => {
    expect(compose(first, second)).toEqual(expected);
  });

  test('add up only where the sum is exact', () => {
    expect(compose([add('n', Number.MAX_SAFE_INTEGER)], [add('n', 1)])).toHaveLength(2);
  });
});

describe('a merge patch', () => {
  /** RFC 7386, section 2, word for word. */
  function mergePatch(target: JsonValue | undefined, patch: JsonValue): JsonValue {
    if (!isJsonObject(patch)) return patch;
    const result: Map<string, JsonValue> = new Map(isJsonObject(target) ? Object.entries(target) : []);
    for (const [name, value] of Object.entries(patch)) {
      if (value === null) result.delete(name);
      else result.set(name, mergePatch(result.get(name), value));
    }
    return Object.fromEntries(result);
  }

  test('does as operations exactly what RFC 7386 says', () => {
    fc.assert(
      fc.property(nastyRecord, nastyRecord, (current, patch) => {
        const list = mergePatchOperations(frozen(current), frozen(patch));
        expect(canonical(applied(current, list))).toBe(canonical(mergePatch(current, patch)));
      }),
      { numRuns: 2_000 },
    );
  });

  // RFC 7386, appendix A, as far as both sides are objects.
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
    // And the example of section 3.
    [
      '{"title":"Goodbye!","author":{"givenName":"John","familyName":"Doe"},"tags":["example","sample"],"content":"x"}',
      '{"title":"Hello!","phoneNumber":"+01-123-456-7890","author":{"familyName":null},"tags":["example"]}',
      '{"title":"Hello!","author":{"givenName":"John"},"tags":["example"],"content":"x","phoneNumber":"+01-123-456-7890"}',
    ],
  ])('makes of %s with %s what the RFC says', (current, patch, expected) => {
    const data = JSON.parse(current);
    const result = applied(data, mergePatchOperations(data, JSON.parse(patch)));
    expect(jsonEqual(result, JSON.parse(expected))).toBe(true);
  });

  test('keeps nulls in arrays, and says what it removes also where that is missing', () => {
    expect(mergePatchOperations({}, { a: [{ b: null }], c: null })).toEqual([
      { op: 'set', path: 'a', value: [{ b: null }] },
      { op: 'unset', path: 'c' },
    ]);
  });

  test('makes operations that are refused where it names a forbidden key, or is too deep', () => {
    for (const patch of [
      '{"__proto__":{"polluted":1}}',
      '{"__proto__":null}',
      '{"constructor":{"prototype":{"x":1}}}',
    ]) {
      expect(refusal({}, ...mergePatchOperations({}, JSON.parse(patch)))).toBe('0 forbidden-path');
    }
    expect(refusal({}, ...mergePatchOperations({}, nested(100_000)))).toBe('0 too-deep');
    expect('polluted' in {}).toBe(false);
  });
});

describe('a delta is smaller', () => {
  const delta: Operation[] = [{ op: 'set', path: 'a', value: 1 }];
  const sized = (bytes: number): JsonObject => ({ x: 'x'.repeat(bytes - '{"x":""}'.length) });

  test('only below 80 % of the record', () => {
    const bytes = JSON.stringify(delta).length;
    expect(isSmaller(delta, sized(Math.floor(bytes / 0.8)))).toBe(false);
    expect(isSmaller(delta, sized(Math.floor(bytes / 0.8) + 1))).toBe(true);
  });

  test('measured in UTF-8, not in characters', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat({ max: 40 }), (text, more) => {
        const list: Operation[] = [{ op: 'set', path: 'a', value: text }];
        const bytes = Buffer.byteLength(JSON.stringify(list));
        const record = sized(Math.max(8, Math.floor(bytes * 1.25) - 20 + more));
        expect(isSmaller(list, record)).toBe(bytes < 0.8 * Buffer.byteLength(JSON.stringify(record)));
      }),
    );
  });
});
