import { type CausalContext, clockIn, clockOfAll } from '../core/causal-context.ts';
import type { Change, Priority } from '../core/change.ts';
import { EMPTY_CLOCK, type VectorClock } from '../core/vector-clock.ts';
import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type BatchAnswer, type ChangeResult, isFinal, type NodeReport } from '../protocol/messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import { CAPABILITIES, PROTOCOL_VERSION, SUPPORTED_PROTOCOLS } from '../protocol/version.ts';
import { ByteCap } from './byte-cap.ts';
import { withoutLacking } from './coverage.ts';
import { type LinkEvent, type LinkState, step } from './machine.ts';
import { type Culprit, Narrowing } from './narrowing.ts';
import { reportOf } from './node-report.ts';
import type { NodeResolver } from './node-resolver.ts';
import { leastOf, type Plan } from './plan.ts';
import type { Clock, Entropy, Logger, Session, Upstream } from './ports.ts';
import type { Replica } from './replica.ts';
import { NO_TRAFFIC, type SyncSummary, Tally, type Traffic, trafficOf } from './tally.ts';
import { isLong, type Paused, pausedBy, type Wait, waitAfter, withoutOwn } from './wait.ts';

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
  readonly plan: () => Pick<Plan, 'strategy' | 'batchSize' | 'batchBytes'>;
  /** What goes before all that this node sends. */
  readonly first?: (() => Promise<void>) | undefined;
  /** Told of each state that the link goes into. */
  readonly onState?: ((state: LinkState) => void) | undefined;
  /** Told of each exchange that was answered: what waits is other than it was. */
  readonly onExchange?: (() => void) | undefined;
  /** Called after each sync. */
  readonly onEnd?: (() => void) | undefined;
}

export interface SyncRun {
  readonly summary: SyncSummary;
  /** Whether the replica is at the head, whatever else failed. */
  readonly isAtHead: boolean;
  /** By change id, of what was demanded. */
  readonly results: ReadonlyMap<string, ChangeResult>;
  /** Demanded changes that left and were not answered: the cloud may have them, or not. */
  readonly unanswered: ReadonlySet<string>;
  /** Whether the cloud said that it has all that was required by who is told; undefined: it wasn't asked. */
  readonly covered?: boolean | undefined;
  /** What it said that it lacks of what was required by anybody. */
  readonly lacks?: VectorClock | undefined;
}

/** What the next sync has to do beside its usual work. */
export interface Demand {
  /** Changes that somebody waits for. */
  readonly strong?: readonly Change[] | undefined;
  /** What the cloud must have before the replica can be said to. */
  readonly requires?: CausalContext | undefined;
  /** Whether all that is queued has to go, whatever the link is like. */
  readonly all?: boolean | undefined;
  /** Which waits it ends; where it doesn't end the one that there is, it fails at once, as what that is for. Default: `any`. */
  readonly ends?: Urgency | undefined;
}

