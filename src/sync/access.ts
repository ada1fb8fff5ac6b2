import { assert, assertNever } from '../core/assert.ts';
import type { CausalContext } from '../core/causal-context.ts';
import type { ReadDemand } from '../core/consistency.ts';
import { type ErrorCode, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ChangeResult } from '../protocol/messages.ts';
import { refusalError } from '../protocol/record.ts';
import { cutOff, type Link, type SyncRun } from './link.ts';
import type { Clock } from './ports.ts';
import type { Replica } from './replica.ts';
import { leftOf, within } from './within.ts';
import type { Once, Write, Written } from './write.ts';

/** Where what is served now comes from, and how old it may be. */
export interface Served {
  readonly source: 'edge' | 'cloud';
  /** Null: this node never had everything. */
  readonly stalenessMs: number | null;
}

export interface StrongWritten extends Written {
  /** Set where the write met one that it had not seen. */
  readonly conflictId?: string | undefined;
  /** Set where the record has got another id, which its writer had not heard of. */
  readonly entityId?: string | undefined;
}

/**
 * Brings a replica to where a caller's consistency level allows to read it, and writes at the level that is asked for.
 * `design.md`, section 8.
 */
export class Access {
  readonly #replica: Replica;
  readonly #link: Link;
  readonly #clock: Clock;

  constructor(replica: Replica, link: Link, clock: Clock) {
    this.#replica = replica;
    this.#link = link;
    this.#clock = clock;
  }

  /**
   * Waits until the replica may be read at a level.
   *
   * @throws SyncError `cloud_unavailable` for a strong read that the cloud doesn't answer in time; `causality_timeout`
   *   where what the caller has seen does not arrive in time, here or, for a strong read, in the cloud.
   */
  async satisfy(demand: ReadDemand): Promise<Served> {
    switch (demand.level) {
      case 'strong':
        return await this.#satisfyStrong(demand);
      case 'causal':
      case 'session':
        return await this.#satisfyCausal(demand);
      case 'eventual':
        return await this.#satisfyEventual(demand);
      default:
        return assertNever(demand.level);
    }
  }

