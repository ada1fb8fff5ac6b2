import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/core/change.ts';
import { coalesce } from '../../src/core/coalesce.ts';
import { stampAfter } from '../../src/core/conflict.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import { applyOperations, type Operation } from '../../src/core/delta.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp, type Stamp } from '../../src/core/hlc.ts';
import { type NodeId, toEntityId, toEntityType, toNodeId } from '../../src/core/ids.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../../src/core/json.ts';
import { outcomeOf } from '../../src/core/outcome.ts';
import { versionAfter } from '../../src/core/version.ts';

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const entityType = made(toEntityType('note'));
const entityId = made(toEntityId('x'));
const policy = definePolicies({ types: {}, default: { conflict: 'merge' } }).default;
const stampAt = (wallMs: number, node: string): Stamp =>
  formatStamp({ wallMs, counter: 0, node: made(toNodeId(node)) as NodeId });

const BASE: JsonObject = { a: { x: 1, y: 2 }, n: 10, l: [1, 2], s: 'base' };
const began: EntityVersion = { entityType, entityId, data: BASE, seq: 1, version: 'o:1', stamp: stampAt(1, 'o') };

/** An update that its node made on a record, knowing seq 1 and its own changes. */
function update(
  node: string,
  counter: number,
  at: number,
  before: JsonObject,
  operations: readonly Operation[],
): Change {
  const applied = applyOperations(before, operations);
  if (!applied.ok) throw new Error(applied.detail);
  const base = { cloud: 1, ...(counter > 1 ? { [node]: counter - 1 } : {}) };
  const header = { id: `${node}:${counter}`, nodeId: node, entityType, entityId, base, stamp: stampAt(at, node) };
  return { ...header, timestamp: at, operation: 'update', data: applied.data, operations };
}

function take(current: EntityVersion, change: Change): EntityVersion {
  const outcome = outcomeOf(current, change, policy);
  const seq = current.seq + 1;
  switch (outcome.kind) {
    case 'advance':
      return versionAfter(current, change, { ...outcome, stamp: change.stamp }, { seq, version: change.id });
    case 'resolved': {
      const { resolution, written, conflict } = outcome;
      if (resolution.winner === 'local') return current;
      const effect = { data: resolution.resolvedData, written, stamp: stampAfter(conflict, resolution.winner) };
      return versionAfter(current, change, effect, { seq, version: `cloud:${seq}` });
    }
    case 'agreement': {
      const effect = { data: current.data, written: outcome.written, stamp: change.stamp };
      return outcome.winner === 'local'
        ? current
        : versionAfter(current, change, effect, { seq, version: `cloud:${seq}` });
    }
    default:
      throw new Error(`unexpected: ${outcome.kind}`);
  }
}

const value = fc.constantFrom<JsonValue>(1, 2, 'text', null, { x: 5 }, [1]);
const path = fc.constantFrom('a', 'a.x', 'a.y', 'a.z', 's', 'n', 'l');
const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ op: fc.constant('set' as const), path, value }).map((set) =>
    // Not a plain value where others have objects: what was made in its place, and then taken away, leaves no trace.
    set.path === 'a' ? { ...set, value: { x: set.value } } : set,
  ),
  fc.record({ op: fc.constant('unset' as const), path: fc.constantFrom('a', 'a.x', 'a.z', 's') }),
  fc.record({
    op: fc.constant('increment' as const),
    path: fc.constantFrom('n', 'm'),
    value: fc.integer({ min: -5, max: 5 }),
  }),
  fc.record({ op: fc.constant('push' as const), path: fc.constantFrom('l', 'k'), value }),
);
const operations = fc.array(operation, { minLength: 1, maxLength: 3 });

/** Two updates of `p`, one on the other, and an update of `q` that knows of neither. */
const story = fc
  .tuple(operations, operations, operations, fc.constantFrom(5, 15, 25))
  .filter(([first, second, other]) => {
    const applied = applyOperations(BASE, first);
    return applied.ok && applyOperations(applied.data, second).ok && applyOperations(BASE, other).ok;
  })
  .map(([first, second, other, at]) => {
    const earlier = update('p', 1, 10, BASE, first);
    const later = update('p', 2, 20, earlier.data ?? {}, second);
    return { earlier, later, other: update('q', 1, at, BASE, other) };
  });

function withoutEmpty(value: JsonValue): JsonValue {
  if (!isJsonObject(value)) return value;
  const kept = Object.entries(value).map(([key, child]) => [key, withoutEmpty(child)] as const);
  return Object.fromEntries(kept.filter(([, child]) => !isJsonObject(child) || Object.keys(child).length > 0));
}

