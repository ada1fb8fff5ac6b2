import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { Policies } from '../../src/core/policy.ts';
import type { RecordSchema } from '../../src/core/record-schema.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import { Replica } from '../../src/sync/replica.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const withSchema = (schema: RecordSchema): Policies => definePolicies({ types: { [TYPE]: { schema } } });
const numbers = withSchema(z.object({ n: z.number() }));
const throwing = withSchemaThat(() => true);
const later = withSchema(z.object({ n: z.number().refine(async () => true) }));

describe('a record is checked at the edge, before it is acknowledged', () => {
  function replicaUnder(policies: Policies) {
    const world = new World();
    const { nodeId } = new Node(world, 'a');
    const replica = new Replica({ store: new MemoryReplicaStore(), nodeId, policies, clock: world.clock });
    const write = (content: WriteContent) =>
      replica.write({ entityType: TYPE, entityId: entityId('x'), ...content }, {});
    return { replica, write };
  }

  test('also as it is after operations and patches', () => {
    const { replica, write } = replicaUnder(numbers);
    expect(failureOf(() => write({ kind: 'put', data: { n: 'x' } }))).toMatchObject({
      code: 'invalid_data',
      details: { issues: [{ path: 'n', message: expect.stringContaining('expected number') }] },
    });
    write({ kind: 'put', data: { n: 1 } });
    const patched = () => write({ kind: 'patch', operations: [{ op: 'unset', path: 'n' }] });
    expect(failureOf(patched).code).toBe('invalid_data');
    expect(failureOf(() => write({ kind: 'merge-patch', patch: { n: [] } })).code).toBe('invalid_data');
    const strong = { kind: 'put', data: {}, entityType: TYPE, entityId: entityId('x') } as const;
    expect(failureOf(() => replica.beginStrong([strong], {})).code).toBe('invalid_data');
    expect([...replica.queued()].map(({ change }) => change.data)).toEqual([{ n: 1 }]);
    write({ kind: 'delete' });
  });

  test.each([
    ['throws', throwing, 'the schema failed: a bug'],
    ['answers later', later, 'the schema failed: it did not answer at once: a check of it is asynchronous, or throws'],
  ])('by a schema that %s nothing can be written, and the answer says why', (_, policies, message) => {
    const { replica, write } = replicaUnder(policies);
    const failure = failureOf(() => write({ kind: 'put', data: { n: 1 } }));
    expect(failure).toMatchObject({ code: 'invalid_data', details: { issues: [{ path: '', message }] } });
    expect(failure.message).toBe(`the record does not pass the schema of ${TYPE}: ${message}`);
    expect(replica.queueStats().total).toBe(0);
  });
});

describe('and again in the cloud', () => {
  test.each([
    ['is wrong there', numbers, /^the record does not pass the schema of note: n: .*expected number/],
    [
      'can not be checked there',
      withSchemaThat(isBad),
      /^the record does not pass the schema of note: the schema failed: a bug$/,
    ],
  ])(
    '[I11] [S1] a record that %s is a dead letter at its node with the reason, and those behind it go on',
    async (...args) => {
      const [, policies, reason] = args;
      const world = new World({ policy: { coalesce: false }, cloudPolicies: policies });
      // Nodes have no schema: one was rolled out in the cloud first.
      const a = new Node(world, 'a');
      const b = new Node(world, 'b');
      a.put('x', { n: 1 });
      const bad = a.put('x', { n: 'bad' });
      a.put('y', { n: 2 });
      a.put('x', { n: 3 });
      expect((await a.link.sync()).summary).toMatchObject({ success: true });
      await b.link.sync();
      await a.link.sync();

      expect(b.list()).toEqual({ x: { n: 3 }, y: { n: 2 } });
      expect(a.list()).toEqual(b.list());
      expect(a.replica.meta.digestMismatches).toBe(0);
      const [dead, ...others] = a.replica.queued();
      expect(others).toEqual([]);
      expect(dead).toMatchObject({
        change: { id: bad, data: { n: 'bad' } },
        error: { code: 'invalid_data', detail: expect.stringMatching(reason) },
      });
      expect(a.replica.queueStats()).toMatchObject({ dead: 1, pending: 0 });
    },
  );

  test('[I2] it is refused for good: also when the answer was lost, and the cloud would take it by now', async () => {
    const world = new World({ cloudPolicies: numbers });
    const a = new Node(world, 'a');
    a.put('x', { n: 'bad' });
    a.fault = 'answer-lost';
    await a.link.sync();
    world.cloudPolicies = withSchema(z.object({}));
    world.restartCloud();
    await a.link.sync();
    expect([...a.replica.queued()]).toMatchObject([{ error: { code: 'invalid_data' } }]);
    expect(world.sequencer.meta.seq).toBe(0);
  });

  test('a write at the cloud itself is refused as one at an edge is', () => {
    const { sequencer } = new World({ cloudPolicies: throwing });
    const write = { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 1 } } as const;
    expect(failureOf(() => sequencer.commit((commit) => writeAtCloud(commit, write)))).toMatchObject({
      code: 'invalid_data',
      details: { issues: [{ path: '', message: 'the schema failed: a bug' }] },
    });
    expect(sequencer.meta.seq).toBe(0);
  });
});

/** Fails at some records. */
function withSchemaThat(throwsAt: (data: unknown) => boolean): Policies {
  const validate = (value: unknown) => {
    if (throwsAt(value)) throw new Error('a bug');
    return { value };
  };
  return withSchema({ '~standard': { version: 1, vendor: 'test', validate } } as RecordSchema);
}

function isBad(data: unknown): boolean {
  return JSON.stringify(data).includes('bad');
}

function failureOf(body: () => unknown): SyncError {
  try {
    body();
  } catch (error) {
    if (error instanceof SyncError) return error;
    throw error;
  }
  return made<SyncError>(undefined);
}