  /**
   * Sees to it that what a caller has seen fits in one token, and in the base of one change; what has arrived takes no room.
   *
   * @throws SyncError `causality_timeout`: too much of it has not arrived in the cloud.
   */
  async fit(after: CausalContext, waitMs: number): Promise<void> {
    if (!this.#isTooMuch(after)) return;
    await this.#within(waitMs, this.#link.sync({ requires: after, ends: 'none' }));
    if (this.#isTooMuch(after)) throw this.#notArrived('too much of what the token has seen is not in the cloud');
  }

  #isTooMuch(after: CausalContext): boolean {
    const context = this.#replica.causalContext(after);
    const entries = Object.keys(context.clock ?? {}).length;
    // A change names its node beside that.
    return entries > LIMITS.clockEntries - 1 || JSON.stringify(context).length > LIMITS.contextChars;
  }

  /**
   * Writes at this replica: acknowledged when it is in the queue. What the writer has seen elsewhere is pulled first,
   * if the cloud can be reached; if not, the change carries it as its base, and the cloud sorts it out.
   */
  async write(write: Write, after: CausalContext, waitMs: number, once?: Once): Promise<Written> {
    await this.#bring(after, waitMs, once);
    const [before] = this.#replica.written(once) ?? [];
    if (before !== undefined) return before;
    const written = this.#replica.write(write, after, once);
    this.#link.noteLocalChange();
    return written;
  }

  /** Writes several entities at once, as {@link write} does one. */
  async transact(
    writes: readonly Write[],
    after: CausalContext,
    waitMs: number,
    once?: Once,
  ): Promise<readonly Written[]> {
    await this.#bring(after, waitMs, once);
    const before = this.#replica.written(once);
    if (before !== undefined) return before;
    const written = this.#replica.transact(writes, after, once);
    this.#link.noteLocalChange();
    return written;
  }

  /** Whether the write was done by its key is for the caller to ask after this: meanwhile another one may have done it. */
  async #bring(after: CausalContext, waitMs: number, once: Once | undefined): Promise<void> {
    if (this.#replica.written(once) !== undefined || this.#replica.covers(after)) return;
    await this.#within(waitMs, this.#link.sync({ requires: after, ends: 'none' }));
  }

  /**
   * Writes in the cloud, behind what this replica has queued for the same entity, and answers when the cloud has it.
   *
   * @throws SyncError `cloud_unavailable`: it did not happen; `outcome_unknown`: it may have happened, and if it has
   *   not by now, it never will. Or as a local write does. Nothing stays in the queue.
   */
  async writeStrong(write: Write, after: CausalContext, waitMs: number, once?: Once): Promise<StrongWritten> {
    const [written] = await this.transactStrong([write], after, waitMs, once);
    assert(written !== undefined, 'a write has an answer');
    return written;
  }

  /** Writes several entities at once, as {@link writeStrong} does one. */
  async transactStrong(
    writes: readonly Write[],
    after: CausalContext,
    waitMs: number,
    once?: Once,
  ): Promise<StrongWritten[]> {
    if (!this.#link.online) throw cutOff();
    // Only the cloud knows where the counters of a node go on that lost its storage.
    if (this.#replica.meta.epoch === null) {
      const leftMs = leftOf(this.#clock, waitMs);
      const run = await this.#within(waitMs, this.#link.sync({ ends: 'own' }));
      if (this.#replica.meta.epoch === null) throw this.#unavailable(run);
      return await this.transactStrong(writes, after, leftMs(), once);
    }
    const isFree = this.#replica.isFree(once);
    const changes = this.#replica.beginStrong(writes, after, once);
    try {
      const run = await this.#within(waitMs, this.#link.sync({ strong: changes, ends: 'own' }));
      const results = changes.flatMap(({ id }) => run?.results.get(id) ?? []);
      const refusals = results.filter(({ status }) => status === 'rejected');
      // Of a transaction all are refused, for the sake of one.
      const refused = refusals.find(({ code }) => code !== 'transaction_refused') ?? refusals[0];
      if (refused !== undefined) {
        const refusal = refusalError({ ...refused, code: refused.code ?? 'bad_request', detail: refused.detail ?? '' });
        if (changes.length === 1) throw refusal;
        const index = changes.findIndex(({ id }) => id === refused.id);
        throw new SyncError(refusal.code, refusal.message, { ...refusal.details, index });
      }
      if (results.length === changes.length) return results.map((result) => this.#strongWritten(result));
      const isUnknown =
        run === undefined ? !this.#link.withdraw(changes) : changes.some(({ id }) => run.unanswered.has(id));
      if (isUnknown) throw outcomeUnknown('the cloud did not answer; the write may have happened');
      throw this.#unavailable(run);
    } catch (error) {
      const isUnknown = error instanceof SyncError && error.code === 'outcome_unknown';
      if (isFree && !isUnknown) this.#replica.leaveKey(once);
      throw error;
    } finally {
      this.#replica.endStrong(changes);
    }
  }

  /**
   * After an exchange that began after the request, and pushed what is queued here, the replica is the cloud's state; and
   * that may still lack what the caller has seen, where it waits at another node.
   */
  async #satisfyStrong({ after, waitMs }: ReadDemand): Promise<Served> {
    if (!this.#link.online) throw cutOff();
    const deadlineMs = this.#clock.nowMs() + waitMs;
    let leftMs = waitMs;
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      const run = await this.#within(leftMs, this.#link.sync({ requires: after, all: true, ends: 'own' }));
      const isLate = run === undefined && leftMs < waitMs;
      if (!isLate && run?.isAtHead !== true) throw this.#unavailable(run);
      if (run !== undefined && run.covered !== false) return { source: 'cloud', stalenessMs: 0 };
      await this.#clock.sleep(Math.min(pauseMs, Math.max(0, deadlineMs - this.#clock.nowMs())));
      leftMs = deadlineMs - this.#clock.nowMs();
      if (isOver(leftMs, waitMs)) throw this.#notArrived('what the token has seen has not arrived in the cloud');
    }
  }

  async #satisfyCausal({ after, waitMs }: ReadDemand): Promise<Served> {
    const deadlineMs = this.#clock.nowMs() + waitMs;
    for (
      let pauseMs = FIRST_PAUSE_MS;
      !this.#replica.covers(after);
      pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
    ) {
      const leftMs = deadlineMs - this.#clock.nowMs();
      if (isOver(leftMs, waitMs)) throw this.#notArrived('what the token has seen has not arrived here');
      // While the link waits, so does the caller; nothing is sent for that.
      const run = await this.#within(leftMs, this.#link.sync({ requires: after, ends: 'none' }));
      // At the head of a cloud that has it all, the replica has it too.
      if (run?.isAtHead && run.covered) break;
      await this.#clock.sleep(Math.min(pauseMs, Math.max(0, deadlineMs - this.#clock.nowMs())));
    }
    return this.#fromReplica();
  }

  async #satisfyEventual({ after, maxStalenessMs, waitMs }: ReadDemand): Promise<Served> {
    const stalenessMs = this.#replica.stalenessMs();
    // Who shows what he has seen wants to see it again, if one question to the cloud brings it.
    const isBehind = !this.#replica.covers(after);
    const isTooOld = stalenessMs === null || (maxStalenessMs !== undefined && stalenessMs > maxStalenessMs);
    // Out of reach of the cloud, what is here is served all the same; the answer says how old it may be.
    if (isTooOld || isBehind) await this.#within(waitMs, this.#link.sync({ requires: after, ends: 'none' }));
    return this.#fromReplica();
  }

  #fromReplica(): Served {
    return { source: 'edge', stalenessMs: this.#replica.stalenessMs() };
  }

  #strongWritten(result: ChangeResult): StrongWritten {
    if (result.status === 'duplicate') {
      throw outcomeUnknown('the write came too late, and was not done');
    }
    return {
      changeId: result.firstId ?? result.id,
      version: result.version ?? result.id,
      created: result.created ?? false,
      data: result.data ?? null,
      conflictId: result.conflictId,
      entityId: result.entityId,
    };
  }

  #notArrived(detail: string): SyncError {
    return new SyncError('causality_timeout', detail, { retryAfterMs: this.#retryAfterMs });
  }

  /** What a strong caller is told when the cloud was not reached: the link's own failure, where that says more. */
  #unavailable(run: SyncRun | undefined): SyncError {
    const error = run?.summary.error;
    const told: ErrorCode =
      error?.code === 'overloaded' || error?.code === 'rate_limited' ? error.code : 'cloud_unavailable';
    const detail = run?.summary.success ? 'what was written before it waits for its next try' : 'no answer in time';
    return new SyncError(told, error?.detail ?? detail, { retryAfterMs: this.#retryAfterMs });
  }

  /** No sooner than the cloud wants. */
  get #retryAfterMs(): number {
    return Math.max(LONGEST_PAUSE_MS, this.#link.askedMs);
  }

  /** The sync's end, or undefined when the caller's patience ends first. */
  async #within(waitMs: number, run: Promise<SyncRun>): Promise<SyncRun | undefined> {
    return await within(this.#clock, waitMs, run);
  }
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;

function outcomeUnknown(detail: string): SyncError {
  return new SyncError('outcome_unknown', detail, { retryAfterMs: LONGEST_PAUSE_MS });
}

/** By a clock that was put back the wait would not end. */
function isOver(leftMs: number, waitMs: number): boolean {
  return leftMs <= 0 || leftMs > waitMs;
}
