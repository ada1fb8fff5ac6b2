import type { CausalContext } from '../core/causal-context.ts';
import { type Change, dotOf } from '../core/change.ts';
import { type EntityKey, entityKey } from '../core/ids.ts';
import { asTransaction } from '../core/transaction.ts';
import { LIMITS } from '../protocol/limits.ts';
import { checkContent, checkRecord } from '../protocol/record.ts';
import type { Frontier } from './frontier.ts';
import { newChange } from './new-change.ts';
import { changeBytes, transactionBytes } from './queued-change.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ReplicaView } from './replica-view.ts';
import { strongContent } from './strong-content.ts';
import type { Once, Write } from './write.ts';
import type { WriteKeys } from './write-keys.ts';

/** Writes that somebody waits for. They are not queued, and not visible before the cloud has them. */
export class StrongWrites {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;
  readonly #frontier: Frontier;
  readonly #keys: WriteKeys;
  /** Counters whose change is under way without being queued; no void, until there is no answer. */
  readonly #awaited = new Set<number>();
  /** Records that got another id while a change is under way that may be meant for them. */
  readonly #movedTo = new Map<EntityKey, EntityKey>();

  constructor(state: ReplicaState, view: ReplicaView, frontier: Frontier, keys: WriteKeys) {
    this.#state = state;
    this.#view = view;
    this.#frontier = frontier;
    this.#keys = keys;
  }

  /** Makes changes that take effect together. Until {@link end} their counters are neither sent as void nor used again. */
  begin(writes: readonly Write[], after: CausalContext, once: Once | undefined): Change[] {
    const isFree = this.#keys.isFree(once);
    const nowMs = this.#state.nowMs();
    const changes = asTransaction(
      writes.map((write, index): Change => {
        checkContent(write, LIMITS.changeDepth);
        const before = this.#view.read(entityKey(write));
        if (write.kind === 'put') checkRecord(write.data, this.#state.policyOf(write));
        const content = strongContent(write, before !== undefined);
        const { ifMatch, ifNoneMatch } = write;
        const counter = this.#state.counter + 1 + index;
        const change = newChange(this.#state, this.#frontier, write, content, { counter, after, nowMs });
        // The first by the key itself: so another write by that is known for another one.
        const own = once && index > 0 ? { ...once, key: `${once.key}.${index}` } : once;
        return { ...change, consistency: 'strong', ifMatch, ifNoneMatch, once: own };
      }),
    );
    transactionBytes(changes.map(changeBytes));
    // The counters are spent before they are sent: after a crash they are void, and never stand for other changes.
    this.#state.store.transaction(() => {
      this.#state.saveMeta({ counter: this.#state.counter + changes.length });
      if (isFree) this.#keys.remember(null, once);
    });
    for (const change of changes) {
      this.#state.took(change);
      this.#awaited.add(dotOf(change).counter);
    }
    return changes;
  }

  /** Nobody waits for the changes any more; if no answer came, their counters are void from now on. */
  end(changes: readonly Change[]): void {
    for (const change of changes) this.#awaited.delete(dotOf(change).counter);
    if (this.#awaited.size === 0) this.#movedTo.clear();
  }

  /** Counters of changes that are under way. */
  awaited(): Iterable<number> {
    return this.#awaited;
  }

  /** Records got other ids. */
  noteMoves(moves: ReadonlyMap<EntityKey, EntityKey>): void {
    if (this.#awaited.size > 0) for (const [from, to] of moves) this.#movedTo.set(from, to);
  }

  /** Where changes wait that a strong one goes behind. */
  placesOf(change: Change): EntityKey[] {
    const key = entityKey(change);
    const moved = this.#movedTo.get(key);
    return moved === undefined ? [key] : [key, moved];
  }
}
