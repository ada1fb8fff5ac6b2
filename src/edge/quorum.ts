import { dotOf } from '../core/change.ts';
import { compareStamps } from '../core/hlc.ts';
import { CLOUD, type EntityKey, splitKey } from '../core/ids.ts';
import { EMPTY_CLOCK, entry, merge, type VectorClock } from '../core/vector-clock.ts';
import { type ErrorCode, isErrorCode, SyncError, tooFew } from '../protocol/errors.ts';
import type { Fate } from '../sync/dead-letters.ts';
import type { Link, SyncRun } from '../sync/link.ts';
import type { Clock } from '../sync/ports.ts';
import type { Replica } from '../sync/replica.ts';
import { leftOf, tries, within } from '../sync/within.ts';
import type { Written } from '../sync/write.ts';
import type { HistoryPlace, Seen } from '../transport/rpc.ts';

/** What a node can ask of others, through the cloud. */
export interface Others {
  /** How many other nodes hold the history up to a cursor, as far as `wanted`. */
  holders(at: HistoryPlace, wanted: number, waitMs: number): Promise<number>;
  /** What the cloud has, and then other nodes: at most `wanted` in all. `null` of one that has nothing. */
  versions(key: EntityKey, wanted: number, waitMs: number): Promise<readonly (Seen | null)[]>;
}

export interface Newest {
  /** Null: none of them has anything. */
  readonly seen: Seen | null;
  readonly source: 'edge' | 'cloud';
}

/** Writes that so many replicas hold, and reads that so many answer; the cloud is one, and this node another. */
export class Quorum {
  readonly #replica: Replica;
  readonly #link: Link;
  readonly #clock: Clock;
  readonly #others: Others | undefined;

  /** @param others undefined: the cloud is one that can't be asked. */
  constructor(replica: Replica, link: Link, clock: Clock, others: Others | undefined) {
    this.#replica = replica;
    this.#link = link;
    this.#clock = clock;
    this.#others = others;
  }