/** Of a sync: `none` = a node's by itself, and for who takes what is there; `own` = for who needs the cloud now; `any` = asked for. */
type Urgency = (typeof URGENCIES)[number];
const URGENCIES = ['none', 'own', 'any'] as const;

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
        /** Whom their clocks name. */
        readonly names: Set<string>;
        all: boolean;
        ends: Urgency;
        readonly run: Promise<SyncRun>;
      }
    | undefined;
  #failures = 0;
  /** After a failure; null: there was none. */
  #wait: Wait | null;
  #last: SyncSummary | null = null;
  readonly #narrowing = new Narrowing();
  readonly #byteCap = new ByteCap();
  #traffic = NO_TRAFFIC;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#wait = options.replica.meta.wait ?? null;
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
    const wait = this.#waitNow();
    return wait === null ? null : Math.max(wait.ownUntilMs, wait.askedUntilMs);
  }

  /** Whether a sync is under way, or about to begin. */
  get isBusy(): boolean {
    return this.#isRunning || this.#next !== undefined;
  }

  /** Whether a sync may begin that nobody asks for: none is under way, and none has to wait. */
  get isDue(): boolean {
    return !this.isBusy && this.#mayBegin('none');
  }

  /** Why this node asks the cloud no more than now and then, with all that waits kept; null: it doesn't. */
  get paused(): Paused | null {
    return pausedBy(this.#wait?.error) ?? (this.#options.replica.isBarred ? 'needs-auth' : null);
  }

  /** For how long the cloud still wants to be left alone, ms. */
  get askedMs(): number {
    return Math.max(0, (this.#waitNow()?.askedUntilMs ?? 0) - this.#options.clock.nowMs());
  }

  /** Cuts the link, or restores it; either ends the wait after a failure, but for one that the cloud asked for. */
  setOnline(online: boolean): void {
    this.#online = online;
    this.#options.replica.askAgain();
    this.#failures = 0;
    this.#setWait(withoutOwn(this.#wait));
    if (online) return;
    // An idle node finds that out as any other does: when it would connect.
    this.#on('sync_trigger', ...CUT);
  }

  /** Something was written, which is durable when this turn has ended. */
  noteLocalChange(): void {
    if (this.#state !== 'offline') return;
    this.#on('local_change');
    void this.#options.clock.sleep(0).then(() => this.#on('change_queued'));
  }

  /** Syncs once, beginning after this call, with all others that ask before it begins. Never throws. */
  sync(demand: Demand = {}): Promise<SyncRun> {
    const { ends = 'any' } = demand;
    if (!this.isBusy && !this.#mayBegin(ends)) return Promise.resolve(this.#refused());
    const next = this.#next ?? this.#enqueue();
    const names = new Set([...next.names, ...Object.keys(demand.requires?.clock ?? {})]);
    // There is no more room in one question.
    if (names.size > LIMITS.clockEntries && next.names.size > 0) return next.run.then(() => this.sync(demand));
    for (const name of names) next.names.add(name);
    if (URGENCIES.indexOf(ends) > URGENCIES.indexOf(next.ends)) next.ends = ends;
    for (const change of demand.strong ?? []) next.strong.set(change.id, change);
    if (demand.requires !== undefined) next.requires.push(demand.requires);
    next.all ||= demand.all === true;
    const { requires } = demand;
    return requires === undefined ? next.run : next.run.then((run) => this.#toldTo(requires, run));
  }

  /** What was asked for others is not what this one waits for. */
  #toldTo(requires: CausalContext, run: SyncRun): SyncRun {
    if (run.covered === undefined) return run;
    const { replica } = this.#options;
    const clock = clockIn(requires, replica.meta.epoch);
    const there = run.covered ? clock : run.lacks === undefined ? EMPTY_CLOCK : withoutLacking(clock, run.lacks);
    if (run.isAtHead) replica.noteArrived(there);
    return { ...run, covered: Object.keys(there).length === Object.keys(clock).length };
  }

  /**
   * The tier above says how far it has come. What is under way may bring that; otherwise it is news, also where it is less
   * than this node has: then that tier has gone back. Never throws.
   */
  async hear(head: number): Promise<void> {
    const { replica } = this.#options;
    if (!this.isBusy) {
      if (head !== replica.meta.cursor) await this.sync({ ends: 'own' });
      return;
    }
    await this.#running;
    // What has begun since then brings it.
    if (head > replica.meta.cursor) await (this.isBusy ? this.#running : this.sync({ ends: 'own' }));
  }

  /** Takes changes back that nobody waits for any more. @returns false: too late, they are under way. */
  withdraw(changes: readonly Change[]): boolean {
    return changes.every(({ id }) => this.#next?.strong.delete(id) ?? false);
  }

  /** Does what may not happen while a sync is under way, before one begins that is asked for later. */
  async between(body: () => void): Promise<void> {
    const done = this.#running.then(body);
    this.#running = done.catch(() => undefined);
    await done;
  }

  #enqueue() {
    const strong = new Map<string, Change>();
    const run = this.#running.then(() => {
      const { requires = [], all = false, ends = 'none' } = this.#next ?? {};
      this.#next = undefined;
      // The sync before may have failed.
      if (this.#mayBegin(ends)) return this.#run([...strong.values()], requires, all);
      this.#tell(this.#options.onEnd);
      return this.#refused();
    });
    // A storage that fails has failed that sync, and not the next one.
    this.#running = run.catch(() => {
      this.#isRunning = false;
    });
    this.#next = { strong, requires: [], names: new Set(), all: false, ends: 'none', run };
    return this.#next;
  }

  /** Whether what there is to wait for is over, or ended. Who is cut off finds that out as any other does. */
  #mayBegin(ends: Urgency): boolean {
    if (ends === 'any') return true;
    const untilMs = ends === 'own' ? this.#waitNow()?.askedUntilMs : this.nextAttemptAtMs;
    return this.#online && this.#options.clock.nowMs() >= (untilMs ?? 0);
  }

  /** By a clock that was put back nobody can tell how long it has waited, and it must not wait for as long as that. */
  #waitNow(): Wait | null {
    const isOver = this.#wait !== null && this.#options.clock.nowMs() < this.#wait.sinceMs;
    return isOver ? null : this.#wait;
  }

  #setWait(wait: Wait | null): void {
    const { replica } = this.#options;
    this.#wait = wait;
    const kept = wait !== null && isLong(wait) ? wait : undefined;
    if (kept !== replica.meta.wait) replica.saveWait(kept);
  }

  /** What a sync comes to that may not begin. */
  #refused(): SyncRun {
    const tally = new Tally();
    const { code, detail } = this.#wait?.error ?? {
      code: 'internal',
      detail: 'what was read is not what the cloud has',
    };
    tally.error = this.#online ? new SyncError(code, detail) : cutOff();
    const summary = tally.summary(this.#options.replica.pending);
    return runOf(summary, tally);
  }

  async #run(strong: readonly Change[], requires: readonly CausalContext[], all: boolean): Promise<SyncRun> {
    const tally = new Tally();
    this.#isRunning = true;
    this.#on('change_queued');
    if (all) this.#options.replica.askAgain();
    this.#on(this.#state === 'offline' ? 'retry' : 'sync_trigger');
    let ending: readonly LinkEvent[];
    try {
      await this.#options.first?.();
      const end = await this.#exchangeAll(tally, strong, requires, all);
      tally.isAtHead = end !== 'partial' && (end !== 'differs' || this.#options.replica.stalenessMs() !== null);
      if (!tally.isAtHead)
        tally.error = new SyncError('overloaded', 'there is more than one sync takes; the next goes on');
      if (end === 'stalled') tally.error = new SyncError('internal', 'the cloud leaves what was sent without its word');
      if (end === 'differs' || end === 'stalled') {
        this.#backOff(tally.error);
      } else {
        this.#failures = 0;
        this.#setWait(null);
      }
      this.#on(tally.conflicts > 0 ? 'conflicts_detected' : 'no_conflicts');
      this.#on('conflicts_resolved');
      ending = [tally.error === undefined ? 'sync_complete' : 'sync_failed'];
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
    this.#tell(this.#options.onEnd);
    return runOf(this.#last, tally);
  }

  /**
   * Exchanges until the head is reached and nothing that can be sent waits.
   *
   * @returns `partial`: that takes more than `LIMITS.exchangesPerSync`; `differs`: the state that was read from the
   *   beginning isn't what the cloud says it is, and reading it once more right away would not mend that; `stalled`: the
   *   cloud took a batch, and all that was in it still waits for the cloud's word.
   */
  async #exchangeAll(
    tally: Tally,
    strong: readonly Change[],
    requires: readonly CausalContext[],
    all: boolean,
  ): Promise<'complete' | 'partial' | 'differs' | 'stalled'> {
    let waiting = strong;
    let mended = false;
    let differs = false;
    for (let exchanges = 0; exchanges < LIMITS.exchangesPerSync; exchanges += 1) {
      const { replica, clock, logger } = this.#options;
      const exchanged = await this.#exchange(tally, waiting, requires, all);
      if (exchanged === undefined) continue;
      const { batch, answer, askedAtMs } = exchanged;
      if (answer.kept) {
        this.#noteKept(answer, tally, all);
        continue;
      }
      const confirmation = replica.confirm(batch, answer, askedAtMs);
      tally.add(answer, confirmation?.downloaded ?? 0);
      waiting = waiting.filter(({ id }) => !tally.results.has(id));
      const culprit = this.#narrowing.passed();
      if (culprit !== undefined) {
        waiting = waiting.filter(({ id }) => id !== culprit.changeId);
        this.#blame(culprit, strong, tally);
      }
      this.#tell(this.#options.onExchange);
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
        batch.changes.length === 0 ||
        batch.behind !== undefined;
      // What somebody waits for may have to wait for what goes before it.
      const isHeldBack = batch.changes.length === 0 && culprit === undefined;
      const isDone = !replica.hasNews && !replica.hasUnsent(this.#least(all)) && (waiting.length === 0 || isHeldBack);
      if (isDone) return differs ? 'differs' : 'complete';
      if (!moved) {
        logger.error('stalled', { node: replica.nodeId, changes: batch.changes.map(({ id }) => id) });
        return 'stalled';
      }
      // What came in while the batch was away goes in the next one; a pause lets it come.
      await clock.sleep(0);
    }
    return 'partial';
  }

  /** A relay keeps what was sent, as far as it can. What is left goes to it, too; then the cloud is out of reach, as before. */
  #noteKept(answer: BatchAnswer, tally: Tally, all: boolean): void {
    const { replica } = this.#options;
    replica.noteKept(answer);
    // Of what somebody waits for, it keeps nothing: that has not happened.
    tally.unanswered.clear();
    if (replica.hasUnsent(this.#least(all))) return;
    // That node is there, and takes what comes: it is asked again and again, and not less and less often.
    this.#failures = Math.min(this.#failures, KEPT_FAILURES);
    throw new SyncError('cloud_unavailable', 'the node between is cut off from the cloud, and keeps what was sent');
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
      const plan = this.#options.plan();
      const bounds = {
        least: this.#least(all),
        deltas: session.capabilities.includes('delta-sync'),
        maxChanges: Math.min(plan.batchSize, session.maxBatchChanges, this.#narrowing.maxChanges),
        // The rest of the batch takes room too.
        maxBytes: Math.min(plan.batchBytes, Math.floor(session.maxBatchBytes * 0.9), this.#byteCap.maxBytes),
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
        const answer = tally.metered(
          await upstream.exchange(session.id, batch, session.capabilities.includes('compression')),
        );
        if (batch.changes.length > 0) this.#byteCap.arrived();
        return { batch, answer, askedAtMs };
      } catch (error) {
        const isOver = error instanceof SyncError && ERRORS[error.code].retry === 'session';
        replica.releaseBatch(isOver);
        if (isRefusal(error)) tally.unanswered.clear();
        if (isLost(error) && batch.changes.length > 0) this.#byteCap.lost(utf8Bytes(JSON.stringify(batch)));
        if (this.#narrowing.failed(batch.changes, error)) return undefined;
        if (!isOver || renewals >= LIMITS.renewalsPerExchange) throw error;
        if (error.code === 'node_forked') replica.noteFork();
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
    // One that was made before this was kept is of no use.
    if (known?.capabilities !== undefined && known.expiresAtMs > replica.nowMs() + LIMITS.exchangeTimeoutMs) {
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
    if (!SUPPORTED_PROTOCOLS.includes(connected.protocol)) {
      throw new SyncError('protocol_unsupported', `protocol ${connected.protocol} is not spoken here`);
    }
    this.#on('connected');
    const sentAtMs = clock.nowMs();
    const shaken = tally.metered(await upstream.handshake(connected.sessionId, replica.handshakeRequest()));
    replica.adopt(shaken, sentAtMs, clock.nowMs());
    const session: Session = {
      id: connected.sessionId,
      expiresAtMs: connected.expiresAt,
      maxBatchChanges: connected.limits.maxBatchChanges,
      maxBatchBytes: connected.limits.maxBatchBytes,
      protocol: connected.protocol,
      capabilities: CAPABILITIES.filter((capability) => connected.capabilities.includes(capability)),
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
    this.#setWait(waitAfter(error, this.#failures, clock.nowMs(), entropy.fraction()));
  }

  /** A failure without a code is a bug: the sync is tried again all the same, but somebody must look. */
  #asSyncError(error: unknown): SyncError {
    const failure =
      error instanceof SyncError
        ? error
        : new SyncError('internal', error instanceof Error ? error.message : String(error));
    if (failure.code === 'internal') this.#logBug('sync_failed', error);
    return failure;
  }

  /** What happened, in this order and at once: only the last state is told. */
  #on(...events: readonly LinkEvent[]): void {
    const before = this.#state;
    this.#state = events.reduce(step, before);
    if (this.#state !== before) this.#tell(this.#options.onState, this.#state);
  }

  /** What fails in who listens is a bug of theirs, and none of the link. */
  #tell<T extends readonly unknown[]>(listener: ((...told: T) => void) | undefined, ...told: T): void {
    try {
      listener?.(...told);
    } catch (error) {
      this.#logBug('listener_failed', error);
    }
  }

  #logBug(event: string, error: unknown): void {
    const { logger, replica } = this.#options;
    logger.error(event, { node: replica.nodeId, error: error instanceof Error ? error.stack : String(error) });
  }
}

function runOf(summary: SyncSummary, { isAtHead, results, unanswered, covered, lacks }: Tally): SyncRun {
  return { summary, isAtHead, results, unanswered, covered, lacks };
}

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

/** Whether no answer came: the batch may have been more than the link carries. */
function isLost(error: unknown): boolean {
  return error instanceof SyncError && error.code === 'cloud_unavailable';
}

/** Whether the cloud can't be reached now. Any other failure is none of the link. */
function isUnreachable({ code }: SyncError): boolean {
  return code === 'cloud_unavailable' || code === 'overloaded' || code === 'rate_limited';
}

/** What is told where the link has been cut on purpose. */
export function cutOff(): SyncError {
  return new SyncError('cloud_unavailable', 'the node is cut off from the cloud', { retryAfterMs: CUT_OFF_RETRY_MS });
}

/** The pause is four seconds at most then. */
const KEPT_FAILURES = 2;

/** Nobody knows for how long a node is cut off; this is as long as the longest wait after a failure. */
const CUT_OFF_RETRY_MS = 30_000;
