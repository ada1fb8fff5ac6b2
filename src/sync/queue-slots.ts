import type { ReplicaStore } from './ports.ts';

/**
 * Hands out rows for the queue: one that is used again costs one written row, where deleting it and writing another
 * costs two.
 */
export class QueueSlots {
  readonly #store: ReplicaStore;
  #free: number[] = [];
  #last: number;
  /** Where the search for rows that may be used again goes on, and up to which counter it has been made. */
  #searchedTo = 0;
  #searchedFor = 0;

  constructor(store: ReplicaStore) {
    this.#store = store;
    this.#last = store.lastSlot();
  }

  /** @param settledUpTo changes up to this counter are kept long enough. */
  take(settledUpTo: number): number {
    if (this.#free.length === 0 && settledUpTo > this.#searchedFor) this.#search(settledUpTo);
    const slot = this.#free.pop();
    if (slot !== undefined) return slot;
    this.#last += 1;
    return this.#last;
  }

  /** The row of the slot is gone. */
  giveBack(slot: number): void {
    this.#free.push(slot);
  }

  #search(settledUpTo: number): void {
    this.#free = this.#store.settledSlots(settledUpTo, this.#searchedTo, CHUNK).reverse();
    this.#searchedTo = this.#free[0] ?? 0;
    // The end: nothing more is to be found before more has been settled.
    if (this.#free.length < CHUNK) {
      this.#searchedTo = 0;
      this.#searchedFor = settledUpTo;
    }
  }
}

const CHUNK = 64;
