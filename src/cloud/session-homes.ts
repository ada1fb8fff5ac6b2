import type { CausalContext } from '../core/causal-context.ts';
import { CLOUD, type NodeId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Memos } from '../sync/memos.ts';
import type { Clock } from '../sync/ports.ts';
import type { Seen } from '../sync/sequencer.ts';
import type { SessionGrant } from '../sync/sessions.ts';
import { within } from '../sync/within.ts';

type Home = NodeId | typeof CLOUD;

/** Knows where each session is, at a node or here, and moves it: to one place at a time. */
export class SessionHomes {
  readonly #memos: Memos;
  readonly #clock: Clock;
  readonly #seenAfter: (...seen: readonly CausalContext[]) => Seen;
  readonly #leave: (home: NodeId, name: string, turn: number) => Promise<CausalContext | null>;
  /** Moves under way. */
  readonly #moving = new Map<string, Promise<unknown>>();

  /**
   * @param seenAfter what somebody has seen at this cloud who had seen that.
   * @param leave asks the node where a session is to let it go; answers what it has seen there.
   */
  constructor(
    memos: Memos,
    clock: Clock,
    seenAfter: (...seen: readonly CausalContext[]) => Seen,
    leave: (home: NodeId, name: string, turn: number) => Promise<CausalContext | null>,
  ) {
    this.#memos = memos;
    this.#clock = clock;
    this.#seenAfter = seenAfter;
    this.#leave = leave;
  }

  /** @throws SyncError `causality_timeout`: the node where it is doesn't answer. */
  async move(name: string, to: Home): Promise<SessionGrant> {
    const before = this.#moving.get(name);
    const move = (before ?? Promise.resolve()).then(
      () => this.#move(name, to),
      () => this.#move(name, to),
    );
    this.#moving.set(name, move);
    try {
      return await move;
    } finally {
      if (this.#moving.get(name) === move) this.#moving.delete(name);
    }
  }

  async #move(name: string, to: Home): Promise<SessionGrant> {
    const memo = this.#memos.get('session', name);
    const { home = null, after = {}, turn = 0, atMs = 0 } = memo ?? {};
    // Here it costs no row but those that tell of its use.
    if (home === CLOUD && to === CLOUD && this.#keptUntilMs() - atMs < LIMITS.sessionUseMs) return { after, turn };
    if (home === null || home === to) return this.#keep(name, to, after, turn + 1);
    if (home === CLOUD) return this.#keep(name, to, this.#seenAfter(after), turn + 1);
    const seen = await within(this.#clock, LIMITS.sessionMoveMs, this.#ask(home, name, turn));
    // It may be called away before it has got what it had seen before; and a node that was emptied has forgotten.
    if (seen) return this.#keep(name, to, this.#seenAfter(seen, after), turn + 1);
    throw new SyncError('causality_timeout', `the session is at the node ${home}, which does not answer`, {
      retryAfterMs: 1_000,
    });
  }

  async #ask(home: NodeId, name: string, turn: number): Promise<CausalContext | null> {
    try {
      return await this.#leave(home, name, turn);
    } catch {
      // An object that was reset in between, or is cut off. Whoever wants the session asks again.
      return null;
    }
  }

  #keep(name: string, home: Home, seen: CausalContext, turn: number): SessionGrant {
    const after = { ...seen, epoch: this.#seenAfter().epoch };
    this.#memos.put(name, { kind: 'session', atMs: this.#keptUntilMs(), home, after, turn });
    return { after, turn };
  }

  /** It may be used at its node for half of that time without this being told here. */
  #keptUntilMs(): number {
    return this.#clock.nowMs() + LIMITS.memoMs / 2;
  }
}
