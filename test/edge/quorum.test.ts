import { expect, test } from 'vitest';
import { entityKey } from '../../src/core/ids.ts';
import { Quorum } from '../../src/edge/quorum.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { entityId, Node, TYPE, World } from '../sync/world.ts';

/** A node whose cloud refuses records with `n: 2`. */
async function began() {
  const world = new World();
  const a = new Node(world, 'a');
  await a.link.sync();
  world.refuse = ({ data }) => data?.['n'] === 2;
  const quorum = new Quorum(a.replica, a.link, world.clock, undefined);
  const hold = (...changeIds: string[]) =>
    quorum.hold(
      changeIds.map((changeId) => ({ changeId, version: changeId, created: false, data: null })),
      2,
      1_000,
    );
  return { world, a, hold };
}

test('[S39] a write that the cloud refuses is no write that too few hold', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  await a.link.sync();
  world.refuse = ({ data }) => data?.['n'] === 1;
  const quorum = new Quorum(a.replica, a.link, world.clock, undefined);
  const changeId = a.put('x', { n: 1 });
  const written = [{ changeId, version: changeId, created: true, data: { n: 1 } }];
  await expect(quorum.hold(written, 2, 1_000)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] where the cloud is elsewhere, no more than it and the node can be asked for', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const quorum = new Quorum(a.replica, a.link, world.clock, undefined);
  const written = [a.put('x', { n: 1 }), a.put('x', { n: 2 })].map((changeId) => {
    return { changeId, version: changeId, created: false, data: {} };
  });
  await quorum.hold(written, 1, 0);
  expect(a.replica.queueStats().pending).toBe(1);
  await quorum.hold(written, 2, 1_000);
  expect(a.replica.queueStats().pending).toBe(0);
  await expect(quorum.hold(written, 3, 1_000)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 2 } });
});

test('[S39] a write that went into one that the cloud refuses is refused, and not held', async () => {
  const { a, hold } = await began();
  const first = a.put('x', { n: 1 });
  a.put('x', { n: 2 });
  await expect(hold(first)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] a write that was refused and given up since is refused, as often as it is asked for', async () => {
  const { a, hold } = await began();
  const first = a.put('x', { n: 1 });
  const refused = a.put('x', { n: 2 });
  await a.link.sync();
  a.replica.discardDead(refused);
  await a.link.sync();
  for (const id of [first, refused]) await expect(hold(id)).rejects.toMatchObject({ code: 'invalid_data' });
});

test('[S39] a refused write that was sent again is held when that is', async () => {
  const { world, a, hold } = await began();
  const refused = a.put('x', { n: 2 });
  await a.link.sync();
  a.replica.retryDead(refused);
  a.link.setOnline(false);
  await expect(hold(refused)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 1 } });
  a.link.setOnline(true);
  world.refuse = () => false;
  await hold(refused);
});

test('[S39] what another node wrote is not here to be held', async () => {
  const { a, hold } = await began();
  a.put('x', { n: 1 });
  await a.link.sync();
  await expect(hold('b:1')).rejects.toMatchObject({ code: 'quorum_timeout' });
});

test('[S39] of a transaction that is refused the caller hears why', async () => {
  const { a, hold } = await began();
  const writes = [1, 2].map((n) => {
    return { entityType: TYPE, entityId: entityId(`e${n}`), kind: 'put', data: { n } } as const;
  });
  const ids = a.replica.transact(writes, {}).map(({ changeId }) => changeId);
  await expect(hold(...ids)).rejects.toMatchObject({ code: 'invalid_data', details: { index: 1 } });
});

test('[S39] [I1] a cloud that fails while others are asked: the write is durable, and the node and the cloud have it', async () => {
  const { world, a } = await began();
  const fail = async () => {
    throw new SyncError('cloud_unavailable', 'reset');
  };
  const quorum = new Quorum(a.replica, a.link, world.clock, { holders: fail, versions: fail });
  const changeId = a.put('x', { n: 1 });
  const written = [{ changeId, version: changeId, created: true, data: { n: 1 } }];
  await expect(quorum.hold(written, 3, 1_000)).rejects.toMatchObject({ code: 'quorum_timeout', details: { have: 2 } });
  await expect(quorum.newest(entityKey({ entityType: TYPE, entityId: entityId('x') }), 2, 1_000)).rejects.toMatchObject(
    {
      code: 'quorum_timeout',
      details: { have: 1 },
    },
  );
});
