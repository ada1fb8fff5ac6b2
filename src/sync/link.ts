import { type CausalContext, clockOfAll } from '../core/causal-context.ts';
import type { Change, Priority } from '../core/change.ts';
import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ChangeResult, isFinal, type NodeReport } from '../protocol/messages.ts';
import { CAPABILITIES, PROTOCOL_VERSION } from '../protocol/version.ts';
import { backoffMs } from './backoff.ts';
import { type LinkEvent, type LinkState, step } from './machine.ts';
import { type Culprit, Narrowing } from './narrowing.ts';
import { reportOf } from './node-report.ts';
import type { NodeResolver } from './node-resolver.ts';
import { leastOf, type Plan } from './plan.ts';
import type { Clock, Entropy, Logger, Session, Upstream } from './ports.ts';
import type { Replica } from './replica.ts';
import { NO_TRAFFIC, type SyncSummary, Tally, type Traffic, trafficOf } from './tally.ts';

export interface LinkOptions {
  readonly replica: Replica;
  readonly upstream: Upstream;
  /** Answers conflicts that the cloud leaves to the node. */
  readonly resolver: NodeResolver;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly logger: Logger;
  /** Whether somebody uses this node, and so wants to be told of news. */
  readonly isLive: () => boolean;
  /** What goes over the link now, and how much of it at a time. */
  readonly plan: () => Pick<Plan, 'strategy' | 'batchSize'>;
  /** Told of each state that the link goes into. It must not throw. */
  readonly onState?: ((state: LinkState) => void) | undefined;
  /** Told of each exchange that was answered: what waits is other than it was. It must not throw. */
  readonly onExchange?: (() => void) | undefined;
  /** Called after each sync. It must not throw. */
  readonly onEnd?: (() => void) | undefined;
}

export interface SyncRun {
  readonly summary: SyncSummary;
  /** By change id, of what was demanded. */
  readonly results: ReadonlyMap<string, ChangeResult>;
  /** Demanded changes that left and were not answered: the cloud may have them, or not. */
  readonly unanswered: ReadonlySet<string>;
  /** Whether the cloud said that it has all that was required; undefined: it wasn't asked. */
  readonly covered?: boolean | undefined;
}

/** What the next sync has to do beside its usual work. */
export interface Demand {
  /** Changes that somebody waits for. */
  readonly strong?: readonly Change[] | undefined;
  /** What the cloud must have before the replica can be said to. */
  readonly requires?: CausalContext | undefined;
  /** Whether all that is queued has to go, whatever the link is like. */
  readonly all?: boolean | undefined;
}

/**
 * Talks to the tier above: one sync at a time, and what is asked for while one runs goes together into the next.
 * `design.md`, section 7.
 *
 * A sync that answers began after it was asked for; so what was confirmed before the asking is in what it brings.
 */