describe('two updates as one', () => {
  test('make the same record, where nobody else wrote', () => {
    let tried = 0;
    fc.assert(
      fc.property(story, ({ earlier, later }) => {
        const both = coalesce(earlier, later, true);
        if (both === undefined || both === 'nothing') return;
        tried += 1;
        expect(both).toMatchObject({ id: 'p:2', base: { cloud: 1 }, operation: 'update' });
        expect(take(began, both).data).toEqual(take(take(began, earlier), later).data);
        const { data: _, ...delta } = both;
        expect(take(began, delta as Change).data).toEqual(later.data);
      }),
      { numRuns: 2_000 },
    );
    expect(tried).toBeGreaterThan(500);
  });

  test('[I3] make the same record as the two, merged with what somebody else wrote before or after', () => {
    let tried = 0;
    fc.assert(
      fc.property(story, ({ earlier, later, other }) => {
        const both = coalesce(earlier, later, true);
        if (both === undefined || both === 'nothing') return;
        tried += 1;
        const after = [earlier, later].reduce(take, take(began, other));
        expect(withoutEmpty(take(take(began, other), both).data ?? {})).toEqual(withoutEmpty(after.data ?? {}));
      }),
      { numRuns: 3_000 },
    );
    expect(tried).toBeGreaterThan(500);
  });

  test('stay two, where one writes inside what the other wrote, or adds to what the other set', () => {
    const two = (first: Operation, second: Operation) => {
      const earlier = update('p', 1, 10, BASE, [first]);
      return coalesce(earlier, update('p', 2, 20, earlier.data ?? {}, [second]), true);
    };
    expect(two({ op: 'set', path: 'a', value: { x: 1 } }, { op: 'set', path: 'a.y', value: 1 })).toBeUndefined();
    expect(two({ op: 'set', path: 'n', value: 1 }, { op: 'increment', path: 'n', value: 1 })).toBeUndefined();
    expect(two({ op: 'increment', path: 'n', value: 1 }, { op: 'increment', path: 'n', value: 1 })).toBeDefined();
  });

  test('without the stamps of its paths an older write would win', () => {
    const earlier = update('p', 1, 10, BASE, [{ op: 'set', path: 's', value: 'p' }]);
    const later = update('p', 2, 30, earlier.data ?? {}, [{ op: 'set', path: 'n', value: 1 }]);
    const other = update('q', 1, 20, BASE, [{ op: 'set', path: 's', value: 'q' }]);
    const merged = (keepStamps: boolean) =>
      take(take(began, other), coalesce(earlier, later, keepStamps) as Change).data;
    expect(merged(true)).toMatchObject({ s: 'q', n: 1 });
    expect(merged(false)).toMatchObject({ s: 'p', n: 1 });
  });
});

describe('what stays of two changes', () => {
  const header = { nodeId: 'p', entityType, entityId, base: {}, timestamp: 1 };
  const create: Change = { ...header, id: 'p:1', stamp: stampAt(1, 'p'), operation: 'create', data: { v: 1 } };
  const change: Change = { ...header, id: 'p:2', stamp: stampAt(2, 'p'), operation: 'update', data: { v: 2 } };
  const remove: Change = { ...header, id: 'p:3', stamp: stampAt(3, 'p'), operation: 'delete' };

  test('a creation stays one; made and deleted is nothing; what was updated is deleted', () => {
    expect(coalesce(create, change, false)).toMatchObject({ id: 'p:2', operation: 'create', data: { v: 2 } });
    expect(coalesce(create, remove, false)).toBe('nothing');
    expect(coalesce(change, remove, false)).toEqual({ ...remove, priority: undefined });
  });

  test('a record that is made anew stays apart from its deletion', () => {
    expect(coalesce(remove, { ...create, id: 'p:4' }, false)).toBeUndefined();
  });

  test('a change with a condition, of a transaction, that somebody waits for or that answers a conflict stays apart', () => {
    const resolves = { conflictId: 'c1', attempts: 1, reason: '' };
    for (const extra of [
      { ifMatch: 'p:1' },
      { ifNoneMatch: '*' },
      { transaction: 't' },
      { consistency: 'strong' },
      { resolves },
    ]) {
      expect(coalesce({ ...create, ...extra } as Change, change, false)).toBeUndefined();
      expect(coalesce(create, { ...change, ...extra } as Change, false)).toBeUndefined();
    }
  });

  test('the more pressing priority of the two', () => {
    expect(coalesce({ ...create, priority: 'high' }, { ...change, priority: 'normal' }, false)).toMatchObject({
      priority: 'high',
    });
    expect(coalesce(create, { ...change, priority: 'critical' }, false)).toMatchObject({ priority: 'critical' });
  });

  test('[I10] too many operations for one change stay two', () => {
    const many = (field: string): Operation[] =>
      Array.from({ length: 600 }, (_, i) => ({ op: 'set', path: `${field}${i}`, value: i }));
    const earlier = update('p', 1, 10, {}, many('f'));
    expect(coalesce(earlier, update('p', 2, 20, earlier.data ?? {}, many('g')), false)).toBeUndefined();
  });
});
