import { describe, expect, test } from 'vitest';
import { formatDot } from '../../src/core/dot.ts';
import { entityKey, toNodeId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { type BatchAnswer, batch as batchSchema } from '../../src/protocol/messages.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import type { ChangeFailure } from '../../src/sync/commit.ts';
import { Responder } from '../../src/sync/responder.ts';
import { Sequencer } from '../../src/sync/sequencer.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const nodeId = made(toNodeId('a'));
const caller = { nodeId, relay: false };

/** A cloud with a session of node `a`, which sends texts as they may come from anywhere. */
function session() {
  const world = new World();
  const failures: ChangeFailure[] = [];
  const parts = { store: world.cloudStore, policies: world.policies, clock: world.clock, entropy: world.entropy };
  const sequencer = new Sequencer({ ...parts, onFailure: (failure) => failures.push(failure) });
  const responder = new Responder({ ...parts, sequencer });
  const { sessionId } = responder.connect({ nodeId, protocol: 1 });
  const send = (batchId: string, ...changes: string[]): BatchAnswer => {
    const text = `{"batchId":"${batchId}","sourceNodeId":"a","targetNodeId":"cloud","cursor":0,"changes":[${changes.join()}]}`;
    return responder.exchange(sessionId, batchSchema.parse(JSON.parse(text)), caller);
  };
  return { world, sequencer, failures, send };
}

/** The text of an update, with a content that is a text too. */
function changeText(counter: number, content: string, id = `e${counter}`): string {
  const header = {
    id: formatDot({ node: nodeId, counter }),
    nodeId,
    entityType: TYPE,
    entityId: id,
    operation: 'update',
  };
  const rest = { base: {}, stamp: '0000000000ff-0000-a', timestamp: 1 };
  return `${JSON.stringify({ ...header, ...rest }).slice(0, -1)},${content}}`;
}

const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;

describe('[I11] a change whose content can not be taken in is refused alone', () => {
  test.each([
    ['half of a surrogate pair', String.raw`"data":{"n":"\ud800"}`, 'invalid_data'],
    ['half of a surrogate pair in a name', String.raw`"data":{"\udc00":1}`, 'invalid_data'],
    [
      'half of a surrogate pair that an operation removes',
      String.raw`"operations":[{"op":"pull","path":"l","value":"\ud800"}]`,
      'invalid_data',
    ],
    ['half of a surrogate pair in a path', String.raw`"operations":[{"op":"unset","path":"\ud800"}]`, 'invalid_data'],
    ['half of a surrogate pair in a field that nobody knows', String.raw`"data":{},"other":"\ud800"`, 'invalid_data'],
    ['a number that is infinite', '"data":{"n":1e400}', 'invalid_data'],
    ['a record that is one level too deep', `"data":${nested(33)}`, 'too_deep'],
    ['a record that is very deep', `"data":${nested(100_000)}`, 'too_deep'],
    ['a value that is very deep', `"operations":[{"op":"set","path":"a","value":${nested(100_000)}}]`, 'too_deep'],
    ['no content', '"other":1', 'bad_request'],
  ])('[S6] %s', (_, content, code) => {
    const { world, failures, send } = session();
    const changes = [changeText(1, '"data":{"n":1}'), changeText(2, content), changeText(3, '"data":{"n":3}')];
    const answer = send('b1', ...changes);
    expect(answer.results).toMatchObject([
      { status: 'applied', seq: 1 },
      { status: 'rejected', code },
      { status: 'applied', seq: 2 },
    ]);
    expect(send('b1', ...changes)).toEqual(answer);
    expect(send('b2', ...changes).results).toMatchObject([
      { status: 'duplicate' },
      { status: 'rejected', code },
      { status: 'duplicate' },
    ]);
    expect(world.cloudStore.readNode(nodeId)?.received).toEqual({ upTo: 3, extra: [] });
    expect(failures).toEqual([]);
  });

  test('a record of the deepest kind is taken', () => {
    const { send } = session();
    expect(send('b1', changeText(1, `"data":${nested(32)}`)).results).toMatchObject([{ status: 'applied' }]);
  });

  test('a name that is none, with the field and a code of its own', () => {
    const { send } = session();
    const [result] = send('b1', changeText(1, '"data":{}', 'not/a/name')).results;
    expect(result).toMatchObject({ status: 'rejected', code: 'bad_name', detail: expect.stringContaining('entityId') });
  });

  test('what is missing is said of the operation that was meant', () => {
    const { send } = session();
    const [result] = send('b1', changeText(1, '"other":1')).results;
    expect(result?.detail).toMatch(/^the change is malformed: data: /);
  });
});

describe('[I11] a change that this program fails at fails alone', () => {
  test('[S6] nothing of it has happened, those around it have, somebody is told, and it may come again', () => {
    const { world, failures, send } = session();
    const { cloudStore: store } = world;
    const writeEntity = store.writeEntity.bind(store);
    store.writeEntity = (entity) => {
      writeEntity(entity);
      if (entity.entityId === 'e2') throw new RangeError('a bug');
    };
    const changes = [1, 2, 3].map((counter) => changeText(counter, `"data":{"n":${counter}}`));
    expect(send('b1', ...changes).results).toMatchObject([
      { status: 'applied', seq: 1 },
      { status: 'failed', code: 'internal' },
      { status: 'applied', seq: 2 },
    ]);
    expect(failures).toMatchObject([{ changeId: 'a:2', error: { message: 'a bug' } }]);
    expect(store.readEntity(entityKey({ entityType: TYPE, entityId: entityId('e2') }))).toBeUndefined();
    expect(store.readAfter(0, 10).map(({ entityId: id, seq }) => [id, seq])).toEqual([
      ['e1', 1],
      ['e3', 2],
    ]);
    expect(store.readNode(nodeId)?.received).toEqual({ upTo: 1, extra: [[3, 3]] });
    store.writeEntity = writeEntity;
    expect(send('b2', ...changes).results.map(({ status }) => status)).toEqual(['duplicate', 'applied', 'duplicate']);
  });

  test('[S27] what its node has given up is refused for the reason that the node says, and never comes', () => {
    const { world, send } = session();
    const withdrawn = (counter: number, reason: object) =>
      JSON.stringify({ id: formatDot({ node: nodeId, counter }), nodeId, withdrawn: reason });
    const reason = { code: 'internal', detail: 'it failed three times' };
    const refused = { status: 'rejected', ...reason };
    expect(send('b1', withdrawn(1, reason)).results).toMatchObject([refused]);
    expect(send('b2', changeText(1, '"data":{"n":1}'), withdrawn(1, reason)).results).toMatchObject([refused, refused]);
    expect(world.cloudStore.readNode(nodeId)?.received).toEqual({ upTo: 1, extra: [] });
    // What is there stays there; and a reason that is none is no reason.
    send('b3', changeText(2, '"data":{"n":2}'));
    expect(send('b4', withdrawn(2, reason), withdrawn(3, { code: 'nonsense' })).results).toMatchObject([
      { status: 'duplicate' },
      { status: 'rejected', detail: expect.stringContaining('malformed') },
    ]);
    expect(world.cloudStore.readAfter(0, 10)).toMatchObject([{ data: { n: 2 } }]);
  });

  test('nor has what it had counted already', () => {
    const { world, sequencer, send } = session();
    const { cloudStore: store } = world;
    const write = { entityType: TYPE, entityId: entityId('e2'), kind: 'put', data: {} } as const;
    sequencer.commit((commit) => writeAtCloud(commit, write));
    store.writeConflict = () => {
      throw new RangeError('a bug');
    };
    const changes = [2, 3].map((counter) => changeText(counter, `"data":{"n":${counter}}`));
    expect(send('b1', ...changes).results).toMatchObject([{ code: 'internal' }, { status: 'applied', seq: 2 }]);
    expect(sequencer.meta).toMatchObject({ seq: 2, conflicts: 0, conflictRevision: 0 });
  });

  test('but a batch with a copy of another node’s dot is refused whole', () => {
    const { world, send } = session();
    send('b1', changeText(1, '"data":{"n":1}'));
    const forked = [changeText(2, '"data":{"n":2}'), changeText(1, '"data":{"n":9}')];
    expect(() => send('b2', ...forked)).toThrow(expect.objectContaining({ code: 'node_forked' }));
    expect(world.cloudStore.readNode(nodeId)?.received).toEqual({ upTo: 1, extra: [] });
  });
});

describe('a write that could not be taken in is refused where it is made', () => {
  const writes = [
    { kind: 'put', data: { n: '\ud800' } },
    { kind: 'put', data: { '\ud800': 1 } },
    { kind: 'put', data: { n: Number.POSITIVE_INFINITY } },
    { kind: 'patch', operations: [{ op: 'set', path: 'a', value: '\ud800' }] },
    { kind: 'patch', operations: [{ op: 'pull', path: 'a', value: '\ud800' }] },
    { kind: 'patch', operations: [{ op: 'unset', path: '\ud800' }] },
    { kind: 'merge-patch', patch: { '\ud800': null } },
  ] as const;

  test.each(writes)('%j', (content) => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { n: 1 });
    const entity = { entityType: TYPE, entityId: entityId('x') };
    const write = { ...entity, ...content };
    const refused = expect.objectContaining({
      code: 'invalid_data',
      details: expect.objectContaining({ issues: [expect.anything()] }),
    });
    expect(() => a.replica.write(write, {})).toThrow(refused);
    expect(() => a.replica.beginStrong([write], {})).toThrow(refused);
    expect(a.replica.queueStats().total).toBe(1);
    world.sequencer.commit((commit) => writeAtCloud(commit, { ...entity, kind: 'put', data: {} }));
    expect(() => world.sequencer.commit((commit) => writeAtCloud(commit, write))).toThrow(refused);
    expect(world.sequencer.meta.seq).toBe(1);
  });
});

