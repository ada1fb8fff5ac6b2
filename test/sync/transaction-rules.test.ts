import { describe, expect, test } from 'vitest';
import { digestOf, digestTotal } from '../../src/core/digest.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { batch } from '../../src/protocol/messages.ts';
import { Narrowing } from '../../src/sync/narrowing.ts';
import { OfflineQueue } from '../../src/sync/offline-queue.ts';
import type { Write, WriteContent } from '../../src/sync/write.ts';
import { entityId, Node, nodeId, TYPE, World } from './world.ts';

/** A cloud that has `x` and `y`, and is sent batches as they come. */
async function cloud(capabilities: string[] = [], policy: ConstructorParameters<typeof World>[0] = {}) {
  const world = new World(policy);
  const a = new Node(world, 'a');
  for (const id of ['x', 'y']) a.put(id, { n: 1 });
  await a.link.sync();
  world.refuse = ({ data }) => data?.['bad'] === true;
  const { sessionId } = world.responder.connect({ nodeId: nodeId('b'), protocol: 1, capabilities });
  let batches = 0;
  const send = (changes: readonly object[], extra: object = {}, relay = false) => {
    batches += 1;
    const header = {
      batchId: `b${batches}`,
      sourceNodeId: 'b',
      targetNodeId: 'cloud',
      cursor: world.sequencer.meta.seq,
    };
    return world.responder.exchange(sessionId, batch.parse({ ...header, changes, ...extra }), { relay });
  };
  return { world, a, send };
}

function change(id: string, entity: string, content: object) {
  const [node = ''] = id.split(':');
  const header = { id, nodeId: node, entityType: TYPE, entityId: entity, operation: 'update', base: { cloud: 2 } };
  return { ...header, stamp: `0000000000ff-0000-${node}`, timestamp: 1, ...content };
}

const ADD = { operations: [{ op: 'increment', path: 'n', value: 1 }] };
/** The cloud has to ask for the record: the base of these isn't there. */
const STALE = { ...ADD, base: {} };
const BAD = { data: { bad: true } };
const told = ({ results }: { results: readonly { status: string; code?: string | undefined }[] }) =>
  results.map(({ status, code }) => code ?? status);

