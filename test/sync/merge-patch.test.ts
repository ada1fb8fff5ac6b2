import { describe, expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import type { Policy } from '../../src/core/policy.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const entity = { entityType: TYPE, entityId: entityId('x') };

/** What RFC 7386, appendix A, says, each a field deeper: a record is an object, whatever the example is. */
const EXAMPLES: readonly (readonly [original: JsonValue, patch: JsonValue, result: JsonValue])[] = [
  [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
  [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
  [{ a: 'b' }, { a: null }, {}],
  [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
  [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
  [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
  [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
  [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
  [
    ['a', 'b'],
    ['c', 'd'],
    ['c', 'd'],
  ],
  [{ a: 'b' }, ['c'], ['c']],
  [{ a: 'foo' }, null, null],
  [{ a: 'foo' }, 'bar', 'bar'],
  [{ e: null }, { a: 1 }, { e: null, a: 1 }],
  [[1, 2], { a: 'b', c: null }, { a: 'b' }],
  [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
];

async function began(original: JsonObject, policy: Partial<Policy> = {}) {
  const world = new World({ policy });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  a.put('x', original);
  await a.link.sync();
  return { world, a, b };
}

function atCloud(world: World): JsonValue | undefined {
  return world.cloudStore.readEntity(entityKey(entity))?.data;
}

describe.each(EXAMPLES)('a merge patch as RFC 7386 says: %j with %j is %j', (original, patch, result) => {
  const [record, content] = [{ v: original }, { kind: 'merge-patch', patch: { v: patch } } as const];
  const expected = result === null ? {} : { v: result };

  test('at the cloud', async () => {
    const { world } = await began(record);
    const written = world.sequencer.commit((commit) => writeAtCloud(commit, { ...entity, ...content }));
    expect(written.data).toEqual(expected);
    expect(atCloud(world)).toEqual(expected);
  });

  test('strong at an edge that has not got the record', async () => {
    const { world, b } = await began(record);
    const written = await b.access.writeStrong({ ...entity, ...content }, {}, 1_000);
    expect(written.data).toEqual(expected);
    expect(atCloud(world)).toEqual(expected);
    expect(b.read('x')).toEqual(expected);
  });

  test('queued at an edge', async () => {
    const { world, a, b } = await began(record);
    await b.link.sync();
    b.write('x', content);
    expect(b.read('x')).toEqual(expected);
    await b.link.sync();
    expect(atCloud(world)).toEqual(expected);
    await a.link.sync();
    expect(a.read('x')).toEqual(expected);
  });
});

test('[I7] a strong merge patch keeps what it does not name, whatever its node has seen', async () => {
  const { world, b } = await began({ k: 1 });
  await b.link.sync();
  world.sequencer.commit((commit) => writeAtCloud(commit, { ...entity, kind: 'put', data: { deep: { n: 3 }, k: 1 } }));
  const patch = { kind: 'merge-patch', patch: { deep: { m: 1 } } } as const;
  const written = await b.access.writeStrong({ ...entity, ...patch }, {}, 1_000);
  expect(written.data).toEqual({ deep: { n: 3, m: 1 }, k: 1 });
  expect(b.read('x')).toEqual({ deep: { n: 3, m: 1 }, k: 1 });
});

test('an empty strong merge patch changes nothing; one through a prototype is refused', async () => {
  const { b } = await began({ k: 1 });
  const merge = (patch: JsonObject) => b.access.writeStrong({ ...entity, kind: 'merge-patch', patch }, {}, 1_000);
  expect((await merge({})).data).toEqual({ k: 1 });
  await expect(merge(JSON.parse('{"__proto__":{"k":2}}'))).rejects.toMatchObject({ code: 'invalid_operation' });
});

test('[I11] a queued merge patch of more fields than a change may have operations goes as a record', async () => {
  const { world, b } = await began({ k: 1 }, { conflict: 'merge' });
  await b.link.sync();
  const patch = Object.fromEntries(Array.from({ length: 1_200 }, (_, index) => [`f${index}`, index]));
  b.write('x', { kind: 'merge-patch', patch });
  expect((await b.link.sync()).summary).toMatchObject({ success: true, rejected: 0 });
  expect(atCloud(world)).toEqual({ k: 1, ...patch });
});
