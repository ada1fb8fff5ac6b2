import { describe, expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { CONFLICT_RULES, CREATE_RULES, DELETE_RULES, type Policy } from '../../src/core/policy.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const key = (id = 'x') => entityKey({ entityType: TYPE, entityId: entityId(id) });

const STRONG: Readonly<Record<string, WriteContent>> = {
  put: { kind: 'put', data: { strong: true } },
  patch: { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] },
  'merge patch': { kind: 'merge-patch', patch: { strong: true } },
  delete: { kind: 'delete' },
};
/** What the node has of the entity before: from the cloud, and in its queue. */
const SEEN = ['nothing', 'the record'] as const;
const QUEUED: Readonly<Record<string, WriteContent | undefined>> = {
  nothing: undefined,
  'a put': { kind: 'put', data: { n: 5, queued: true } },
  'a patch': { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 10 }] },
};
/** What happens in the cloud that the node doesn't get to know. */
const UNSEEN: Readonly<Record<string, WriteContent | undefined>> = {
  nothing: undefined,
  'an update': { kind: 'put', data: { n: 7, unseen: true } },
  'a delete': { kind: 'delete' },
};

function policies(): Partial<Policy>[] {
  const custom = [() => ({ winner: 'local', resolvedData: { custom: true } }) as const, 'node' as const];
  const rules = CONFLICT_RULES.flatMap((conflict): Partial<Policy>[] =>
    conflict === 'custom' ? custom.map((one) => ({ conflict, custom: one })) : [{ conflict }],
  );
  return rules.flatMap((rule) =>
    DELETE_RULES.flatMap((onDelete) => CREATE_RULES.map((onCreate) => ({ ...rule, onDelete, onCreate }))),
  );
}

interface Case {
  readonly policy: Partial<Policy>;
  readonly strong: WriteContent;
  readonly queued: WriteContent | undefined;
  readonly unseen: WriteContent | undefined;
  readonly hasSeen: boolean;
}

/** The strong write is the last one: whatever it was told is what must be there. */
async function check({ policy, strong, queued, unseen, hasSeen }: Case): Promise<'success' | 'refused'> {
  const world = new World({ policy });
  const other = new Node(world, 'other');
  const writer = new Node(world, 'writer', -3_600_000);
  writer.resolve = () => ({ winner: 'remote', resolvedData: { resolved: true } });
  const atCloud = (content: WriteContent) =>
    world.sequencer.commit((commit) => writeAtCloud(commit, { entityType: TYPE, entityId: entityId('x'), ...content }));
  if (hasSeen || unseen?.kind === 'delete') atCloud({ kind: 'put', data: { n: 1 } });
  if (hasSeen) await writer.link.sync();
  if (queued?.kind === 'put' || (queued !== undefined && hasSeen)) writer.write('x', queued);
  if (unseen !== undefined) atCloud(unseen);

  const written = await writer.access
    .writeStrong({ entityType: TYPE, entityId: entityId('x'), ...strong }, {}, 1_000)
    .catch((error: unknown) => error);
  const conflicts = world.cloudStore.listConflicts({ status: 'all', after: '', limit: 100 });
  let outcome: 'success' | 'refused' = 'success';
  if (written instanceof Error) {
    expect(written).toMatchObject({ code: 'not_found' });
    outcome = 'refused';
  } else {
    const {
      version,
      data,
      conflictId,
      changeId,
      entityId: id = 'x',
    } = written as Awaited<ReturnType<typeof writer.access.writeStrong>>;
    const entity = world.cloudStore.readEntity(key(id));
    expect(entity).toMatchObject({ version, data });
    if (strong.kind === 'put') expect(data).toEqual(strong.data);
    if (strong.kind === 'delete') expect(data).toBeNull();
    if (strong.kind === 'merge-patch') expect(data).toMatchObject(strong.patch);
    expect(writer.read(id)).toEqual(data ?? undefined);
    const own = conflicts.filter(({ remote }) => remote.version === changeId);
    expect(own.map((one) => one.id)).toEqual(conflictId === undefined ? [] : [conflictId]);
    expect(own.every(({ status, resolution }) => status === 'resolved' && resolution.winner === 'remote')).toBe(true);
  }
  await other.link.sync();
  expect(other.list()).toEqual(writer.list());
  expect(writer.replica.meta.digestMismatches).toBe(0);
  return outcome;
}

