import type { Link } from './link.ts';
import { leastOf, type Plan } from './plan.ts';
import type { Replica } from './replica.ts';

/** What a node may have to wake for. */
export interface Waking {
  readonly nowMs: number;
  readonly link: Pick<Link, 'online' | 'isBusy' | 'nextAttemptAtMs' | 'lastSummary'>;
  readonly replica: Pick<Replica, 'isPulling' | 'isWaiting' | 'msUntilUnsent'>;
  readonly plan: Pick<Plan, 'strategy'>;
  /** When the plan may become another one by time alone; null: it doesn't. */
  readonly msUntilOtherPlan: number | null;
  /** How long until there is something to bring for the nodes below, ms; null: there isn't. */
  readonly msUntilBringing?: number | null;
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
  const { nowMs, link, replica } = waking;
  if (!link.online) return null;
  if (link.isBusy) {
    // The net for an object that dies before the end. Who only listens needs none: the socket ends with the object.
    return wantsNews(waking) || replica.isWaiting || replica.isPulling() ? nowMs + PULL_EVERY_MS : null;
  }
  const workMs = msUntilWork(waking);
  const waits = [
    workMs === null ? null : Math.max(SYNC_DELAY_MS, workMs),
    wantsNews(waking) ? PULL_EVERY_MS : null,
  ].filter((ms) => ms !== null);
  return waits.length === 0 ? null : Math.max(nowMs + Math.min(...waits), link.nextAttemptAtMs ?? 0);
}

/** Whether a node that has woken has a reason to sync: the one that it was to wake for may be gone. Pure. */
export function hasReasonToSync(waking: Waking): boolean {
  // Of a sync that failed before its object ended, nothing may be left but the alarm.
  const mayBeUnheard = waking.isWatched && waking.link.lastSummary === null;
  return wantsNews(waking) || mayBeUnheard || msUntilWork(waking) === 0;
}

function wantsNews({ isUsed, isWatched, hasPokeSocket }: Waking): boolean {
  return isUsed || (isWatched && hasPokeSocket);
}

/** How long until there is something to send, to pull or to say, ms; null: nothing waits for that. */
function msUntilWork({ link, replica, plan, isWatched, msUntilOtherPlan, ...more }: Waking): number | null {
  const isUnheard = isWatched && link.nextAttemptAtMs !== null;
  if (isUnheard || replica.isPulling()) return 0;
  const unsentMs = replica.msUntilUnsent(leastOf(plan));
  const ownMs = unsentMs === null ? null : Math.min(unsentMs, msUntilOtherPlan ?? unsentMs);
  const { msUntilBringing: othersMs = null } = more;
  return ownMs === null || othersMs === null ? (ownMs ?? othersMs) : Math.min(ownMs, othersMs);
}

/** What doesn't go at once waits so long: over a limited link the first of a burst for the others. */
const SYNC_DELAY_MS = 1_000;
/** A node that somebody uses asks for news so often, beside being poked. */
const PULL_EVERY_MS = 30_000;
