import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { VectorClock } from '../../src/core/vector-clock.ts';
import { compare, covers, EMPTY_CLOCK, entry, increment, merge } from '../../src/core/vector-clock.ts';

const NODES = ['n1', 'n2', 'cloud', 'constructor', 'toString', '__proto__'];
const node = fc.constantFrom(...NODES);
const clock: fc.Arbitrary<VectorClock> = fc
  .array(fc.tuple(node, fc.nat({ max: 3 })), { maxLength: 6 })
  .map((entries) => Object.freeze(Object.fromEntries(entries)));

/** The definition: one number for each node, compared point by point. */
function isBelow(a: VectorClock, b: VectorClock): boolean {
  return NODES.every((name) => entry(a, name) <= entry(b, name));
}

describe('a vector clock', () => {
  test('has 0 for a node that it does not know, whatever the node is called', () => {
    for (const name of NODES) expect(entry(EMPTY_CLOCK, name)).toBe(0);
  });

  test('grows by one at the node that is incremented, and nowhere else', () => {
    fc.assert(
      fc.property(clock, node, (before, name) => {
        const after = increment(before, name);
        for (const other of NODES) expect(entry(after, other)).toBe(entry(before, other) + (other === name ? 1 : 0));
        expect(compare(before, after)).toBe('before');
      }),
    );
  });

  test('is equal to one that differs only in explicit zeros', () => {
    expect(compare({ n1: 0 }, EMPTY_CLOCK)).toBe('equal');
    expect(compare({ n1: 2, n2: 0 }, { n1: 2, cloud: 0 })).toBe('equal');
  });

  test('compares as its definition, point by point', () => {
    fc.assert(
      fc.property(clock, clock, (a, b) => {
        const below = isBelow(a, b);
        const above = isBelow(b, a);
        const order = below && above ? 'equal' : below ? 'before' : above ? 'after' : 'concurrent';
        expect(compare(a, b)).toBe(order);
        expect(covers(b, a)).toBe(below);
      }),
    );
  });

  test('covers in a partial order: reflexive, antisymmetric, transitive', () => {
    fc.assert(
      fc.property(clock, clock, clock, (a, b, c) => {
        expect(covers(a, a)).toBe(true);
        if (covers(a, b) && covers(b, a)) expect(compare(a, b)).toBe('equal');
        if (covers(a, b) && covers(b, c)) expect(covers(a, c)).toBe(true);
      }),
    );
  });

  test('merges into the least upper bound', () => {
    fc.assert(
      fc.property(clock, clock, clock, (a, b, other) => {
        const both = merge(a, b);
        expect(covers(both, a) && covers(both, b)).toBe(true);
        if (covers(other, a) && covers(other, b)) expect(covers(other, both)).toBe(true);
        for (const name of NODES) expect(entry(both, name)).toBe(Math.max(entry(a, name), entry(b, name)));
      }),
    );
  });

  test('merges in any order, any grouping, any number of times', () => {
    fc.assert(
      fc.property(clock, clock, clock, (a, b, c) => {
        expect(compare(merge(a, b), merge(b, a))).toBe('equal');
        expect(compare(merge(a, merge(b, c)), merge(merge(a, b), c))).toBe('equal');
        expect(compare(merge(a, a), a)).toBe('equal');
        expect(compare(merge(a, EMPTY_CLOCK), a)).toBe('equal');
      }),
    );
  });

  test('survives the wire', () => {
    fc.assert(
      fc.property(clock, (a) => {
        expect(compare(JSON.parse(JSON.stringify(a)), a)).toBe('equal');
      }),
    );
  });

  test('never reaches a prototype', () => {
    const merged = merge(increment(EMPTY_CLOCK, '__proto__'), increment(EMPTY_CLOCK, 'constructor'));
    expect(Object.getPrototypeOf(merged)).toBe(Object.prototype);
    expect([entry(merged, '__proto__'), entry(merged, 'constructor')]).toEqual([1, 1]);
  });
});
