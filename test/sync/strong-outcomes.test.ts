import { expect, test } from 'vitest';
import { Access } from '../../src/sync/access.ts';
import { withVoid } from '../../src/sync/node-record.ts';
import type { Clock } from '../../src/sync/ports.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const put = { entityType: TYPE, entityId: entityId('x'), kind: 'put', data: { n: 1 } } as const;

function began() {
  const world = new World();
  return { world, a: new Node(world, 'a') };
}

/** The patience of callers ends when it is told to; it is noted how long it was to be. */
function patience(world: World) {
  const waitsMs: number[] = [];
  const { promise, resolve: end } = Promise.withResolvers<void>();
  const sleep = (ms: number) => {
    waitsMs.push(ms);
    return promise;
  };
  const clock: Clock = { nowMs: () => world.nowMs, sleep };
  return { clock, waitsMs, end };
}

test('[S16] [I2] a strong write that came too late is not told to be done', async () => {
  const { world, a } = began();
  await a.link.sync();
  a.beforeSend = ({ changes }) => {
    if (changes.length > 0)
      world.sequencer.commit((commit) => commit.keepNode(withVoid(commit.node(a.nodeId), [1, 1])));
  };
  await expect(a.access.writeStrong(put, {}, 1_000)).rejects.toMatchObject({ code: 'outcome_unknown' });
  expect(world.sequencer.meta.seq).toBe(0);
});

/** A node whose next exchange is under way for as long as it is told to be. */
async function held() {
  const { world, a } = began();
  await a.link.sync();
  const sent = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  a.beforeExchange = () => {
    sent.resolve();
    return gate.promise;
  };
  const { clock, end } = patience(world);
  return { world, a, sent: sent.promise, release: gate.resolve, access: new Access(a.replica, a.link, clock), end };
}

test('[I7] a strong write that never left has surely not happened, and never will', async () => {
  const { world, a, access, sent, release, end } = await held();
  const busy = a.link.sync();
  await sent;
  const written = access.writeStrong(put, {}, 1_000);
  end();
  await expect(written).rejects.toMatchObject({ code: 'cloud_unavailable' });
  release();
  await busy;
  await a.link.sync();
  expect(world.sequencer.meta.seq).toBe(0);
});

test('[I7] one that has left, and is not answered, is unknown', async () => {
  const { access, sent, release, end } = await held();
  const written = access.writeStrong(put, {}, 1_000);
  await sent;
  end();
  await expect(written).rejects.toMatchObject({ code: 'outcome_unknown' });
  release();
});

test('[I10] what the first contact with the cloud takes is part of what a strong write waits', async () => {
  const { world, a } = began();
  a.beforeExchange = async () => {
    if (a.exchanges.length === 0) world.nowMs += 600;
  };
  const { clock, waitsMs } = patience(world);
  await new Access(a.replica, a.link, clock).writeStrong(put, {}, 1_000);
  expect(waitsMs).toEqual([1_000, 400]);
});
