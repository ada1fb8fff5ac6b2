import { expect, test } from 'vitest';
import type { Policy } from '../../src/core/policy.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { ByteCap } from '../../src/sync/byte-cap.ts';
import { planFor, UNMEASURED } from '../../src/sync/plan.ts';
import { Node, World } from './world.ts';

test('[S28] after each batch that is lost the next one is half as large, down to 16 KiB; and larger again as they arrive', () => {
  const cap = new ByteCap();
  expect(cap.maxBytes).toBe(Number.POSITIVE_INFINITY);
  const lost = [200_000, 100_000, 1_000, 1_000].map((bytes) => {
    cap.lost(bytes);
    return cap.maxBytes;
  });
  expect(lost).toEqual([100_000, 50_000, 16_384, 16_384]);
  cap.arrived();
  expect(cap.maxBytes).toBe(32_768);
});

/** A node that reaches its cloud at so many bytes a millisecond, and gives up after 20 seconds. */
function slow(bytesPerMs: number, policy: Partial<Policy> = {}) {
  const world = new World({ policy });
  const a = new Node(world, 'a');
  const sent: number[] = [];
  a.beforeSend = (batch) => {
    const bytes = JSON.stringify(batch).length;
    sent.push(bytes);
    const tookMs = Math.round(bytes / bytesPerMs);
    world.nowMs += Math.min(tookMs, LIMITS.exchangeTimeoutMs);
    if (tookMs > LIMITS.exchangeTimeoutMs) throw new SyncError('cloud_unavailable', 'no answer in time');
  };
  /** What the node does by itself until all is sent, or an hour is over. */
  const drain = async () => {
    const endMs = world.nowMs + 3_600_000;
    while (a.replica.queueStats().total > 0 && world.nowMs < endMs) {
      if (a.link.isDue) await a.link.sync();
      world.nowMs = Math.max(world.nowMs + 1_000, a.link.nextAttemptAtMs ?? 0);
    }
  };
  return { world, a, sent, drain };
}

const PHOTO = 'x'.repeat(20_000);

test('[I11] [S14] over 50 kbit/s what is critical goes, in batches that such a link carries', async () => {
  const { a, sent, drain } = slow(6.25, { priority: 'critical' });
  a.plan = planFor({ effectiveType: '2g' }, UNMEASURED);
  for (let n = 0; n < 10; n += 1) a.put(`e${n}`, { n, PHOTO });
  await drain();
  expect(a.replica.queueStats()).toMatchObject({ total: 0, dead: 0, failed: 0 });
  expect(Math.max(...sent)).toBeLessThan(33_000);
  expect(sent).toHaveLength(10);
});

test('[I11] [S28] over a link that nobody said is slow, batches get smaller until they arrive; no change is blamed', async () => {
  const { a, sent, drain } = slow(1.5);
  a.plan = planFor({}, UNMEASURED);
  for (let n = 0; n < 10; n += 1) a.put(`e${n}`, { n, PHOTO });
  await drain();
  expect(a.replica.queueStats()).toMatchObject({ total: 0, dead: 0, failed: 0 });
  expect(sent.slice(0, 4).map((bytes) => Math.round(bytes / 20_000))).toEqual([10, 5, 2, 1]);
});

test('[I10] a batch has no more bytes than the cloud takes, whatever the plan', async () => {
  const { a, sent } = slow(Number.POSITIVE_INFINITY);
  a.plan = { ...planFor({}, UNMEASURED), batchBytes: Number.POSITIVE_INFINITY };
  for (let n = 0; n < 60; n += 1) a.put(`e${n}`, { n, PHOTO });
  expect((await a.link.sync()).summary).toMatchObject({ success: true, uploaded: 60 });
  expect(sent).toHaveLength(2);
  expect(Math.max(...sent)).toBeLessThan(LIMITS.batchBytes);
});