describe('a transaction in the cloud', () => {
  const together = { transaction: 'b:1-2' };
  const refused = ['transaction_refused', 'invalid_data'];

  test('[S34] asks no node about a conflict', async () => {
    const { world, a, send } = await cloud(['conflict-resolution'], { policy: { conflict: 'custom', custom: 'node' } });
    a.put('x', { n: 2 });
    await a.link.sync();
    const met = change('b:1', 'x', { data: { n: 3 }, ...together });
    expect(told(send([met, change('b:2', 'y', { data: { n: 3 }, ...together })]))).toEqual(['superseded', 'applied']);
    const alone = change('b:3', 'x', { data: { n: 3 } });
    expect(told(send([alone]))).toEqual(['conflict']);
    const open = world.cloudStore.listConflicts({ status: 'open', after: '', limit: 9 });
    expect(open.map(({ remote }) => remote.version)).toEqual(['b:1', 'b:3']);
  });

  test('[S22] [S34] that is refused made no records for the digest of its batch', async () => {
    const { send } = await cloud();
    const changes = [
      change('b:1', 'x', { ...ADD, ...together }),
      change('b:2', 'y', { ...BAD, ...together }),
      change('b:3', 'y', ADD),
    ];
    const digest = digestTotal(digestOf([]));
    expect(told(send(changes, { digest }))).toEqual([...refused, 'applied']);
  });

  test.each([
    ['of its records', [], BAD],
    ['of its node', ['causal-order'], { operation: 'no such' }],
  ] as const)('[S34] that is refused leaves nothing %s waiting behind it', async (_, capabilities, wrong) => {
    const { send } = await cloud([...capabilities]);
    const changes = [
      change('b:1', 'x', { ...STALE, ...together }),
      change('b:2', 'y', { ...wrong, ...together }),
      change('b:3', 'x', { data: { n: 3 } }),
      change('b:4', 'z', { operation: 'create', data: { n: 4 } }),
    ];
    expect(told(send(changes)).slice(2)).toEqual(['applied', 'applied']);
  });

  test('[S34] that is refused leaves it known what its node can tell by itself', async () => {
    const { send } = await cloud();
    const changes = [
      change('b:1', 'x', { data: { n: 3 } }),
      change('b:2', 'x', { data: { n: 4 }, stamp: '00e8d4a513e8-0000-b', transaction: 'b:2-3' }),
      change('b:3', 'y', { ...BAD, transaction: 'b:2-3' }),
    ];
    const answer = send(changes);
    expect(told(answer)).toEqual(['applied', ...refused]);
    expect(answer.changes).toEqual([]);
  });

  test('[S11] [S34] that has to be sent once more holds up what its node wrote later, where it wants order', async () => {
    for (const [capabilities, status] of [
      [['causal-order'], 'deferred'],
      [[], 'applied'],
    ] as const) {
      const { send } = await cloud([...capabilities]);
      const changes = [
        change('b:1', 'x', { ...STALE, ...together }),
        change('b:2', 'y', { data: { n: 2 }, ...together }),
        change('b:3', 'z', { operation: 'create', data: { n: 3 } }),
      ];
      expect(told(send(changes))).toEqual(['needs-full', 'deferred', status]);
    }
  });

  test.each(['mine', 'b:1-2'])(
    '[I8] [S34] %s, of which a part is answered for already, is refused',
    async (transaction) => {
      const { world, send } = await cloud();
      send([], { void: [[1, 1]] });
      const changes = [change('b:1', 'x', { data: {}, transaction }), change('b:2', 'y', { data: {}, transaction })];
      expect(told(send(changes))).toEqual(['duplicate', 'transaction_refused']);
      expect(world.sequencer.meta.seq).toBe(2);
    },
  );

  test('[I9] [S34] is another one than that of another node, by the same name in the same batch', async () => {
    const { send } = await cloud();
    const of = (node: string, content: object) =>
      [1, 2].map((counter) =>
        change(`${node}:${counter}`, `${node}${counter}`, { operation: 'create', ...content, transaction: 'mine' }),
      );
    expect(told(send([...of('p', BAD), ...of('q', { data: {} })], {}, true))).toEqual([
      'invalid_data',
      'invalid_data',
      'applied',
      'applied',
    ]);
  });
});

test('[S16] [S37] the counter of a repeated strong write is answered for', async () => {
  const { world, a } = await cloud();
  const write: Write = { entityType: TYPE, entityId: entityId('x'), kind: 'delete' };
  for (let turn = 0; turn < 2; turn += 1) await a.access.writeStrong(write, {}, 1_000, { key: 'k', hash: 'h' });
  expect(world.cloudStore.readNode(a.nodeId)?.received).toEqual({ upTo: 4, extra: [] });
});

test('[S28] [S34] a transaction that fails alone is as one change that does', () => {
  const failed = (...changes: { id: string; transaction?: string }[]) => {
    const narrowing = new Narrowing();
    narrowing.failed(changes, new SyncError('too_large', 'no'));
    return [narrowing.maxChanges, narrowing.passed()?.changeId];
  };
  const [one, two] = [
    { id: 'a:1', transaction: 'a:1-2' },
    { id: 'a:2', transaction: 'a:1-2' },
  ];
  expect(failed(one, two)).toEqual([0, 'a:1']);
  expect(failed(one, two, { id: 'a:3' })).toEqual([1, undefined]);
  expect(failed(one, two, { id: 'a:3', transaction: 'a:3-4' })).toEqual([1, undefined]);
  expect(failed({ id: 'a:3' }, { id: 'a:4' })).toEqual([1, undefined]);
});

