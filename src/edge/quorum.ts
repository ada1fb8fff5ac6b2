import { dotOf } from '../core/change.ts';
import { compareStamps } from '../core/hlc.ts';
import type { EntityKey } from '../core/ids.ts';
import { EMPTY_CLOCK, merge, type VectorClock } from '../core/vector-clock.ts';
import { type ErrorCode, isErrorCode, SyncError, tooFew } from '../protocol/errors.ts';
import type { Link } from '../sync/link.ts';
import type { Clock } from '../sync/ports.ts';
import type { Replica } from '../sync/replica.ts';
import { leftOf, within } from '../sync/within.ts';
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

  /** The newest of what so many replicas have. @throws SyncError `quorum_timeout` */
  async newest(key: EntityKey, wanted: number, waitMs: number): Promise<Newest> {
    const [cloud, ...nodes] = await this.#versions(key, wanted - 1, waitMs);
    const all = [this.seen(key), ...(cloud === undefined ? [] : [cloud, ...nodes])];
    if (all.length < wanted) throw tooFew(wanted, all.length, 'too few replicas answered');
    const there = all.filter((seen) => seen !== null);
    const seen = there.reduce<Seen | null>((best, one) => (best === null || isNewer(one, best) ? one : best), null);
    return { seen, source: seen !== null && seen === cloud ? 'cloud' : 'edge' };
  }

  /** What this replica has. */
  seen(key: EntityKey): Seen | null {
    const version = this.#replica.version(key);
    return version === undefined ? null : { ...version, context: this.#replica.causalContext() };
  }

  async #holders(at: HistoryPlace, wanted: number, leftMs: number): Promise<number> {
    if (this.#others === undefined) return 0;
    return (await within(this.#clock, leftMs, this.#others.holders(at, wanted, leftMs).catch(unanswered))) ?? 0;
  }

  async #versions(key: EntityKey, wanted: number, waitMs: number): Promise<readonly (Seen | null)[]> {
    if (this.#others === undefined || !this.#link.online) return [];
    return (await within(this.#clock, waitMs, this.#others.versions(key, wanted, waitMs).catch(unanswered))) ?? [];
  }

  /** Whether the cloud has taken the writes, in time. @throws SyncError why it has refused them. */
  async #arrives(written: readonly Written[], waitMs: number): Promise<boolean> {
    const fates = () => written.map(({ changeId }) => this.#replica.fateOf(changeId));
    const isWaiting = fates().includes('waiting') || this.#replica.meta.epoch === null;
    if (isWaiting && this.#link.online) {
      await within(this.#clock, waitMs, this.#link.sync({ all: true, ends: 'own' }));
    }
    const refusals = fates().flatMap((fate, index) => (typeof fate === 'string' ? [] : [{ ...fate, index }]));
    // Of a transaction all are refused, for the sake of one.
    const refused = refusals.find(({ code }) => code !== 'transaction_refused') ?? refusals[0];
    if (refused !== undefined) {
      const which = written.length === 1 ? {} : { index: refused.index };
      throw new SyncError(codeOf(refused.code), `the cloud refused the write: ${refused.detail}`, which);
    }
    return fates().every((fate) => fate === 'there');
  }

  /** Whether this replica has got all that the cloud has answered. */
  async #shows(written: readonly Written[], waitMs: number): Promise<boolean> {
    if (this.#replica.covers({ clock: clockOf(written) })) return true;
    const run = await within(this.#clock, waitMs, this.#link.sync({ all: true, ends: 'own' }));
    return run?.isAtHead === true;
  }
}

/** A cloud that can't be asked has not answered. */
function unanswered(error: unknown): undefined {
  if (!(error instanceof SyncError)) throw error;
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
