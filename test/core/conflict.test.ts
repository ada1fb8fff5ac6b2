import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Change } from '../../src/core/change.ts';
import { type Conflict, type ConflictKind, type Resolution, resolve, type Side } from '../../src/core/conflict.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp, type Stamp } from '../../src/core/hlc.ts';
import { type NodeId, toEntityId, toEntityType, toNodeId } from '../../src/core/ids.ts';
import { outcomeOf } from '../../src/core/outcome.ts';
import { type Policy, policyFor } from '../../src/core/policy.ts';

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const entityType = made(toEntityType('note'));
const entityId = made(toEntityId('x'));
const stampAt = (wallMs: number, node: string): Stamp =>
  formatStamp({ wallMs, counter: 0, node: made(toNodeId(node)) as NodeId });

const policies = definePolicies({
  types: { kept: { onDelete: 'update-wins' }, gone: { onDelete: 'delete-wins' } },
});
const lww = policies.default;

function version(over: Partial<EntityVersion>): EntityVersion {
  return { entityType, entityId, data: { n: 0 }, seq: 5, version: 'b:1', stamp: stampAt(100, 'b'), ...over };
}

function change(over: Partial<Change>): Change {
  const header = { id: 'a:1', entityType, entityId, base: {}, stamp: stampAt(200, 'a'), timestamp: 0, nodeId: 'a' };
  return { ...header, operation: 'update', data: { n: 1 }, ...over } as Change;
}

/** A conflict of two sides that had not seen each other. */
function conflictOf(kind: ConflictKind, local: Side, remote: Side): Conflict {
  const dot = { node: 'a', counter: 1 };
  return { kind, local: version(local), remote: { ...remote, dot, base: {} }, attempts: 0 };
}

/** What was decided between two sides, at once. */
function resolutionOf(kind: ConflictKind, local: Side, remote: Side, policy: Policy): Resolution {
  const decision = resolve(conflictOf(kind, local, remote), policy);
  if (decision.kind !== 'resolved') throw new Error(`unexpected: ${decision.kind}`);
  return decision.resolution;
}

describe('the later stamp wins', () => {
  const side = fc.record({
    data: fc.oneof(fc.constant(null), fc.record({ n: fc.nat(3) })),
    stamp: fc.tuple(fc.nat(3), fc.constantFrom('a', 'b', 'c')).map(([wallMs, node]) => stampAt(wallMs, node)),
  });

  test('[I3] whichever side arrived first: swapping the sides swaps the winner and keeps the outcome', () => {
    fc.assert(
      fc.property(side, side, (one, other) => {
        fc.pre(one.stamp !== other.stamp && (one.data === null || one.data.n !== other.data?.n));
        const kind = one.data === null || other.data === null ? 'delete-update' : 'update-update';
        const there = resolutionOf(kind, one, other, lww);
        const back = resolutionOf(kind, other, one, lww);
        expect(there.resolvedData).toEqual(back.resolvedData);
        expect(there.winner).not.toBe(back.winner);
        expect(there.resolvedData).toEqual(one.stamp > other.stamp ? one.data : other.data);
      }),
    );
  });

  test('unless the policy says that deletes or updates win', () => {
    const deleted = { data: null, stamp: stampAt(1, 'a') };
    const updated = { data: { n: 1 }, stamp: stampAt(2, 'b') };
    expect(resolutionOf('delete-update', deleted, updated, policyFor(policies, 'gone')).resolvedData).toBeNull();
    expect(resolutionOf('delete-update', updated, deleted, policyFor(policies, 'gone')).winner).toBe('remote');
    const late = { ...deleted, stamp: stampAt(9, 'a') };
    expect(resolutionOf('delete-update', late, updated, policyFor(policies, 'kept')).resolvedData).toEqual({ n: 1 });
  });
});

describe('what becomes of a change', () => {
  test('a successor advances, whatever its stamp', () => {
    const late = version({ stamp: stampAt(999, 'b') });
    expect(outcomeOf(late, change({ base: { cloud: 5 } }), lww)).toMatchObject({ kind: 'advance', data: { n: 1 } });
    expect(outcomeOf(late, change({ base: { b: 1 } }), lww)).toMatchObject({ kind: 'advance', data: { n: 1 } });
    expect(outcomeOf(undefined, change({}), lww)).toMatchObject({ kind: 'advance', data: { n: 1 } });
  });

  test('one that has not seen the version is in conflict with it, and loses to a later stamp', () => {
    const outcome = outcomeOf(version({ stamp: stampAt(999, 'b') }), change({ base: { cloud: 4 } }), lww);
    expect(outcome).toMatchObject({
      kind: 'resolved',
      conflict: { kind: 'update-update' },
      resolution: { winner: 'local' },
    });
  });

  test('[S2] two that write the same agree, and nobody loses', () => {
    expect(outcomeOf(version({ data: { n: 1 } }), change({}), lww)).toMatchObject({ kind: 'agreement' });
  });

  test('two deletes are no conflict, and a delete of what was never here is remembered', () => {
    const gone = change({ operation: 'delete', data: undefined } as Partial<Change>);
    const tombstone = version({ data: null, stamp: stampAt(300, 'b') });
    expect(outcomeOf(tombstone, { ...gone, stamp: stampAt(299, 'a') }, lww)).toEqual({ kind: 'no-op' });
    // It is deleted as of the later one.
    const later = { ...gone, stamp: stampAt(301, 'a') };
    expect(outcomeOf(tombstone, later, lww)).toEqual({ kind: 'advance', data: null, written: 'whole' });
    expect(outcomeOf(undefined, gone, lww)).toEqual({ kind: 'advance', data: null, written: 'whole' });
    expect(outcomeOf(undefined, { ...gone, consistency: 'strong' }, lww)).toMatchObject({ code: 'not_found' });
  });

  test('[I12] an update that has not seen the delete does not bring the record back, unless it is later', () => {
    const tombstone = version({ data: null, stamp: stampAt(300, 'b') });
    expect(outcomeOf(tombstone, change({}), lww)).toMatchObject({ kind: 'resolved', resolution: { winner: 'local' } });
    const later = change({ stamp: stampAt(301, 'a') });
    expect(outcomeOf(tombstone, later, lww)).toMatchObject({ kind: 'resolved', resolution: { winner: 'remote' } });
  });

  test('operations without their base need the whole record, and those on nothing are refused', () => {
    const operations = { operation: 'update', data: undefined, operations: [{ op: 'unset', path: 'n' }] };
    expect(outcomeOf(version({}), change(operations as Partial<Change>), lww)).toEqual({ kind: 'needs-full' });
    expect(outcomeOf(undefined, change(operations as Partial<Change>), lww)).toMatchObject({ code: 'not_found' });
  });

  test('a condition that does not hold refuses it', () => {
    expect(outcomeOf(version({}), change({ ifMatch: 'b:2', base: { cloud: 5 } }), lww)).toMatchObject({
      code: 'precondition_failed',
    });
    expect(outcomeOf(version({}), change({ ifNoneMatch: '*', base: { cloud: 5 } }), lww).kind).toBe('refused');
    expect(outcomeOf(version({}), change({ ifMatch: 'b:1', base: { cloud: 5 } }), lww).kind).toBe('advance');
  });
});
