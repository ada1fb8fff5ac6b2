import type { Link } from './link.ts';
import { leastOf, type Plan } from './plan.ts';
import type { Replica } from './replica.ts';

/** What a node may have to wake for. */
export interface Waking {
  readonly nowMs: number;
  readonly link: Pick<Link, 'online' | 'isBusy' | 'nextAttemptAtMs'>;
  readonly replica: Pick<Replica, 'isPulling' | 'isWaiting' | 'msUntilUnsent'>;
  readonly plan: Pick<Plan, 'strategy'>;
  /** When the plan may become another one by time alone; null: it doesn't. */
  readonly msUntilOtherPlan: number | null;
  readonly isUsed: boolean;
  /** Whether somebody listens, and waits to be told of news. */
  readonly isWatched: boolean;
  /** Whether pokes come by a socket of the node's own, which has to be looked after. */
  readonly hasPokeSocket: boolean;
}

/**
 * When a node is to wake that nobody calls, ms since 1970; null: never. Nothing without a reason: something waits to be
 * sent, a pull is half done, or somebody is there who wants news. Who only listens waits to be poked, which costs nothing;
 * but the cloud has to have heard of that once. Pure.
 */
export function wakeAtMs(waking: Waking): number | null {
  const { nowMs, link, replica, plan, isWatched } = waking;
  if (!link.online) return null;
  const wantsNews = waking.isUsed || (isWatched && waking.hasPokeSocket);
  if (link.isBusy) {
    // The net for an object that dies before the end. Who only listens needs none: the socket ends with the object.
    return wantsNews || replica.isWaiting || replica.isPulling() ? nowMs + PULL_EVERY_MS : null;
  }
  const unsentMs = replica.isPulling() ? 0 : replica.msUntilUnsent(leastOf(plan));
  const otherPlanMs = unsentMs === null ? null : waking.msUntilOtherPlan;
  const isUnheard = isWatched && link.nextAttemptAtMs !== null;
  const waits = [
    ...[unsentMs, otherPlanMs, isUnheard ? 0 : null].map((ms) => (ms === null ? null : Math.max(SYNC_DELAY_MS, ms))),
    wantsNews ? PULL_EVERY_MS : null,
  ].filter((ms) => ms !== null);
  return waits.length === 0 ? null : Math.max(nowMs + Math.min(...waits), link.nextAttemptAtMs ?? 0);
}

/** What doesn't go at once waits so long: over a limited link the first of a burst for the others. */
const SYNC_DELAY_MS = 1_000;
/** A node that somebody uses asks for news so often, beside being poked. */
const PULL_EVERY_MS = 30_000;
