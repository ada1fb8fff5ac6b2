import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/core/change.ts';
import { stampAfter } from '../../src/core/conflict.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import { applyOperations, type Operation, valueAt } from '../../src/core/delta.ts';
import { parseDot } from '../../src/core/dot.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp, type Stamp } from '../../src/core/hlc.ts';
import { type NodeId, toEntityId, toEntityType, toNodeId } from '../../src/core/ids.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/core/json.ts';
import { fieldsAfter, MAX_MARKS, marksOf } from '../../src/core/marks.ts';
import { baseOf, mergeUpdate } from '../../src/core/merge.ts';
import { outcomeOf } from '../../src/core/outcome.ts';
import type { Policy } from '../../src/core/policy.ts';
import { versionAfter } from '../../src/core/version.ts';

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const entityType = made(toEntityType('note'));
const entityId = made(toEntityId('x'));
const policyOf = (options: Partial<Policy>): Policy => definePolicies({ types: {}, default: options }).default;
const merging = policyOf({ conflict: 'merge' });
const stampAt = (wallMs: number, node: string): Stamp =>
  formatStamp({ wallMs, counter: 0, node: made(toNodeId(node)) as NodeId });

/** The record that all sides begin with, at seq 1. */
const BASE: JsonObject = { a: { x: 1, y: 2 }, n: 10, l: [1, 2], s: 'base' };

function began(data: JsonObject = BASE): EntityVersion {
  return { entityType, entityId, data, seq: 1, version: 'origin:1', stamp: stampAt(1, 'origin') };
}

interface Edit {
  readonly node: string;
  readonly at: number;
  readonly operations: readonly Operation[];
  readonly base?: Record<string, number>;
  readonly counter?: number;
  readonly covers?: Change['covers'];
  /** The record that its writer saw; undefined: {@link BASE}. */
  readonly from?: JsonObject;
}

/** What the cloud has after edits that had all seen seq 1 and nothing else, in the order of their arrival. */
function arrive(edits: readonly Edit[], start: EntityVersion = began()): EntityVersion {
  return edits.reduce((current, edit) => take(current, edit), start);
}

function take(
  current: EntityVersion,
  { node, at, operations, base = { cloud: 1 }, counter = 1, covers, from = BASE }: Edit,
  policy = merging,
): EntityVersion {
  const applied = applyOperations(from, operations);
  if (!applied.ok) throw new Error(applied.detail);
  const change: Change = {
    id: `${node}:${counter}`,
    nodeId: node,
    entityType,
    entityId,
    operation: 'update',
    data: applied.data,
    operations,
    base,
    covers,
    stamp: stampAt(at, node),
    timestamp: at,
  };
  const outcome = outcomeOf(current, change, policy);
  const seq = current.seq + 1;
  const place = { seq, version: `cloud:${seq}` };
  switch (outcome.kind) {
    case 'advance':
      return versionAfter(current, change, { ...outcome, stamp: change.stamp }, { seq, version: change.id });
    case 'resolved': {
      const { resolution, written, conflict } = outcome;
      if (resolution.winner === 'local') return current;
      const stamp = stampAfter(conflict, resolution.winner);
      return versionAfter(current, change, { data: resolution.resolvedData, written, stamp }, place);
    }
    case 'agreement': {
      if (outcome.winner === 'local') return current;
      return versionAfter(
        current,
        change,
        { data: current.data, written: outcome.written, stamp: change.stamp },
        place,
      );
    }
    default:
      throw new Error(`unexpected: ${outcome.kind}`);
  }
}

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}

const json = fc.constantFrom<JsonValue>(1, 2, 'text', null, { x: 5 }, { z: { q: 6 } }, [1]);

const settingOf = (...paths: string[]): fc.Arbitrary<Operation> =>
  fc.oneof(
    fc.record({ op: fc.constant('set' as const), path: fc.constantFrom(...paths), value: json }),
    fc.record({ op: fc.constant('unset' as const), path: fc.constantFrom(...paths) }),
  );