describe('a field that no path of a message names', () => {
  const long = 'k'.repeat(LIMITS.pathChars + 1);
  const half = 'k'.repeat(LIMITS.pathChars / 2 + 1);
  const text = 'so long that a field is worth sending by itself'.repeat(100);
  test.each<[string, (n: number) => JsonObject]>([
    ['for it is too long', (n) => ({ [long]: n })],
    ['for the names on its way are', (n) => ({ [half]: { [half]: n } })],
    ['for a prototype is on its way: __proto__', (n) => JSON.parse(`{"__proto__":${n}}`)],
    ['for a prototype is on its way: constructor', (n) => ({ a: { constructor: n } })],
  ])('[I3] [I11] [S10] comes with the whole record, and holds up nobody: %s', async (_, fieldOf) => {
    const world = new World();
    const [a, b, c] = [new Node(world, 'a'), new Node(world, 'b'), new Node(world, 'c')];
    const record = (n: number): JsonObject => ({ ...fieldOf(n), text });
    a.put('x', record(1));
    await a.link.sync();
    await b.link.sync();
    a.put('x', record(2));
    expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 1, rejected: 0 });
    // A record of who hasn't seen the one that is there: only what is another changes.
    world.nowMs += 1;
    c.put('x', record(3));
    await c.link.sync();
    for (const node of [a, b]) expect((await node.link.sync()).summary).toMatchObject({ success: true, downloaded: 1 });
    for (const node of [a, b]) expect(JSON.stringify(node.read('x'))).toBe(JSON.stringify(record(3)));
    expect([a, b, c].map(({ replica }) => replica.meta.digestMismatches)).toEqual([0, 0, 0]);
  });

  test('[I10] also where a merge patch writes it', async () => {
    const world = new World();
    const a = new Node(world, 'a');
    a.put('x', { [long]: 1, text });
    a.write('x', { kind: 'merge-patch', patch: { [long]: 2 } });
    await a.link.sync();
    a.write('x', { kind: 'merge-patch', patch: { [long]: 3 } });
    expect((await a.link.sync()).summary).toMatchObject({ uploaded: 1, rejected: 0 });
    expect(world.cloudStore.readEntity(entityKey({ entityType: TYPE, entityId: entityId('x') }))?.data).toMatchObject({
      [long]: 3,
    });
  });
});