export class Link {
  readonly #options: LinkOptions;
  #state: LinkState = 'idle';
  #online = true;
  #isRunning = false;
  #running: Promise<unknown> = Promise.resolve();
  #next:
    | {
        readonly strong: Map<string, Change>;
        readonly requires: CausalContext[];
        all: boolean;
        readonly run: Promise<SyncRun>;
      }
    | undefined;
  #failures = 0;
  /** After a failure; null: there was none. */
  #wait: { readonly sinceMs: number; readonly untilMs: number } | null = null;
  #last: SyncSummary | null = null;
  readonly #narrowing = new Narrowing();
  #traffic = NO_TRAFFIC;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get state(): LinkState {
    return this.#state;
  }

  get online(): boolean {
    return this.#online;
  }

  get lastSummary(): SyncSummary | null {
    return this.#last;
  }

  /** Since this link was made, up to the end of the last sync. */
  get traffic(): Traffic {
    return this.#traffic;
  }

  /** When the wait after a failure ends, ms since 1970; null: there was none, or the clock was put back since then. */
  get nextAttemptAtMs(): number | null {
    const { sinceMs, untilMs } = this.#wait ?? NO_WAIT;
    // Nobody can tell how long it has waited by then, and it must not wait for as long as the clock went back.
    return this.#options.clock.nowMs() < sinceMs ? null : untilMs;
  }

  /** Whether a sync is under way, or about to begin. */
  get isBusy(): boolean {
    return this.#isRunning || this.#next !== undefined;
  }

  /** Whether a sync may begin that nobody asks for: none is under way, and none has to wait. */
  get isDue(): boolean {
    return this.#online && !this.isBusy && this.#options.clock.nowMs() >= (this.nextAttemptAtMs ?? 0);
  }

  /** Why this node asks the cloud no more than now and then, with all that waits kept; null: it doesn't. */
  get paused(): 'needs-auth' | null {
    const code = this.#last?.error?.code;
    return code !== undefined && ERRORS[code].retry === 'auth' ? 'needs-auth' : null;
  }

  /** Cuts the link, or restores it; either ends the wait after a failure. */
  setOnline(online: boolean): void {
    this.#online = online;
    this.#failures = 0;
    this.#wait = null;
    if (online) return;
    // An idle node finds that out as any other does: when it would connect.
    this.#on('sync_trigger', ...CUT);
  }

  noteLocalChange(): void {
    this.#on('local_change', 'change_queued');
  }

  /** Syncs once, beginning after this call, with all others that ask before it begins. Never throws. */
  sync(demand: Demand = {}): Promise<SyncRun> {
    const next = this.#next ?? this.#enqueue();
    for (const change of demand.strong ?? []) next.strong.set(change.id, change);
    if (demand.requires !== undefined) next.requires.push(demand.requires);
    next.all ||= demand.all === true;
    return next.run;
  }

  /**
   * The tier above says how far it has come. What is under way may bring that; otherwise it is news, also where it is less
   * than this node has: then that tier has gone back. Never throws.
   */
  async hear(head: number): Promise<void> {
    const { replica } = this.#options;
    if (!this.isBusy) {
      if (head !== replica.meta.cursor) await this.sync();
      return;
    }
    await this.#running;
    // What has begun since then brings it.
    if (head > replica.meta.cursor) await (this.isBusy ? this.#running : this.sync());
  }

  /** Takes changes back that nobody waits for any more. @returns false: too late, they are under way. */
  withdraw(changes: readonly Change[]): boolean {
    return changes.every(({ id }) => this.#next?.strong.delete(id) ?? false);
  }

  #enqueue() {
    const strong = new Map<string, Change>();
    const run = this.#running.then(() => {
      const { requires = [], all = false } = this.#next ?? {};
      this.#next = undefined;
      return this.#run([...strong.values()], requires, all);
    });
    this.#running = run;
    this.#next = { strong, requires: [], all: false, run };
    return this.#next;
  }

  async #run(strong: readonly Change[], requires: readonly CausalContext[], all: boolean): Promise<SyncRun> {
    const tally = new Tally();
    this.#isRunning = true;
    this.#on(this.#state === 'offline' ? 'retry' : 'sync_trigger');
    let ending: readonly LinkEvent[];
    try {
      const end = await this.#exchangeAll(tally, strong, requires, all);
      const isComplete = end === 'complete' || (end === 'differs' && this.#options.replica.stalenessMs() !== null);
      if (!isComplete) tally.error = new SyncError('overloaded', 'there is more than one sync takes; the next goes on');
      if (end === 'differs') {
        this.#backOff();
      } else {
        this.#failures = 0;
        this.#wait = null;
      }
      this.#on(tally.conflicts > 0 ? 'conflicts_detected' : 'no_conflicts');
      this.#on('conflicts_resolved');
      ending = [isComplete ? 'sync_complete' : 'sync_failed'];
    } catch (error) {
      this.#options.replica.releaseBatch();
      tally.error = this.#asSyncError(error);
      ending = this.#failed(tally.error);
    }
    this.#last = tally.summary(this.#options.replica.pending);
    this.#traffic = trafficOf(this.#traffic, this.#last);
    this.#isRunning = false;
    // Not before: what came of the sync is told with the state that ends it.
    this.#on(...ending);
    this.#options.onEnd?.();
    return { summary: this.#last, results: tally.results, unanswered: tally.unanswered, covered: tally.covered };
  }

  /**
   * Exchanges until the head is reached and nothing that can be sent waits.
   *
   * @returns `partial`: that takes more than `LIMITS.exchangesPerSync`; `differs`: the state that was read from the
   *   beginning isn't what the cloud says it is, and reading it once more right away would not mend that.
   */
  async #exchangeAll(
    tally: Tally,
    strong: readonly Change[],
    requires: readonly CausalContext[],
    all: boolean,
  ): Promise<'complete' | 'partial' | 'differs'> {
    let waiting = strong;
    let mended = false;
    let differs = false;
    for (let exchanges = 0; exchanges < LIMITS.exchangesPerSync; exchanges += 1) {
      const { replica, clock, logger } = this.#options;
      const exchanged = await this.#exchange(tally, waiting, requires, all);
      if (exchanged === undefined) continue;
      const { batch, answer, askedAtMs } = exchanged;
      waiting = waiting.filter(({ id }) => !answer.results.some((result) => result.id === id && isFinal(result)));
      const confirmation = replica.confirm(batch, answer, askedAtMs);
      tally.add(answer, confirmation?.downloaded ?? 0);
      const culprit = this.#narrowing.passed();
      if (culprit !== undefined) {
        waiting = waiting.filter(({ id }) => id !== culprit.changeId);
        this.#blame(culprit, strong, tally);
      }
      this.#options.onExchange?.();
      if (answer.more) continue;
      if (confirmation?.readsAgain) {
        if (!mended) {
          mended = true;
          continue;
        }
        // What was read from the beginning is the cloud's state: so it is the cloud whose digest is wrong, or its types changed.
        logger.error('state_differs', { node: replica.nodeId, cursor: answer.cursor });
        differs = true;
        if (replica.stalenessMs() === null) return 'differs';
      }
      await this.#resolveConflicts(confirmation?.conflicts ?? []);
      const moved =
        answer.results.some((result) => isFinal(result)) ||
        (confirmation?.changed ?? 0) > 0 ||
        batch.changes.length === 0;
      // What somebody waits for may have to wait for what goes before it.
      const isHeldBack = batch.changes.length === 0 && culprit === undefined;
      const isDone = !replica.hasNews && !replica.hasUnsent(this.#least(all)) && (waiting.length === 0 || isHeldBack);
      if (isDone || !moved) return differs ? 'differs' : 'complete';
      // What came in while the batch was away goes in the next one; a pause lets it come.
      await clock.sleep(0);
    }
    return 'partial';
  }

  /** Counts a try of a change that no batch passes with. */
  #blame({ changeId, ...failure }: Culprit, strong: readonly Change[], tally: Tally): void {
    const { replica, logger } = this.#options;
    tally.failed += 1;
    if (failure.code === 'internal') logger.error('change_failed', { node: replica.nodeId, changeId, ...failure });
    if (!strong.some(({ id }) => id === changeId)) replica.noteFailure(changeId, failure);
    // Who waits for it is told; what came of it is unknown, where the cloud didn't refuse it.
    else if (!tally.unanswered.has(changeId)) {
      tally.results.set(changeId, { id: changeId, status: 'rejected', ...failure });
    }
  }

  /** Resolves what the cloud leaves to this node; it goes out again, with the next batch. */
  async #resolveConflicts(conflicts: readonly Change[]): Promise<void> {
    if (conflicts.length === 0) return;
    this.#on('conflicts_detected');
    for (const change of conflicts) await this.#options.resolver.resolve(change);
    this.#on('conflicts_resolved');
  }

  /** One round trip, within a session; a new one where the old has ended. Undefined: a smaller batch may pass. */
  async #exchange(tally: Tally, strong: readonly Change[], requires: readonly CausalContext[], all: boolean) {
    const { replica, upstream, entropy } = this.#options;
    for (let renewals = 0; ; renewals += 1) {
      if (!this.#online) throw cutOff();
      const session = await this.#session(tally);
      const bounds = {
        least: this.#least(all),
        maxChanges: Math.min(this.#options.plan().batchSize, session.maxBatchChanges, this.#narrowing.maxChanges),
        // The rest of the batch takes room too.
        maxBytes: Math.floor(session.maxBatchBytes * 0.9),
      };
      const batch = {
        ...replica.nextBatch(entropy.id(), bounds, strong),
        ...(this.#options.isLive() ? { live: true } : {}),
        report: this.#report(),
        ...(requires.length > 0 ? { requires: clockOfAll(requires, replica.meta.epoch) } : {}),
      };
      // Not before: what is under way is then told with the state.
      this.#on('handshake_complete');
      const sent = new Set(batch.changes.map(({ id }) => id));
      // By the cloud's time, which a node may have learnt only now.
      const askedAtMs = replica.nowMs();
      for (const { id } of strong) if (sent.has(id)) tally.unanswered.add(id);
      try {
        return { batch, answer: tally.metered(await upstream.exchange(session.id, batch)), askedAtMs };
      } catch (error) {
        replica.releaseBatch();
        if (isRefusal(error)) tally.unanswered.clear();
        if (this.#narrowing.failed(batch.changes, error)) return undefined;
        const isOver = error instanceof SyncError && ERRORS[error.code].retry === 'session';
        if (!isOver || renewals >= LIMITS.renewalsPerExchange) throw error;
        replica.saveSession(null);
      }
    }
  }

  #report(): NodeReport | undefined {
    return reportOf(this.#options.replica.condition(), this.#options.plan().strategy, this.#traffic);
  }

  #least(all: boolean): Priority {
    return all ? 'normal' : leastOf(this.#options.plan());
  }

  /** The session that is there, or connect and handshake. */
  async #session(tally: Tally): Promise<Session> {
    const { replica, upstream, clock, entropy } = this.#options;
    const { session: known, filter } = replica.meta;
    if (known !== null && known.expiresAtMs > replica.nowMs() + LIMITS.exchangeTimeoutMs) {
      this.#on('connected');
      return known;
    }
    const connected = tally.metered(
      await upstream.connect({
        nodeId: replica.nodeId,
        protocol: PROTOCOL_VERSION,
        capabilities: [...CAPABILITIES],
        life: replica.lifeOr(entropy.id()),
        ...(filter === undefined ? {} : { filter: { entityTypes: [...filter] } }),
      }),
    );
    this.#on('connected');
    const sentAtMs = clock.nowMs();
    const shaken = tally.metered(await upstream.handshake(connected.sessionId, replica.handshakeRequest()));
    replica.adopt(shaken, sentAtMs, clock.nowMs());
    const session: Session = {
      id: connected.sessionId,
      expiresAtMs: connected.expiresAt,
      maxBatchChanges: connected.limits.maxBatchChanges,
      maxBatchBytes: connected.limits.maxBatchBytes,
    };
    replica.saveSession(session);
    return session;
  }

  /** @returns what happens to the link by it. */
  #failed(error: SyncError): readonly LinkEvent[] {
    // Who is cut off waits for being let in, not for the time to pass.
    if (this.#online) this.#backOff(error);
    return isUnreachable(error) ? CUT : REFUSED;
  }

  #backOff(error?: SyncError): void {
    const { clock, entropy } = this.#options;
    this.#failures += 1;
    const isPaused = error !== undefined && ERRORS[error.code].retry === 'auth';
    const pauseMs = isPaused
      ? LIMITS.authRetryMs * (1 - entropy.fraction() / 2)
      : backoffMs(this.#failures, entropy.fraction());
    const toldMs = Math.min(error?.details.retryAfterMs ?? 0, LIMITS.retryAfterMs);
    const sinceMs = clock.nowMs();
    this.#wait = { sinceMs, untilMs: sinceMs + Math.max(Math.floor(pauseMs), toldMs) };
  }

  /** A failure without a code is a bug: the sync is tried again all the same, but somebody must look. */
  #asSyncError(error: unknown): SyncError {
    const failure =
      error instanceof SyncError
        ? error
        : new SyncError('internal', error instanceof Error ? error.message : String(error));
    if (failure.code === 'internal') {
      const stack = error instanceof Error ? error.stack : String(error);
      this.#options.logger.error('sync_failed', { node: this.#options.replica.nodeId, error: stack });
    }
    return failure;
  }

  /** What happened, in this order and at once: only the last state is told. */
  #on(...events: readonly LinkEvent[]): void {
    const before = this.#state;
    this.#state = events.reduce(step, before);
    if (this.#state !== before) this.#options.onState?.(this.#state);
  }
}