const setting = settingOf('a', 'a.x', 'a.y', 'a.z', 'a.z.q', 's', 'n', 'l');
const counting: fc.Arbitrary<Operation> = fc.record({
  op: fc.constant('increment' as const),
  path: fc.constantFrom('n', 'a.x', 'm'),
  value: fc.integer({ min: -5, max: 5 }),
});
const listing: fc.Arbitrary<Operation> = fc.record({
  op: fc.constantFrom('push' as const, 'pull' as const),
  path: fc.constantFrom('l', 'k'),
  value: fc.constantFrom<JsonValue>(1, 2, 3),
});

/** Concurrent edits of that many nodes, at different times. */
function editsOf(operation: fc.Arbitrary<Operation>, count: number): fc.Arbitrary<Edit[]> {
  const size = { minLength: count, maxLength: count };
  return fc
    .tuple(fc.array(fc.array(operation, { minLength: 1, maxLength: 3 }), size), fc.shuffledSubarray([10, 20, 30], size))
    .map(([all, times]) => all.map((operations, i): Edit => ({ node: `n${i}`, at: times[i] ?? 0, operations })))
    .filter((edits) => edits.every(({ operations }) => applyOperations(BASE, operations).ok));
}

function expectOneState(edits: readonly Edit[]): void {
  const [first, ...others] = permutations(edits).map((order) => withoutEmpty(arrive(order).data ?? {}));
  for (const other of others) expect(other).toEqual(first);
}

/**
 * An object of which nothing is left may stay, or not have been made: that is open, by the order of arrival, where one set
 * what is in it and the other unset that later (docs/decisions/0005-marks.md). What comes of it has a test of its own.
 */
function withoutEmpty(value: JsonValue): JsonValue {
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).map(([key, child]) => [key, withoutEmpty(child)] as const);
  return Object.fromEntries(kept.filter(([, child]) => !isJsonObject(child) || Object.keys(child).length > 0));
}

