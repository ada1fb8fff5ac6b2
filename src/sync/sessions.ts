import { type CausalContext, isOfOther, joined } from '../core/causal-context.ts';
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
  /** Those that were used here while they could not come: they are called when the cloud can be asked. */
  readonly #untold: Set<string>;
  #isTelling = false;
  /** Of those some could not come when they were last called: no sooner are they called again. */
  #callsAgainAtMs = 0;

  constructor(options: SessionsOptions) {
    this.#options = options;
    this.#untold = new Set(options.memos.get('untold', '')?.names);
  }

  /**
   * What the session has seen elsewhere.
   *
   * @param isNeeded false: where it can't come, it is served all the same, and comes later.
   * @throws SyncError `causality_timeout`: it is at another node, and what it saw there can't be told.
   */
  async enter(name: string, waitMs: number, isNeeded = true): Promise<CausalContext> {
    try {
      return await this.#enter(name, waitMs);
    } catch (error) {
      if (isNeeded || !(error instanceof SyncError)) throw error;
      this.#note(name);
      return {};
    }
  }

  /** It has been shown here what this node has not got. */
  saw(name: string, more: CausalContext): void {
    const { memos, replica } = this.#options;
    const memo = memos.get('session', name);
    if (memo !== undefined) memos.put(name, { ...memo, after: joined(memo.after, more, replica.meta.epoch) });
  }

  /** After what was done here in its name: that has to count where it has been called away since. */
  async stay(name: string, waitMs: number): Promise<void> {
    if (this.#untold.has(name) || this.#isHere(name)) return;
    try {
      await this.#enter(name, waitMs);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#note(name);
    }
  }

  /** Calls those that could not come. To be called when the cloud could be reached. */
  async callBack(): Promise<void> {
    const { adopt, isOnline, clock } = this.#options;
    const waitsMs = this.#callsAgainAtMs - clock.nowMs();
    // By a clock that was put back the pause would not end.
    if (adopt === undefined || this.#isTelling || (waitsMs > 0 && waitsMs <= CALL_AGAIN_MS)) return;
    this.#isTelling = true;
    for (const name of [...this.#untold]) {
      if (isOnline()) await this.#adopt(name, adopt).catch(() => undefined);
    }
    if (this.#untold.size > 0) this.#callsAgainAtMs = clock.nowMs() + CALL_AGAIN_MS;
    this.#isTelling = false;
  }

  async #enter(name: string, waitMs: number): Promise<CausalContext> {
    const { memos, replica, clock, adopt, isOnline } = this.#options;
    const memo = memos.get('session', name);
    // The cloud forgets what is not used; so it is told now and then. And one that lost its history has forgotten.
    const isKnown = this.#isHere(name) && !this.#untold.has(name) && !isOfOther(memo?.after ?? {}, replica.meta.epoch);
    if (memo !== undefined && isKnown && Math.abs(clock.nowMs() - memo.atMs) < LIMITS.memoMs / 2) return memo.after;
    if (adopt === undefined || !isOnline()) return this.#alone(name);
    try {
      // What comes when its caller has gone is kept for who asks next.
      const seen = await within(clock, waitMs, this.#adopt(name, adopt));
      if (seen !== undefined) return seen;
    } catch (error) {
      if (error instanceof SyncError && error.code !== 'causality_timeout') return this.#alone(name);
      throw error;
    }
    throw notHere('the session is on its way from another node');
  }

  #isHere(name: string): boolean {
    const { memos, replica } = this.#options;
    return memos.get('session', name)?.home === replica.nodeId;
  }

  #note(name: string): void {
    if (this.#untold.has(name)) return;
    this.#untold.add(name);
    this.#saveUntold();
  }

  #saveUntold(): void {
    const { memos, clock } = this.#options;
    const names = [...this.#untold].slice(-LIMITS.untoldSessions);
    memos.put('', { kind: 'untold', atMs: clock.nowMs(), names });
  }

  /** Has the session brought here. @returns what it has seen elsewhere. */
  async #adopt(name: string, adopt: (name: string) => Promise<SessionGrant>): Promise<CausalContext> {
    const { memos, replica, clock } = this.#options;
    const { after: seen, turn } = await adopt(name);
    const memo = memos.get('session', name);
    const after = memo?.home === replica.nodeId ? joined(seen, memo.after, seen.epoch) : seen;
    // It may have been called away while the answer was under way.
    if (turn > (this.#ended.get(name) ?? 0)) {
      memos.put(name, { kind: 'session', atMs: clock.nowMs(), home: replica.nodeId, after });
    }
    if (this.#untold.delete(name)) this.#saveUntold();
    return after;
  }

  /** The session goes on at another node. @returns what it has seen here. */
  leave(name: string, turn: number): CausalContext {
    const { memos, replica, clock } = this.#options;
    const memo = memos.get('session', name);
    this.#ended.set(name, turn);
    const [oldest] = this.#ended.keys();
    if (this.#ended.size > LIMITS.endedSessions && oldest !== undefined) this.#ended.delete(oldest);
    if (memo?.home === replica.nodeId) memos.put(name, { ...memo, atMs: clock.nowMs(), home: null });
    return replica.causalContext(memo?.after);
  }

  /** Out of reach of the cloud a session that has never been elsewhere, as far as is known here, begins here. */
  #alone(name: string): CausalContext {
    const { memos, replica, clock, adopt } = this.#options;
    const memo = memos.get('session', name);
    if (memo?.home === null) throw notHere('the session has gone on at another node, and the cloud is out of reach');
    if (memo !== undefined || adopt === undefined) return memo?.after ?? {};
    if (this.#untold.size >= LIMITS.untoldSessions)
      throw notHere('too many sessions have begun here without the cloud');
    memos.put(name, { kind: 'session', atMs: clock.nowMs(), home: replica.nodeId, after: {} });
    this.#note(name);
    return {};
  }
}

/** Each that can't come costs the cloud a call to the node that it is at. */
const CALL_AGAIN_MS = 30_000;

function notHere(detail: string): SyncError {
  return new SyncError('causality_timeout', detail, { retryAfterMs: 1_000 });
}
