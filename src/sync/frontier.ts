import { type CausalContext, clockIn, isOfOther, latest } from '../core/causal-context.ts';
import { dotOf } from '../core/change.ts';
import { CLOUD } from '../core/ids.ts';
import { EMPTY_CLOCK, entry, merge, type VectorClock } from '../core/vector-clock.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Batch, BatchAnswer } from '../protocol/messages.ts';
import type { ReplicaState } from './replica-state.ts';

/** How far a replica has come: what its reader has seen, and whether that is all that somebody had seen before. */
export class Frontier {
  readonly #state: ReplicaState;
  /** Of other nodes, what is known to be in the confirmed state; of so many as one clock may name. */
  #arrived: VectorClock = EMPTY_CLOCK;
  /** Counters of strong writes that the cloud has, and that this replica does not show yet. */
  readonly #unshown = new Set<number>();

  constructor(state: ReplicaState) {
    this.#state = state;
  }

  /** What a reader of this replica has seen. Two entries, however many nodes there are. */
  vectorClock(): VectorClock {
    const { nodeId, meta, counter } = this.#state;
    return { [CLOUD]: meta.cursor, ...(counter > 0 ? { [nodeId]: counter } : {}) };
  }

  /** What somebody has seen now that had seen `after`: no more than the cursor, where nothing of this node's own waits. */
  causalContext(after: CausalContext): CausalContext {
    const { meta, hlc } = this.#state;
    // A node that has been in no history yet takes its caller's word.
    const epoch = meta.epoch ?? after.epoch ?? meta.presumedEpoch;
    const here = this.#causalClock();
    const clock = this.covers(after) ? here : merge(this.#missing(clockIn(after, epoch)), here);
    return { epoch, clock, ...latest([after, { atMs: hlc.wallMs }]) };
  }

  #causalClock(): VectorClock {
    const { queue, meta } = this.#state;
    return queue.isWaiting || this.#unshown.size > 0 ? this.vectorClock() : { [CLOUD]: meta.cursor };
  }

  /** Whether this replica can tell by itself that it has all that was seen; of another history it can't. */
  covers(seen: CausalContext): boolean {
    if (isOfOther(seen, this.#epoch())) return false;
    const { nodeId, meta, counter: newest } = this.#state;
    const { clock = EMPTY_CLOCK } = seen;
    return Object.entries(clock).every(([node, counter]) => {
      if (counter === 0) return true;
      if (node === CLOUD) return meta.asOfMs > 0 && meta.cursor >= counter;
      if (this.#hasArrived(node, counter)) return true;
      // What a former life wrote is here at the head.
      const isOwn = node === nodeId && counter <= newest && meta.ownFrom === undefined;
      return isOwn && ![...this.#unshown].some((one) => one <= counter);
    });
  }

  /** What the writer of the change with a counter has seen: all that is here, and what he had seen elsewhere. */
  baseOf(counter: number, after: CausalContext): VectorClock {
    const { nodeId, meta } = this.#state;
    const here = { [CLOUD]: meta.cursor, ...(counter > 1 ? { [nodeId]: counter - 1 } : {}) };
    return merge(this.#missing(clockIn(after, this.#epoch())), here);
  }

  /** The history that a caller has seen is taken for that of this replica, for as long as the cloud hasn't told. */
  presume({ epoch }: CausalContext): void {
    if (epoch !== undefined && this.#epoch() === null) this.#state.saveMeta({ presumedEpoch: epoch });
  }

  /** The history that this replica is of, or seems to be. */
  #epoch(): string | null {
    const { epoch, presumedEpoch } = this.#state.meta;
    return epoch ?? presumedEpoch ?? null;
  }

  /** The cloud says that it has that, at the head that this replica is at. */
  noteArrived(clock: VectorClock): void {
    const { [CLOUD]: _, [this.#state.nodeId]: __, ...others } = clock;
    const all = Object.entries({ ...this.#arrived, ...merge(others, this.#arrived) });
    this.#arrived = Object.fromEntries(all.slice(-LIMITS.clockEntries));
  }

  /** Of another history nothing is known to have arrived. */
  forgetArrived(): void {
    this.#arrived = EMPTY_CLOCK;
  }

  /** What has arrived is seen with the cursor. */
  #missing(clock: VectorClock): VectorClock {
    return Object.fromEntries(Object.entries(clock).filter(([node, counter]) => !this.#hasArrived(node, counter)));
  }

  #hasArrived(node: string, counter: number): boolean {
    return counter <= entry(this.#arrived, node);
  }

  /** A strong write that the cloud has is seen here at the head, and not before. */
  noteUnshown({ changes }: Batch, { results }: BatchAnswer): void {
    const strong = new Set(changes.filter(({ consistency }) => consistency === 'strong').map(({ id }) => id));
    for (const { id, seq, firstId } of results)
      if ((seq ?? firstId) !== undefined && strong.has(id)) this.#unshown.add(dotOf({ id }).counter);
  }

  /** All that the cloud has is shown. */
  reachedHead(): void {
    this.#unshown.clear();
  }
}
