import { expect, test } from 'vitest';
import { Quorum } from '../../src/edge/quorum.ts';
import { Node, World } from '../sync/world.ts';

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