describe.each(policies())(
  '[I7] a strong write that is answered with success stands: $conflict, $onDelete, $onCreate',
  (policy) => {
    test.each(Object.keys(STRONG))('%s', async (name) => {
      const strong = STRONG[name] ?? { kind: 'delete' };
      const outcomes = new Set<string>();
      for (const hasSeen of SEEN.map((seen) => seen !== 'nothing')) {
        for (const queued of Object.values(QUEUED)) {
          for (const unseen of Object.values(UNSEEN)) {
            outcomes.add(await check({ policy, strong, queued, unseen, hasSeen }));
          }
        }
      }
      expect(outcomes).toEqual(new Set(name === 'put' ? ['success'] : ['success', 'refused']));
    });
  },
);

describe('what is queued for the entity goes first', () => {
  const increment = { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] } as const;
  const strongIncrement = (node: Node) =>
    node.access.writeStrong({ entityType: TYPE, entityId: entityId('x'), ...increment }, {}, 1_000);

  test('though it is more than a batch takes', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    await a.link.sync();
    a.put('x', { n: 0 });
    for (let count = 0; count < 10; count += 1) a.write('x', increment);
    for (let count = 0; count < 10; count += 1) a.put(`other${count}`, {});
    expect((await strongIncrement(a)).data).toEqual({ n: 11 });
    const strongExchange = a.exchanges.findIndex(({ batch }) => batch.changes.some(({ consistency }) => consistency));
    expect(a.exchanges[strongExchange]?.batch.changes.map(({ id }) => id)).toEqual(['a:11', 'a:12', 'a:22']);
  });

  test('though the cloud asks for all of it once more', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 0, text: 'long enough that a field is worth sending by itself' });
    await a.link.sync();
    await b.link.sync();
    b.write('x', increment);
    await b.link.sync();
    a.write('x', increment);
    expect((await strongIncrement(a)).data).toMatchObject({ n: 3 });
    expect(a.exchanges.flatMap(({ answer }) => answer.results.map(({ status }) => status))).toContain('needs-full');
    expect(a.read('x')).toMatchObject({ n: 3 });
  });

  test('though the pull takes many pages', async () => {
    const world = new World({ policy: { conflict: 'merge' } });
    const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
    a.put('x', { n: 0, text: 'long enough that a field is worth sending by itself' });
    await a.link.sync();
    await b.link.sync();
    b.write('x', increment);
    for (let count = 0; count < 5; count += 1) b.put(`other${count}`, {});
    await b.link.sync();
    world.pageLimit = 1;
    a.write('x', increment);
    expect((await strongIncrement(a)).data).toMatchObject({ n: 3 });
  });
});

