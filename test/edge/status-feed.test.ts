import { expect, test } from 'vitest';
import { StatusFeed } from '../../src/edge/status-feed.ts';
import { LIMITS } from '../../src/protocol/limits.ts';

/** A feed whose time passes when it waits, and what it told. */
function feed() {
  const told: unknown[] = [];
  const status = { queue: { pending: 0, oldestMs: 1 }, stalenessMs: 1 };
  const clock = {
    atMs: 0,
    nowMs: () => clock.atMs,
    sleep: async (ms: number) => {
      clock.atMs += ms;
    },
  };
  const it = new StatusFeed(
    () => status,
    (message) => told.push(JSON.parse(message)),
    clock,
  );
  return { feed: it, status, clock, told };
}

test('what happens in one turn is told once, as it is in the end', async () => {
  const { feed: it, status, told } = feed();
  const ends = [1, 2, 3].map((pending) => {
    status.queue.pending = pending;
    return it.soon();
  });
  expect(told).toEqual([]);
  await Promise.all(ends);
  expect(told).toEqual([{ type: 'status', queue: { pending: 3, oldestMs: 1 }, stalenessMs: 1 }]);
});

test('what is to be seen at once is, each time; and not again when the turn ends', async () => {
  const { feed: it, status, told } = feed();
  for (const pending of [1, 2]) {
    status.queue.pending = pending;
    it.now();
  }
  await it.soon();
  expect(told).toMatchObject([{ queue: { pending: 1 } }, { queue: { pending: 2 } }]);
});

test('only time has passed: that is not told', async () => {
  const { feed: it, status, told } = feed();
  await it.soon();
  status.stalenessMs += 1_000;
  status.queue.oldestMs += 1_000;
  await it.soon();
  expect(told).toHaveLength(1);
  expect(it.message()).toBe(JSON.stringify({ type: 'status', ...status }));
});

test('[I10] of more than anybody follows the last one is told', async () => {
  const { feed: it, status, clock, told } = feed();
  const SECONDS = 10;
  for (let index = 1; index <= 1_000; index += 1) {
    clock.atMs = (index * SECONDS * 1_000) / 1_000;
    status.queue.pending = index;
    it.now();
  }
  await it.soon();
  expect(told.length).toBeLessThanOrEqual(LIMITS.statusBurst + SECONDS * LIMITS.statusesPerSecond + 1);
  expect(told.length).toBeGreaterThan(SECONDS * LIMITS.statusesPerSecond);
  expect(told.at(-1)).toMatchObject({ queue: { pending: 1_000 } });
});
