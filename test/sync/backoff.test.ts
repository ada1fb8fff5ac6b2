import { expect, test } from 'vitest';
import { Node, World } from './world.ts';

test('[I11] the wait after failures in a row grows, and a success or the link’s return ends it', async () => {
  const world = new World();
  const a = new Node(world, 'a');
  const waitAfterFailure = async () => {
    a.fault = 'request-lost';
    expect((await a.link.sync()).summary.success).toBe(false);
    return (a.link.nextAttemptAtMs ?? 0) - world.nowMs;
  };
  expect(a.link.nextAttemptAtMs).toBeNull();
  // Half of what it may be at most, since the world's chance is always a half.
  for (const waitMs of [500, 1_000, 2_000, 4_000, 8_000, 15_000, 15_000]) expect(await waitAfterFailure()).toBe(waitMs);
  expect((await a.link.sync()).summary.success).toBe(true);
  expect(a.link.nextAttemptAtMs).toBeNull();
  expect(await waitAfterFailure()).toBe(500);
  expect(await waitAfterFailure()).toBe(1_000);
  for (const online of [false, true]) {
    a.link.setOnline(online);
    expect(a.link.nextAttemptAtMs).toBeNull();
  }
  expect(await waitAfterFailure()).toBe(500);
});
