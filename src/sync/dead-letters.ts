import { type Change, dotOf } from '../core/change.ts';
import { formatDot } from '../core/dot.ts';
import { add, type DotSet, EMPTY_DOT_SET, has } from '../core/dot-set.ts';
import { type EntityKey, entityKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { asTransaction } from '../core/transaction.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { checkRecord } from '../protocol/record.ts';
import type { QueuedChange } from './ports.ts';
import { changeBytes, sinceOf, transactionBytes } from './queued-change.ts';
import type { ReplicaState } from './replica-state.ts';
import type { ReplicaView } from './replica-view.ts';
import type { Once } from './write.ts';

/** What has become of a change: why it is dead, or `there` = the cloud has taken it; `waiting` = it has not said so. */
export type Fate = 'there' | 'waiting' | NonNullable<QueuedChange['error']>;

/** Changes that were refused stay until somebody sends them again, or gives them up; and what became of them is remembered. */
export class DeadLetters {
  readonly #state: ReplicaState;
  readonly #view: ReplicaView;

  constructor(state: ReplicaState, view: ReplicaView) {
    this.#state = state;
    this.#view = view;
  }

  /** What has become of a change of this node, by itself or in a later one. */
  fateOf(changeId: string): Fate {
    const memo = this.#state.memos.get('dead', changeId);
    if (memo !== undefined) return memo.again === undefined ? memo.error : this.fateOf(memo.again);
    const { node, counter } = dotOf({ id: changeId });
    const queued = [...this.#state.queue.all()].find((one) => {
      return sinceOf(one) <= counter && counter <= dotOf(one.change).counter;
    });
    if (queued !== undefined) return queued.error ?? 'waiting';
    return node === this.#state.nodeId && has(this.#state.meta.received, counter) ? 'there' : 'waiting';
  }

  /** Whether somebody gave a change up, as it was or as what it was sent again. */
  isGivenUp(changeId: string): boolean {
    const memo = this.#state.memos.get('dead', changeId);
    return memo !== undefined && (memo.again === undefined || this.isGivenUp(memo.again));
  }

  /**
   * Sends a dead change again, as a new one on the old one's base; with its transaction, if it was in one.
   *
   * @param data the record that it shall make instead.
   * @param once by which it is known again: then it does nothing more, and answers the same.
   * @throws SyncError `not_found`, `not_dead`, `queue_full`; for `data` as a write, or a transaction. Nothing has changed
   *   then.
   */
  retry(id: string, data: JsonObject | undefined, once?: Once): string {
    const { store, queue } = this.#state;
    const done = this.#done(id, once)?.again;
    if (done !== undefined) return done;
    const dead = this.#get(id);
    if (data !== undefined) checkRecord(data, this.#state.policyOf(dead.change));
    const all = queue.together(dead);
    const changes = this.#again(all, (change, { change: before }) => {
      return data === undefined || before.id !== id ? change : this.#edited(change, data);
    });
    const first = queue.nextOrder;
    const rows = changes.map((change, index) => {
      return { ...this.#state.newRow(change, changeBytes(change), all[index]?.slot), order: first + index };
    });
    this.#state.checkRoom(transactionBytes(rows.map(({ bytes }) => bytes)), { forDead: true });
    for (const { change } of rows) this.#view.note(entityKey(change));
    store.transaction(() => {
      for (const row of rows) store.writeQueued(row);
      this.#remember(all, rows, once);
    });
    for (const { change } of all) queue.remove(change.id);
    for (const row of rows) {
      this.#state.took(row.change);
      queue.put(row);
    }
    this.#view.tell();
    return rows[all.indexOf(dead)]?.change.id ?? id;
  }

  /** Gives a dead change up, with its transaction. @param once as for {@link retry}. @throws SyncError `not_found`, `not_dead` */
  discard(id: string, once?: Once): void {
    if (this.#done(id, once) !== undefined) return;
    const all = this.#state.queue.together(this.#get(id));
    this.#state.store.transaction(() => {
      for (const { slot } of all) this.#state.store.removeQueued(slot);
      this.#remember(all, [], once);
      this.#state.saveMeta({ counter: this.#state.counter });
    });
    for (const queued of all) this.#state.removed(queued);
  }

  #done(id: string, once: Once | undefined) {
    const memo = this.#state.memos.get('dead', id);
    return once !== undefined && memo?.by === once.key ? memo : undefined;
  }

  #get(id: string): QueuedChange {
    const { queue } = this.#state;
    const queued = queue.get(id);
    if (queued === undefined) throw new SyncError('not_found', `there is no change ${id} in the queue`);
    if (queued.error === null) throw new SyncError('not_dead', `${id} is ${queue.statusOf(queued)}`);
    return queued;
  }

  /** The same changes under new counters, as one transaction. */
  #again(all: readonly QueuedChange[], edited: (change: Change, dead: QueuedChange) => Change): Change[] {
    /** Counters that these get, by record. */
    const given = new Map<EntityKey, DotSet>();
    const changes = all.map((dead, index): Change => {
      const { resolves: asked, transaction: _, ...change } = dead.change;
      const counter = this.#state.counter + 1 + index;
      // It has seen what those before it make, though its base says nothing of their new counters.
      const earlier = given.get(entityKey(change)) ?? EMPTY_DOT_SET;
      given.set(entityKey(change), add(earlier, counter));
      const covers = earlier.extra.length > 0 ? earlier.extra : undefined;
      // What its node had answered to a conflict is an answer still, and so is what takes its place.
      const resolves = asked && { ...asked, attempts: 0 };
      return edited({ ...change, id: this.#state.dot(counter), covers, resolves }, dead);
    });
    return asTransaction(changes);
  }

  /** What made a record still does: it must not take the place of one that somebody else has made since. */
  #edited(change: Change, data: JsonObject): Change {
    const { operation: before, data: _, operations, mergePatch, stamps, resolves: asked, ...header } = change;
    const operation = before === 'create' ? before : 'update';
    const resolves = asked && { ...asked, reason: 'sent in the place of what was refused', metadata: undefined };
    const stamp = this.#state.stampAt(this.#state.nowMs());
    return { ...header, resolves, stamp, operation, data };
  }

  /** Who asks for them later is told what became of them; of what had gone into one, too. */
  #remember(all: readonly QueuedChange[], again: readonly QueuedChange[], once: Once | undefined): void {
    for (const [index, queued] of all.entries()) {
      const { change, error } = queued;
      if (error === null) continue;
      const { node, counter } = dotOf(change);
      for (let each = Math.max(sinceOf(queued), counter - LIMITS.deadCounters + 1); each <= counter; each += 1) {
        const by = once?.key;
        const memo = { kind: 'dead', atMs: this.#state.nowMs(), error, again: again[index]?.change.id, by } as const;
        this.#state.memos.put(formatDot({ node, counter: each }), memo);
      }
    }
  }
}
