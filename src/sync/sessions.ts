import { type CausalContext, isOfOther } from '../core/causal-context.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Memos } from './memos.ts';
import type { Clock } from './ports.ts';
import type { Replica } from './replica.ts';
import { within } from './within.ts';

/** That a session is at a node now, and what it had seen before it came there. */
export interface SessionGrant {
  readonly after: CausalContext;
  /** Rises with each move of the session. */
  readonly turn: number;
}

export interface SessionsOptions {
  readonly replica: Replica;
  readonly memos: Memos;
  readonly clock: Clock;
  /** Moves a session to this node; undefined: the cloud is one that can't be asked. Throws a `SyncError`. */
  readonly adopt: ((name: string) => Promise<SessionGrant>) | undefined;
  /** Whether the cloud may be asked. */
  readonly isOnline: () => boolean;
}

/**
 * Sessions by name, for callers that carry no token. A session is at one node at a time, and what it has seen is what that
 * node shows: so it costs a row when it comes, and none when it is used. When it is used elsewhere, the cloud asks the node
 * that it was at for what that shows, and the next one waits for that. `design.md`, section 8.
 */
export class Sessions {
  readonly #options: SessionsOptions;
  /** The last turn of each session that ended here. */
  readonly #ended = new Map<string, number>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /**
   * What the session has seen elsewhere.
   *
   * @throws SyncError `causality_timeout`: it is at another node, and what it saw there can't be told.
   */
  async enter(name: string, waitMs: number): Promise<CausalContext> {
    const { memos, replica, clock, adopt, isOnline } = this.#options;
    const memo = memos.get('session', name);
    const isHere = memo !== undefined && memo.home === replica.nodeId;
    // The cloud forgets what is not used; so it is told now and then. And one that lost its history has forgotten.
    const isKnown = isHere && !isOfOther(memo.after, replica.meta.epoch);
    if (isKnown && Math.abs(clock.nowMs() - memo.atMs) < LIMITS.memoMs / 2) return memo.after;
    if (adopt === undefined || !isOnline()) return this.#alone(memo?.home, memo?.after);
    try {
      // What comes when its caller has gone is kept for who asks next.
      const seen = await within(clock, waitMs, this.#adopt(name, adopt));
      if (seen !== undefined) return seen;
    } catch (error) {
      if (error instanceof SyncError && error.code !== 'causality_timeout') return this.#alone(memo?.home, memo?.after);
      throw error;
    }
    throw notHere('the session is on its way from another node');
  }

  /** Has the session brought here. @returns what it has seen elsewhere. */
  async #adopt(name: string, adopt: (name: string) => Promise<SessionGrant>): Promise<CausalContext> {
    const { memos, replica, clock } = this.#options;
    const { after, turn } = await adopt(name);
    // It may have been called away while the answer was under way.
    if (turn > (this.#ended.get(name) ?? 0)) {
      memos.put(name, { kind: 'session', atMs: clock.nowMs(), home: replica.nodeId, after });
    }
    return after;
  }

  /** The session goes on at another node. @returns what it has seen here; what it had seen before, the cloud knows. */
  leave(name: string, turn: number): CausalContext {
    const { memos, replica, clock } = this.#options;
    const memo = memos.get('session', name);
    this.#ended.set(name, turn);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > LIMITS.endedSessions && oldest !== undefined) this.#ended.delete(oldest);
    if (memo?.home === replica.nodeId) memos.put(name, { ...memo, atMs: clock.nowMs(), home: null });
    return replica.causalContext();
  }

  /** Out of reach of the cloud a session that has never been elsewhere, as far as is known here, begins here. */
  #alone(home: string | null | undefined, after: CausalContext = {}): CausalContext {
    if (home !== null) return after;
    throw notHere('the session has gone on at another node, and the cloud is out of reach');
  }
}

function notHere(detail: string): SyncError {
  return new SyncError('causality_timeout', detail, { retryAfterMs: 1_000 });
}
