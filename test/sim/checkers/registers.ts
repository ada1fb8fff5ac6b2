import type { EntityKey } from '../../../src/core/ids.ts';
import type { Op } from '../op.ts';
import { require } from '../violation.ts';

/**
 * I7: strong is linearizable for each entity. The cloud's order is the order; so it is enough that whatever began after
 * something else was answered comes behind it in that order.
 */
export class Registers {
  /** The newest seq of each entity that somebody was answered with. */
  readonly #answered = new Map<EntityKey, number>();

  /** What everything that begins now must come behind. */
  floor(key: EntityKey): number {
    return this.#answered.get(key) ?? 0;
  }

  wrote(op: Op, floor: number): void {
    const { fate, key } = op;
    require(fate !== undefined, 'I7', () => `the strong write ${op.dot} was acknowledged, and is not in the cloud`);
    const seq = fate?.seq;
    if (seq === undefined) return;
    require(seq > floor, 'I7', () => `the strong write ${op.dot} is seq ${seq}, not after ${floor}`);
    this.#raise(key, seq);
  }

  /** @param cursor up to where the reader's node had the history. @param seq of the entity there. */
  read(key: EntityKey, floor: number, cursor: number, seq: number): void {
    require(cursor >= floor, 'I7', () =>
      `a strong read of ${key} saw the state at ${cursor}, after ${floor} was answered`);
    this.#raise(key, seq);
  }

  #raise(key: EntityKey, seq: number): void {
    this.#answered.set(key, Math.max(seq, this.floor(key)));
  }
}