  /**
   * Waits until so many replicas hold what was written here, or from here in the cloud.
   *
   * @throws SyncError `quorum_timeout`, which says where it is durable, and how many have it; or why the cloud refused it.
   */
  async hold(written: readonly Written[], wanted: number, waitMs: number, isStrong = false): Promise<void> {
    if (wanted <= 1) return;
    const leftMs = leftOf(this.#clock, waitMs);
    if (isStrong && !(await this.#shows(written, waitMs))) {
      throw tooFew(wanted, 1, 'the write is durable in the cloud');
    }
    if (!isStrong && !(await this.#arrives(written, waitMs))) {
      throw tooFew(wanted, 1, 'the write is durable at this node, and has not reached the cloud');
    }
    const { epoch, cursor } = this.#replica.meta;
    const others = wanted <= 2 ? 0 : await this.#holders({ epoch, cursor }, wanted - 2, leftMs());
    if (others + 2 < wanted) throw tooFew(wanted, others + 2, 'the write is durable in the cloud');
  }

  /** What so many replicas have: this one, the cloud, and others. @throws SyncError `quorum_timeout` */
  async ask(key: EntityKey, wanted: number, waitMs: number): Promise<readonly (Seen | null)[]> {
    const others = await this.#versions(key, wanted - 1, waitMs);
    if (others.length + 1 < wanted) throw tooFew(wanted, others.length + 1, 'too few replicas answered');
    return others;
  }

  /**
   * The newest of what so many replicas have, and no less than what this one shows: what another one has counts where that
   * has seen what is here.
   *
   * @throws SyncError `quorum_timeout`
   */
  async newest(key: EntityKey, wanted: number, waitMs: number): Promise<Newest> {
    const leftMs = leftOf(this.#clock, waitMs);
    const others = await this.ask(key, wanted, waitMs);
    const [cloud = null] = others;
    // What waits here is part of the answer, and only here it can be told what it makes of what the cloud has.
    if (this.#isBehind(key, cloud) && this.seen(key)?.synced === false) {
      const run = await within(this.#clock, leftMs(), this.#link.sync({ ends: 'own' }));
      if (run?.isAtHead !== true) throw tooFew(wanted, others.length + 1, 'what the cloud has has not arrived here');
    }
    // What is deleted here is not here.
    const own = this.seen(key) ?? (cloud?.data === null ? cloud : null);
    const there = [own, ...others.filter((one) => one !== null && hasSeen(one, own))].filter((one) => one !== null);
    const seen = there.reduce<Seen | null>((best, one) => (best === null || isNewer(one, best) ? one : best), null);
    return { seen, source: seen !== null && seen === cloud ? 'cloud' : 'edge' };
  }

  /** Whether the cloud has another version than this replica, which holds the type. */
  #isBehind(key: EntityKey, cloud: Seen | null): boolean {
    if (cloud === null || !this.#replica.holds(splitKey(key).entityType)) return false;
    return cloud.version !== this.#replica.confirmed(key)?.version;
  }

  /** What this replica has. */
  seen(key: EntityKey): Seen | null {
    const version = this.#replica.version(key);
    return version === undefined ? null : { ...version, context: this.#replica.causalContext() };
  }

  async #holders(at: HistoryPlace, wanted: number, waitMs: number): Promise<number> {
    if (this.#others === undefined) return 0;
    const asked = this.#others.holders(at, wanted, shorter(waitMs)).catch(unanswered);
    return (await within(this.#clock, waitMs, asked)) ?? 0;
  }

  async #versions(key: EntityKey, wanted: number, waitMs: number): Promise<readonly (Seen | null)[]> {
    if (this.#others === undefined || !this.#link.online) return [];
    const asked = this.#others.versions(key, wanted, shorter(waitMs)).catch(unanswered);
    return (await within(this.#clock, waitMs, asked)) ?? [];
  }

  /** Whether the cloud has taken the writes, in time. @throws SyncError why it has refused them. */
  async #arrives(written: readonly Written[], waitMs: number): Promise<boolean> {
    const isAnswered = () => this.#replica.meta.epoch !== null && !this.#fates(written).includes('waiting');
    if (!isAnswered()) await this.#syncUntil(isAnswered, waitMs);
    const fates = this.#fates(written);
    const refusals = fates.flatMap((fate, index) => (typeof fate === 'string' ? [] : [{ ...fate, index }]));
    // Of a transaction all are refused, for the sake of one.
    const refused = refusals.find(({ code }) => code !== 'transaction_refused') ?? refusals[0];
    if (refused !== undefined) {
      const which = written.length === 1 ? {} : { index: refused.index };
      throw new SyncError(codeOf(refused.code), `the cloud refused the write: ${refused.detail}`, which);
    }
    return fates.every((fate) => fate === 'there');
  }

  #fates(written: readonly Written[]): Fate[] {
    return written.map(({ changeId }) => this.#replica.fateOf(changeId));
  }

  /** Whether this replica has got all that the cloud has answered. */
  async #shows(written: readonly Written[], waitMs: number): Promise<boolean> {
    if (this.#replica.covers({ clock: clockOf(written) })) return true;
    return await this.#syncUntil((run) => run?.isAtHead === true, waitMs);
  }

  /** Syncs until something is so, in time. */
  async #syncUntil(isSo: (run: SyncRun | undefined) => boolean, waitMs: number): Promise<boolean> {
    for await (const leftMs of tries(this.#clock, waitMs)) {
      if (!this.#link.online) return false;
      if (isSo(await within(this.#clock, leftMs, this.#link.sync({ all: true, ends: 'own' })))) return true;
    }
    return false;
  }
}

/** What the cloud gets of a wait: what it has by then must arrive before that is over. */
function shorter(waitMs: number): number {
  return waitMs - Math.min(WAY_MS, waitMs / 2);
}

const WAY_MS = 250;

/** A cloud that can't be asked has not answered. */
function unanswered(error: unknown): undefined {
  if (!(error instanceof SyncError)) throw error;
}

/** Whether who has one replica's state has seen all of another one's; what waits at that is known to nobody else. */
function hasSeen({ context: { epoch, clock = EMPTY_CLOCK } }: Seen, other: Seen | null): boolean {
  return other === null || (other.synced && epoch === other.context.epoch && entry(clock, CLOUD) >= other.seq);
}

function isNewer(a: Seen, b: Seen): boolean {
  return compareStamps(a.stamp, b.stamp) > 0;
}

/** The last that was written of each node. */
function clockOf(written: readonly Written[]): VectorClock {
  return written.reduce((clock: VectorClock, { changeId }) => {
    const { node, counter } = dotOf({ id: changeId });
    return merge(clock, { [node]: counter });
  }, EMPTY_CLOCK);
}

function codeOf(code: string): ErrorCode {
  return isErrorCode(code) ? code : 'bad_request';
}