describe('whatever order updates arrive in', () => {
  test('of two, each field ends with the later of what was given to it, or to what is above or below it', () => {
    fc.assert(fc.property(editsOf(setting, 2), expectOneState), { numRuns: 3_000 });
  });

  test('of three, too, where no field is inside another', () => {
    fc.assert(fc.property(editsOf(settingOf('a.x', 'a.y', 'a.z', 's', 'l'), 3), expectOneState), { numRuns: 3_000 });
  });

  test('values and increments of two', () => {
    fc.assert(fc.property(editsOf(fc.oneof(setting, counting), 2), expectOneState), { numRuns: 3_000 });
  });

  test('increments come to the sum of all', () => {
    fc.assert(
      fc.property(editsOf(counting, 3), (edits) => {
        expectOneState(edits);
        const all = edits.flatMap(({ operations }) => operations);
        const sum = all.reduce((total, one) => total + (one.path === 'n' && one.op === 'increment' ? one.value : 0), 0);
        expect(valueAt(arrive(edits).data ?? {}, ['n'])).toBe(10 + sum);
      }),
      { numRuns: 1_000 },
    );
  });

  test('pushes of all are there, and what is pulled is gone, where nobody does both to one value', () => {
    fc.assert(
      fc.property(editsOf(listing, 3), (edits) => {
        const all = edits.flatMap(({ operations }) => operations);
        const pushed = (path: string) => all.filter((one) => one.op === 'push' && one.path === path);
        const pulled = (path: string, value: unknown) =>
          all.some((one) => one.op === 'pull' && one.path === path && one.value === value);
        for (const order of permutations(edits)) {
          const list = valueAt(arrive(order).data ?? {}, ['l']);
          for (const value of [1, 2, 3]) {
            const count = Array.isArray(list) ? list.filter((item) => item === value).length : 0;
            const pushes = pushed('l').filter((one) => 'value' in one && one.value === value).length;
            const before = value < 3 ? 1 : 0;
            if (!pulled('l', value)) expect(count).toBe(before + pushes);
            else if (pushes === 0) expect(count).toBe(0);
          }
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

const set = (path: string, value: JsonValue): Operation => ({ op: 'set', path, value });
const increment = (path: string, value: number): Operation => ({ op: 'increment', path, value });
const push = (path: string, value: JsonValue): Operation => ({ op: 'push', path, value });
const one = (node: string, at: number, ...operations: Operation[]): Edit => ({ node, at, operations });
/** What that node goes on to do, which has heard of nothing in between. */
const next = (node: string, at: number, ...operations: Operation[]): Edit => ({
  ...one(node, at, ...operations),
  counter: 2,
  base: { cloud: 1, [node]: 1 },
});

describe('of two that had not seen each other', () => {
  test('different fields both apply, nested ones too', () => {
    const { data } = arrive([one('p', 30, set('a.x', 7)), one('q', 20, set('a.y', 8), set('s', 'q'))]);
    expect(data).toEqual({ ...BASE, a: { x: 7, y: 8 }, s: 'q' });
  });

  test('a field and what is inside it are in conflict: what is later stands', () => {
    expect(arrive([one('p', 20, set('a', { x: 0 })), one('q', 30, set('a.y', 8))]).data?.['a']).toEqual({ x: 0, y: 8 });
    expect(arrive([one('p', 30, set('a', { x: 0 })), one('q', 20, set('a.y', 8))]).data?.['a']).toEqual({ x: 0 });
  });

  test('[I3] [S10] what was set later inside a field stands where that comes last, and is as late as it was', () => {
    const within = arrive([one('q', 30, set('a.y', 8)), one('p', 20, set('a', { x: 0 }))]);
    expect(within.data?.['a']).toEqual({ x: 0, y: 8 });
    expect(take(within, one('r', 25, set('a.y', 1))).data?.['a']).toEqual({ x: 0, y: 8 });
    expect(take(within, one('r', 35, set('a.y', 1))).data?.['a']).toEqual({ x: 0, y: 1 });
    // And the other part of the field is as late as that.
    expect(take(within, one('r', 15, set('a.x', 1))).data?.['a']).toEqual({ x: 0, y: 8 });
    expect(take(within, one('r', 25, set('a.x', 1))).data?.['a']).toEqual({ x: 1, y: 8 });
  });

  test('[S10] an object that one made for a field, which the other unset later, is empty or not made, by who comes first', () => {
    const made = one('p', 20, set('o.q', 1));
    const unset = one('q', 30, { op: 'unset', path: 'o.q' });
    expect(arrive([made, unset]).data).toEqual({ ...BASE, o: {} });
    expect(arrive([unset, made]).data).toEqual(BASE);
    // The other way round what is set later stands, whoever comes first.
    const [early, late] = [{ ...unset, at: 10 }, made];
    for (const order of permutations([early, late])) expect(arrive(order).data).toEqual({ ...BASE, o: { q: 1 } });
  });

  test('elements of an array by index are the array', () => {
    const edits = [one('p', 30, set('l.0', 9)), one('q', 20, { op: 'push', path: 'l', value: 3 })];
    for (const order of permutations(edits)) expect(arrive(order).data?.['l']).toEqual([9, 2]);
  });

  test('a writer that goes on without having seen the outcome is still concurrent with the other side', () => {
    const both = arrive([one('p', 20, set('a.x', 7)), one('q', 30, set('a.x', 8))]);
    const later = { ...one('p', 25, set('a.x', 9)), counter: 2, base: { cloud: 1, p: 1 } };
    expect(take(both, later).data?.['a']).toEqual({ x: 8, y: 2 });
    // Of a field that the other side didn't touch it knows all.
    const apart = arrive([one('p', 20, set('a.x', 7)), one('q', 30, set('s', 'q'))]);
    const earlier = { ...one('p', 5, set('a.x', 9)), counter: 2, base: { cloud: 1, p: 1 } };
    expect(take(apart, earlier).data).toEqual({ ...BASE, a: { x: 9, y: 2 }, s: 'q' });
  });
});

describe('what two made together', () => {
  test('a sum was seen by neither of those who added to it', () => {
    const sum = arrive([one('p', 30, increment('n', 1)), one('q', 20, increment('n', 1))]);
    expect(take(sum, next('q', 25, set('n', 5))).data?.['n']).toBe(12);
    expect(take(sum, next('q', 35, set('n', 5))).data?.['n']).toBe(5);
  });

  test('a sum is as late as the latest that was added, whichever came first', () => {
    for (const order of permutations([one('p', 30, increment('n', 1)), one('q', 10, increment('n', 1))])) {
      expect(take(arrive(order), one('r', 20, set('n', 5))).data?.['n']).toBe(12);
      expect(take(arrive(order), one('r', 40, set('n', 5))).data?.['n']).toBe(5);
    }
  });

  test('a value that made way for a field inside it is as late as it was', () => {
    const replaced = arrive([one('p', 10, set('b', 'p')), one('q', 30, set('b.k', 1))]);
    expect(replaced.data?.['b']).toEqual({ k: 1 });
    expect(take(replaced, one('r', 5, set('b', { z: 1 }))).data?.['b']).toEqual({ k: 1 });
    expect(take(replaced, one('r', 20, set('b', { z: 1 }))).data?.['b']).toEqual({ z: 1, k: 1 });
  });

  test('an update of which nothing stays leaves the version as it is', () => {
    const version = arrive([one('p', 30, set('s', 'p'))]);
    expect(take(version, one('q', 20, set('s', 'q')))).toBe(version);
  });
});

describe('after one record took the place of another, a merge', () => {
  const lww = policyOf({ conflict: 'lww' });

  test('finds that the writer of the record that stayed had not seen that', () => {
    const decided = take(arrive([one('p', 20, set('s', 'p'))]), one('q', 30, set('s', 'q')), lww);
    expect(decided.data?.['s']).toBe('q');
    expect(take(decided, next('q', 25, set('s', 'again'))).data?.['s']).toBe('q');
  });

  test('finds no pushes in it, but an array that was given a value', () => {
    const decided = take(arrive([one('p', 20, set('s', 'p'))]), one('q', 30, push('l', 3)), lww);
    expect(decided.data).toEqual({ ...BASE, l: [1, 2, 3] });
    expect(take(decided, one('r', 25, push('l', 4))).data?.['l']).toEqual([1, 2, 3]);
  });

  test('finds what a resolver made of two as late as the later of them', () => {
    const custom = policyOf({
      conflict: 'custom',
      custom: () => ({ winner: 'merged', resolvedData: { ...BASE, s: 'both' } }),
    });
    const decided = take(arrive([one('p', 30, set('s', 'p'))]), one('q', 20, set('s', 'q')), custom);
    expect(take(decided, one('r', 25, set('s', 'r'))).data?.['s']).toBe('both');
    expect(take(decided, next('q', 29, set('s', 'again'))).data?.['s']).toBe('both');
  });
});

test('a writer has seen what its change absorbed', () => {
  const version = arrive([one('p', 30, set('s', 'p')), one('q', 40, set('n', 1))]);
  const absorbing = { ...one('p', 20, set('s', 'again')), counter: 3, covers: [[1, 2]] } as const;
  expect(take(version, absorbing).data).toMatchObject({ s: 'again', n: 1 });
  expect(take(version, { ...absorbing, covers: [[2, 2]] }).data).toMatchObject({ s: 'p', n: 1 });
});

describe('a merge tells', () => {
  const sides = (local: readonly Operation[], remote: readonly Operation[], from = BASE) => {
    const current = arrive([{ node: 'p', at: 20, operations: local, from }], began(from));
    const applied = applyOperations(from, remote);
    if (!applied.ok || current.data === null) throw new Error('bad operations in a test');
    const dot = made(parseDot('q:1'));
    const incoming = { data: applied.data, operations: remote, stamp: stampAt(30, 'q'), dot, base: { cloud: 1 } };
    return [{ ...current, data: current.data }, incoming] as const;
  };

  test('which fields both sides gave a value to, and whose stayed', () => {
    const merged = mergeUpdate(
      ...sides([{ op: 'set', path: 's', value: 'p' }], [{ op: 'set', path: 's', value: 'q' }]),
    );
    expect(merged.contested).toEqual([{ path: 's', winner: 'remote' }]);
    expect(mergeUpdate(...sides([{ op: 'unset', path: 's' }], [{ op: 'unset', path: 's' }])).contested).toEqual([]);
  });

  test('[S4] what both began with, where that can be told', () => {
    const nested: fc.Arbitrary<Operation> = fc.oneof(
      settingOf('p', 'p.q', 'p.r', 'p.q.z'),
      fc.record({
        op: fc.constant('increment' as const),
        path: fc.constantFrom('n', 'p.q', 'p.r'),
        value: fc.constantFrom(1, -1, 0.1, 0.2, 2 ** 53),
      }),
    );
    const operations = fc.array(fc.oneof(setting, counting, listing, nested), { minLength: 1, maxLength: 3 });
    const beginning = fc.constantFrom<JsonObject>(BASE, {}, { p: {} }, { n: 0.1, p: { q: 0.3, r: 1 } });
    let known = 0;
    fc.assert(
      fc.property(operations, operations, beginning, (local, remote, from) => {
        fc.pre(applyOperations(from, local).ok && applyOperations(from, remote).ok);
        const base = baseOf(...sides(local, remote, from));
        if (base === null) return;
        known += 1;
        expect(base).toEqual(from);
      }),
      { numRuns: 10_000 },
    );
    expect(known).toBeGreaterThan(1_000);
  });

  test('[S4] what both began with: fields that only one of them set, and whole numbers to which both added', () => {
    expect(baseOf(...sides([set('s', 'p')], [increment('n', 2)]))).toEqual(BASE);
    expect(baseOf(...sides([increment('n', 1)], [increment('n', 2)]))).toEqual(BASE);
  });

  test.each<[string, Operation[], Operation[], JsonObject]>([
    ['fractions were added in turn', [increment('n', 1)], [increment('n', 0.5), increment('n', 0.25)], BASE],
    ['a sum was rounded', [increment('n', 1)], [increment('n', 0.2)], { n: 0.1 }],
    ['a sum is beyond whole numbers', [increment('n', 1)], [increment('n', 1)], { n: 2 ** 53 }],
    ['both made the same object', [set('p.q', 1)], [set('p.r', 1)], {}],
  ])('[S4] no common beginning where %s', (_, local, remote, from) => {
    expect(baseOf(...sides(local, remote, from))).toBeNull();
  });

  test('[S4] no common beginning where the record was made anew', () => {
    const [, incoming] = sides([], [set('s', 'q')]);
    const anew = { ...began(), data: { fresh: true }, seq: 3, version: 'p:2', stamp: stampAt(20, 'p') };
    expect(baseOf(anew, incoming)).toBeNull();
  });
});

describe('two whole records without a base', () => {
  test('[I1] keep what only one of them has; of what both have the later stays', () => {
    const create = (node: string, at: number, data: JsonObject, current: EntityVersion | undefined): EntityVersion => {
      const header = { id: `${node}:1`, nodeId: node, entityType, entityId, base: {}, timestamp: at };
      const outcome = outcomeOf(current, { ...header, stamp: stampAt(at, node), operation: 'create', data }, merging);
      if (outcome.kind === 'advance')
        return { ...began(outcome.data ?? {}), version: `${node}:1`, stamp: stampAt(at, node) };
      if (outcome.kind !== 'resolved' || current === undefined) throw new Error(`unexpected: ${outcome.kind}`);
      return { ...current, data: outcome.resolution.resolvedData };
    };
    const [p, q] = [
      { both: 'p', deep: { p: 1, both: 'p' } },
      { both: 'q', deep: { q: 1, both: 'q' } },
    ];
    const expected = { both: 'q', deep: { p: 1, q: 1, both: 'q' } };
    expect(create('q', 30, q, create('p', 20, p, undefined)).data).toEqual(expected);
    expect(create('p', 20, p, create('q', 30, q, undefined)).data).toEqual(expected);
  });
});

describe('marks', () => {
  test('[I10] are bounded; beyond that a merge sees too many conflicts, and never too few', () => {
    const many = Array.from({ length: MAX_MARKS + 20 }, (_, i): Edit => {
      const operations: Operation[] = [{ op: 'set', path: `f${i}`, value: i }];
      return { node: 'p', at: 10 + i, operations, counter: i + 1, base: { cloud: i + 1 } };
    });
    const version = arrive(many);
    expect(marksOf(version).paths).toHaveLength(MAX_MARKS);
    const folded = { node: 'q', at: 5, operations: [{ op: 'set', path: 'f0', value: 'q' }] } as const;
    expect(take(version, folded).data?.['f0']).toBe(0);
    expect(take(version, { ...folded, base: { cloud: version.seq } }).data?.['f0']).toBe('q');
  });

  test('that became one were seen by none of their writers', () => {
    const unseen = Array.from({ length: MAX_MARKS + 1 }, (_, i): Edit => {
      return { ...one('p', 10, set(`f${i + 1}`, i)), counter: i + 1, base: { cloud: 1, p: i } };
    });
    const version = arrive([one('q', 50, set('f0', 'q')), ...unseen]);
    const counter = MAX_MARKS + 2;
    const later = { ...one('p', 20, set('f0', 'p')), counter, base: { cloud: 1, p: counter - 1 } };
    expect(take(version, later).data?.['f0']).toBe('q');
  });

  test('tell increments from a field that was set as well', () => {
    const version = arrive([one('p', 10, set('n', 5)), { ...next('p', 20, increment('n', 1)), base: { cloud: 2 } }]);
    expect(fieldsAfter(version, 1)).toEqual({ operations: [set('n', 6)], kinds: {} });
    expect(fieldsAfter(version, 2)).toEqual({ operations: [set('n', 6)], kinds: { n: 'add' } });
  });

  test('[I4] [S10] tell the fields that came after any seq', () => {
    const edit = fc.array(fc.oneof(setting, counting, listing), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 8 }), (all) => {
        const versions = [began()];
        for (const [i, operations] of all.entries()) {
          const current = made(versions.at(-1));
          if (!applyOperations(BASE, operations).ok) continue;
          // Every other one had seen nothing since the beginning.
          const base = { cloud: i % 2 === 0 ? current.seq : 1 };
          versions.push(take(current, { node: `n${i}`, at: 10 + ((i * 7) % 5), operations, base }));
        }
        const last = made(versions.at(-1));
        for (const version of versions) {
          const fields = fieldsAfter(last, version.seq);
          const applied = applyOperations(version.data ?? {}, fields?.operations ?? []);
          expect(applied.ok && applied.data).toEqual(last.data);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

test('[I3] a record as a whole says nothing of a field that it does not hold, also where somebody has set that since', () => {
  const whole: EntityVersion = { ...began({ s: 'whole' }), seq: 2, version: 'w:1', stamp: stampAt(90, 'w') };
  const set = (node: string, at: number): Edit => {
    return { node, at, operations: [{ op: 'set', path: 'v', value: node }] };
  };
  // Neither had seen the whole, nor each other: of the two the later one stays, in whatever order they come.
  const [early, late] = [set('early', 10), set('late', 20)];
  expect(arrive([early, late], whole).data).toEqual({ s: 'whole', v: 'late' });
  expect(arrive([late, early], whole).data).toEqual({ s: 'whole', v: 'late' });
});
