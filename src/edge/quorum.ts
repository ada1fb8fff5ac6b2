import { compareStamps } from '../core/hlc.ts';
import type { EntityKey } from '../core/ids.ts';
import { type ErrorCode, isErrorCode, SyncError, tooFew } from '../protocol/errors.ts';
import type { Link } from '../sync/link.ts';
import type { Clock } from '../sync/ports.ts';
import type { Replica } from '../sync/replica.ts';
import { within } from '../sync/within.ts';
import type { Written } from '../sync/write.ts';
import type { HistoryPlace, Seen } from '../transport/rpc.ts';

/** What a node can ask of others, through the cloud. */
export interface Others {
  /** How many other nodes hold the history up to a cursor, as far as `wanted`. */
  holders(at: HistoryPlace, wanted: number, waitMs: number): Promise<number>;
  /** What the cloud has, and then other nodes: at most `wanted` in all. `null` of one that has nothing. */
  versions(key: EntityKey, wanted: number, waitMs: number): Promise<readonly (Seen | null)[]>;
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
   * Waits until so many replicas hold what was written here.
   *
   * @throws SyncError `quorum_timeout`, which says where it is durable, and how many have it; or why the cloud refused it.
   */
  async hold(written: readonly Written[], wanted: number, waitMs: number): Promise<void> {
    if (wanted <= 1) return;
    const deadlineMs = this.#clock.nowMs() + waitMs;
    if (!(await this.#arrives(written, waitMs))) {
      throw tooFew(wanted, 1, 'the write is durable at this node, and has not reached the cloud');
    }
    const { epoch, cursor } = this.#replica.meta;
    const leftMs = Math.max(0, Math.min(waitMs, deadlineMs - this.#clock.nowMs()));
    const others = wanted <= 2 ? 0 : ((await this.#others?.holders({ epoch, cursor }, wanted - 2, leftMs)) ?? 0);
    if (others + 2 < wanted) throw tooFew(wanted, others + 2, 'the write is durable in the cloud');
  }

  /** The newest of what so many replicas have. @throws SyncError `quorum_timeout` */
  async newest(key: EntityKey, wanted: number, waitMs: number): Promise<Seen | null> {
    const view = this.#replica.read(key);
    const others = this.#link.online ? await this.#others?.versions(key, wanted - 1, waitMs) : undefined;
    const all = [view ?? null, ...(others ?? [])];
    if (all.length < wanted) throw tooFew(wanted, all.length, 'too few replicas answered');
    const there = all.filter((seen) => seen !== null);
    return there.reduce<Seen | null>((best, one) => (best === null || isNewer(one, best) ? one : best), null);
  }

  /** Whether the cloud has the writes, in time. */
  async #arrives(written: readonly Written[], waitMs: number): Promise<boolean> {
    const isWaiting = () => written.some(({ changeId }) => this.#replica.isQueued(changeId));
    if (!isWaiting() && this.#replica.meta.epoch !== null) return true;
    if (this.#link.online) await within(this.#clock, waitMs, this.#link.sync({ all: true, ends: 'own' }));
    for (const { changeId } of written) {
      const error = this.#replica.deathOf(changeId);
      if (error) throw new SyncError(codeOf(error.code), `the cloud refused the write: ${error.detail}`);
    }
    return !isWaiting();
  }
}

function isNewer(a: Seen, b: Seen): boolean {
  return compareStamps(a.stamp, b.stamp) > 0;
}

function codeOf(code: string): ErrorCode {
  return isErrorCode(code) ? code : 'bad_request';
}
