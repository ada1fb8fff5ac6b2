import type { Change } from '../core/change.ts';
import { dotOf } from '../core/change.ts';
import { type EntityKey, type EntityType, entityKey, splitKey } from '../core/ids.ts';
import { EMPTY_CLOCK, merge, type VectorClock } from '../core/vector-clock.ts';

/** A change as it is folded into what is shown. */
export interface Pending {
  readonly change: Change;
  /** The cloud may have another one under its counter. */
  readonly isDoubtful?: boolean | undefined;
}

/**
 * What others wrote, waits at this node for the cloud, and is shown here as what this node wrote. It comes in groups; for
 * each a counter of this node stands, so that who has seen it can say so in one entry of a clock, however many wrote it.
 */
export class Beside {
  readonly #groups = new Map<number, readonly Pending[]>();
  readonly #byEntity = new Map<EntityKey, Pending[]>();
  /** Of each change, in how many groups it is. */
  readonly #ids = new Map<string, number>();

  /** @param counter stands for the group. */
  add(counter: number, changes: readonly Change[]): void {
    const group = changes.map((change): Pending => ({ change }));
    this.#groups.set(counter, group);
    for (const pending of group) {
      const key = entityKey(pending.change);
      this.#byEntity.set(key, [...(this.#byEntity.get(key) ?? []), pending]);
      this.#ids.set(pending.change.id, (this.#ids.get(pending.change.id) ?? 0) + 1);
    }
  }

  remove(counter: number): void {
    const group = new Set(this.#groups.get(counter));
    this.#groups.delete(counter);
    for (const { change } of group) {
      const key = entityKey(change);
      const rest = (this.#byEntity.get(key) ?? []).filter((pending) => !group.has(pending));
      if (rest.length === 0) this.#byEntity.delete(key);
      else this.#byEntity.set(key, rest);
      const left = (this.#ids.get(change.id) ?? 0) - 1;
      if (left > 0) this.#ids.set(change.id, left);
      else this.#ids.delete(change.id);
    }
  }

  /** How many changes there are. */
  get size(): number {
    return this.#ids.size;
  }

  get counters(): Iterable<number> {
    return this.#groups.keys();
  }

  *all(): Iterable<Pending> {
    for (const group of this.#groups.values()) yield* group;
  }

  has(id: string): boolean {
    return this.#ids.has(id);
  }

  keysOf(counter: number): EntityKey[] {
    return (this.#groups.get(counter) ?? []).map(({ change }) => entityKey(change));
  }

  /** The changes of one entity, in the order in which they came. */
  of(key: EntityKey): readonly Pending[] {
    return this.#byEntity.get(key) ?? [];
  }

  /**
   * What a writer of the entity has seen, who has seen these. Operations are shown on what is here, which may be less than
   * what they were made on: who has seen that has not seen what is below them.
   */
  clockOf(key: EntityKey): VectorClock {
    const whole = this.of(key).filter(({ change }) => isWholeRecord(change));
    return whole.reduce((clock, { change }) => {
      const { node, counter } = dotOf(change);
      return merge(clock, { [node]: counter });
    }, EMPTY_CLOCK);
  }

  idsOf(type: EntityType): string[] {
    return [...this.#byEntity.keys()].flatMap((key) => {
      const { entityType, entityId } = splitKey(key);
      return entityType === type ? [entityId] : [];
    });
  }
}

function isWholeRecord({ operation, data, operations }: Change): boolean {
  return operation === 'delete' || (data !== undefined && operations === undefined);
}