const NO_WAIT = { sinceMs: 0, untilMs: null };

/** The cloud is out of reach, at whatever point that is found out. */
const CUT: readonly LinkEvent[] = ['connection_failed', 'connection_lost'];
/** The cloud is there, and says no; or something failed here. */
const REFUSED: readonly LinkEvent[] = [
  'connection_failed',
  'handshake_failed',
  'no_conflicts',
  'conflicts_resolved',
  'sync_failed',
];

/** Whether the cloud itself said no, to all of it. Otherwise nobody knows what it did. */
function isRefusal(error: unknown): boolean {
  return error instanceof SyncError && error.code !== 'cloud_unavailable' && error.code !== 'internal';
}

/** Whether the cloud can't be reached now. Any other failure is none of the link. */
function isUnreachable({ code }: SyncError): boolean {
  return code === 'cloud_unavailable' || code === 'overloaded' || code === 'rate_limited';
}

/** What is told where the link has been cut on purpose. */
export function cutOff(): SyncError {
  return new SyncError('cloud_unavailable', 'the node is cut off from the cloud', { retryAfterMs: CUT_OFF_RETRY_MS });
}

/** Nobody knows for how long a node is cut off; this is as long as the longest wait after a failure. */
const CUT_OFF_RETRY_MS = 30_000;