describe('a transaction at its node', () => {
  const writeOf = (id: string, content: WriteContent): Write => ({
    entityType: TYPE,
    entityId: entityId(id),
    ...content,
  });
  const added = (id: string) => writeOf(id, { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
  const queuedOf = ({ replica }: Node) => [...replica.queued()].sort((one, other) => one.order - other.order);
  const sent = ({ replica }: Node) =>
    replica.nextBatch('n', { maxChanges: 9, maxBytes: 1e6, least: 'normal' }, []).changes.map(({ id }) => id);

  test('[S27] [S34] waits with a failed change that it is behind, and so does what is behind it', async () => {
    const { world, a } = await cloud();
    const { writeEntity } = world.cloudStore;
    world.cloudStore.writeEntity = (entity) => {
      if (entity.data?.['n'] === 13) throw new Error('a bug');
      writeEntity.call(world.cloudStore, entity);
    };
    a.put('x', { n: 13 });
    await a.link.sync();
    a.replica.transact([added('x'), added('y')], {});
    a.put('y', { n: 5 });
    a.put('free', {});
    expect(sent(a)).toEqual(['a:7']);
    a.replica.releaseBatch();
    world.nowMs += 10_000;
    // In one batch, in their order: where it fails once more, the cloud takes none of them.
    expect(sent(a)).toEqual(['a:3', 'a:4', 'a:5', 'a:6', 'a:7']);
  });

  test('[S34] is with its like: dead parts with dead ones, others with others', async () => {
    const { a } = await cloud();
    a.replica.transact([added('x'), added('y'), added('x')], {});
    const [first, ...others] = queuedOf(a);
    if (first === undefined) throw new Error('there are three');
    const dead = { ...first, error: { code: 'bad_request', detail: '' } } as const;
    const queue = new OfflineQueue([dead, ...others]);
    expect(queue.together(dead)).toEqual([dead]);
    for (const other of others) expect(queue.together(other)).toEqual(others);
  });

  test('[S27] [S34] has a try as a whole', async () => {
    const { a } = await cloud();
    a.replica.transact([added('x'), added('y')], {});
    a.replica.noteFailure('a:4', { code: 'internal', detail: 'no' });
    expect(queuedOf(a).map(({ retryCount }) => retryCount)).toEqual([1, 1]);
    a.restart();
    expect(queuedOf(a).map(({ retryCount }) => retryCount)).toEqual([1, 1]);
  });

  test('[S12] [S34] is sent again as one, by the name of its new counters', async () => {
    const { world, a } = await cloud();
    a.replica.transact([added('x'), writeOf('y', { kind: 'put', data: { bad: true } })], {});
    await a.link.sync();
    world.refuse = () => false;
    a.replica.retryDead('a:3');
    const named = () => queuedOf(a).map(({ change: { id, transaction } }) => [id, transaction]);
    const expected = [
      ['a:5', 'a:5-6'],
      ['a:6', 'a:5-6'],
    ];
    expect(named()).toEqual(expected);
    a.restart();
    expect(named()).toEqual(expected);
  });

  test('[S18] [S34] that gets new counters gets the name of these', async () => {
    const { a } = await cloud();
    a.restartEmpty();
    a.replica.transact(
      ['p', 'q'].map((id) => writeOf(id, { kind: 'put', data: {} })),
      {},
    );
    await a.link.sync();
    const changes = a.exchanges.flatMap(({ batch: { changes: each } }) => each).slice(-2);
    expect(changes.map(({ id, transaction }) => [id, transaction])).toEqual([
      ['a:3', 'a:3-4'],
      ['a:4', 'a:3-4'],
    ]);
  });

  test('[I5] [S34] of who has seen more than it has is no successor of that where it was made of what is here', async () => {
    const { a } = await cloud([], { policy: { conflict: 'merge' } });
    const after = { clock: { b: 5 } };
    a.replica.transact([added('x'), writeOf('y', { kind: 'put', data: { n: 2 } })], after);
    const [patched, put] = queuedOf(a).map(({ change: each }) => each);
    expect([patched?.base['b'], patched?.operations]).toEqual([undefined, ADD.operations]);
    expect([put?.base['b'], put?.operations]).toEqual([5, undefined]);
    a.replica.transact([writeOf('y', { kind: 'put', data: { n: 3 } })], {});
    expect(queuedOf(a).at(-1)?.change.operations).toEqual([{ op: 'set', path: 'n', value: 3 }]);
  });
});