test('a strong write on a record that got another id says which', async () => {
  const world = new World({ policy: { onCreate: 'rename' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { by: 'a' });
  for (const node of [b, a]) await node.link.sync();
  b.put('x', { by: 'b' });
  const strong = { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { by: 'b', strong: true } } as const;
  const written = await b.access.writeStrong(strong, {}, 1_000);
  expect(written).toMatchObject({ entityId: 'x~b', data: { by: 'b', strong: true } });
  expect(world.cloudStore.readEntity(key('x~b'))).toMatchObject({ version: written.version, data: written.data });
  expect(world.cloudStore.readEntity(key())?.data).toEqual({ by: 'a' });
});

test('[I5] a strong write goes behind what is queued for its record, also where that gets another id on the way', async () => {
  const world = new World({ policy: { onCreate: 'rename', coalesce: false } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', { by: 'a' });
  for (const node of [b, a]) await node.link.sync();
  b.put('x', { by: 'b' });
  for (let count = 0; count < 20; count += 1) b.put(`other${count}`, {});
  for (let count = 0; count < 20; count += 1) b.put('x', { count });
  const strong = { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { strong: true } } as const;
  await b.access.writeStrong(strong, {}, 1_000);
  await b.link.sync();
  expect(world.cloudStore.readEntity(key('x~b'))?.data).toEqual({ strong: true });
  expect(world.sequencer.meta.conflicts).toBe(1);
});

test('[I11] a change that no batch could take is refused at once', async () => {
  const world = new World({ policy: { conflict: 'merge' } });
  const a = new Node(world, 'a');
  a.put('x', { list: [] });
  await a.link.sync();
  const value = 'v'.repeat(200_000);
  const operations = Array.from({ length: 4 }, () => [
    { op: 'push', path: 'list', value } as const,
    { op: 'pull', path: 'list', value } as const,
  ]).flat();
  const patch = { entityType: TYPE, entityId: entityId('x'), kind: 'patch', operations } as const;
  expect(() => a.replica.write(patch, {})).toThrow('the change has');
  await expect(a.access.writeStrong(patch, {}, 1_000)).rejects.toMatchObject({ code: 'too_large' });
  await a.link.sync();
  expect(a.list()).toEqual({ x: { list: [] } });
});

test('strong writes that wait together, and are more than a batch takes, are all done', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const strong = (id: string, data: JsonObject) =>
    a.access.writeStrong({ entityType: TYPE, entityId: entityId(id), kind: 'put', data }, {}, 1_000);
  const many = await Promise.all(Array.from({ length: 10 }, (_, index) => strong(`small${index}`, { index })));
  expect(many.map(({ created }) => created)).toEqual(many.map(() => true));
  const text = 'v'.repeat(250_000);
  const large = await Promise.all(Array.from({ length: 5 }, (_, index) => strong(`large${index}`, { text })));
  expect(large.map(({ created }) => created)).toEqual(large.map(() => true));
});

describe('what is written while nobody knows what became of a strong write', () => {
  const address = { entityType: TYPE, entityId: entityId('x') };
  const listed = (world: World) => world.cloudStore.listConflicts({ status: 'all', after: '', limit: 9 });

  test('has not seen it while it is under way', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.beforeExchange = async () => {
      a.beforeExchange = async () => undefined;
      a.put('x', { n: 3 });
    };
    await a.access.writeStrong({ ...address, kind: 'put', data: { n: 2 } }, {}, 1_000);
    await a.link.sync();
    expect(listed(world)).toMatchObject([{ local: { data: { n: 2 } }, remote: { data: { n: 3 } } }]);
  });

  test('[I1] has not seen it until its answer, or that there is none, is known', async () => {
    const world = new World();
    const a = new Node(world, 'a', -3_600_000);
    await a.link.sync();
    a.put('x', { n: 1 });
    a.fault = 'answer-lost';
    await expect(a.access.writeStrong({ ...address, kind: 'delete' }, {}, 1_000)).rejects.toMatchObject({
      code: 'outcome_unknown',
    });
    a.restart();
    a.put('x', { n: 2 });
    expect((await a.link.sync()).summary).toMatchObject({ success: true, rejected: 0 });
    expect(listed(world)).toMatchObject([{ local: { data: null }, remote: { data: { n: 2 } } }]);
    expect(a.read('x')).toBeUndefined();
  });

  test('has seen what its node wrote before, with or without it', async () => {
    const world = new World({ policy: { conflict: 'manual', coalesce: false } });
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    await a.link.sync();
    a.fault = 'request-lost';
    await expect(a.access.writeStrong({ ...address, kind: 'put', data: { n: 2 } }, {}, 1)).rejects.toThrow();
    a.put('x', { n: 3 });
    a.put('x', { n: 4 });
    await a.link.sync();
    expect(listed(world)).toEqual([]);
    expect(a.read('x')).toEqual({ n: 4 });
  });
});

test('[I11] of strong writes that got no answer a batch tells as many as one may', () => {
  const world = new World({ policy: { coalesce: false } });
  const a = new Node(world, 'a');
  const write = { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: {} } as const;
  for (let index = 0; index < LIMITS.intervals + 50; index += 1) {
    a.replica.endStrong(a.replica.beginStrong([write], {}));
    // So no two counters without a change are in a row.
    a.put('y', { index });
  }
  const { void: told } = a.replica.nextBatch('b', { least: 'normal', maxChanges: 1, maxBytes: 1_000 }, []);
  expect(told).toHaveLength(LIMITS.intervals);
});
