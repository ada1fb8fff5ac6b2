import { expect, test } from 'vitest';
import { Tally } from '../../src/sync/tally.ts';
import { hasReasonToSync, type Waking, wakeAtMs } from '../../src/sync/waking.ts';

const NOW = 1_000_000;

interface Node extends Partial<Omit<Waking, 'link' | 'replica'>> {
  readonly link?: Partial<Waking['link']>;
  readonly replica?: Partial<Omit<Waking['replica'], 'isPulling' | 'msUntilUnsent'>>;
  readonly isPulling?: boolean;
  readonly unsentMs?: number;
}

/** A node that is at rest but for what is named. */
function nodeThat({ link, replica, isPulling = false, unsentMs, ...node }: Node): Waking {
  return {
    nowMs: NOW,
    plan: { strategy: 'full' },
    msUntilOtherPlan: null,
    isUsed: false,
    isWatched: false,
    hasPokeSocket: false,
    ...node,
    link: { online: true, isBusy: false, nextAttemptAtMs: null, lastSummary: SYNCED, ...link },
    replica: { isWaiting: false, ...replica, isPulling: () => isPulling, msUntilUnsent: () => unsentMs ?? null },
  };
}

/** How long until it wakes; null: it doesn't. */
function wakesIn(node: Node): number | null {
  const atMs = wakeAtMs(nodeThat(node));
  return atMs === null ? null : atMs - NOW;
}

const SYNCED = new Tally().summary(0);
const BUSY = { link: { isBusy: true } };
const FAILED = { link: { nextAttemptAtMs: NOW + 7_000 } };

test.each<[string, Node, number | null]>([
  ['that is at rest', {}, null],
  ['that is cut off, whatever waits', { link: { online: false }, unsentMs: 0, isUsed: true, isWatched: true }, null],
  ['with something to send', { unsentMs: 0 }, 1_000],
  ['with something to send later', { unsentMs: 5_000 }, 5_000],
  ['with half a pull', { isPulling: true }, 1_000],
  ['that is used', { isUsed: true }, 30_000],
  ['that is only listened to', { isWatched: true }, null],
  ['that is listened to, and of another deployment', { isWatched: true, hasPokeSocket: true }, 30_000],
  ['of another deployment that nobody listens to', { hasPokeSocket: true }, null],
  ['with nothing to do, after a failure', FAILED, null],
  ['with something to send, after a failure', { ...FAILED, unsentMs: 0 }, 7_000],
  ['that is listened to, which the cloud has not heard of', { ...FAILED, isWatched: true }, 7_000],
  ['that is used, after a failure', { ...FAILED, isUsed: true }, 30_000],
  ['with what waits for another plan', { unsentMs: 900_000, msUntilOtherPlan: 20_000 }, 20_000],
  ['with nothing that would go by another plan', { msUntilOtherPlan: 20_000 }, null],
  ['that syncs for somebody who uses it', { ...BUSY, isUsed: true }, 30_000],
  ['that syncs for who only listens', { ...BUSY, isWatched: true }, null],
  ['that syncs what was written', { ...BUSY, replica: { isWaiting: true } }, 30_000],
  ['that syncs the rest of a pull', { ...BUSY, isPulling: true }, 30_000],
])('[I11] [S26] [S29] a node %s wakes when it has to, and not otherwise', (_, node, wantedMs) => {
  expect(wakesIn(node)).toBe(wantedMs);
});

test.each<[string, Node, boolean]>([
  ['that is at rest', {}, false],
  ['with something to send', { unsentMs: 0 }, true],
  ['with something to send later', { unsentMs: 5_000 }, false],
  ['with something to send later, or by another plan', { unsentMs: 5_000, msUntilOtherPlan: 20_000 }, false],
  ['with half a pull', { isPulling: true }, true],
  ['that is used', { isUsed: true }, true],
  ['that is only listened to', { isWatched: true }, false],
  ['that is listened to, and of another deployment', { isWatched: true, hasPokeSocket: true }, true],
  ['that is listened to, which the cloud has not heard of', { ...FAILED, isWatched: true }, true],
  ['that is listened to, and may have failed before', { link: { lastSummary: null }, isWatched: true }, true],
  ['with nothing to do, after a failure', FAILED, false],
])('[I11] [S29] a node %s, woken by an alarm of before, may have a reason to sync', (_, node, wanted) => {
  expect(hasReasonToSync(nodeThat(node))).toBe(wanted);
});
