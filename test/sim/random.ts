/**
 * The one source of chance of a simulation: sfc32 (Doty-Humphrey, PractRand), 128 bits of state, the same numbers on
 * every machine. Never `Math.random`.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param path a seed, and what of it: equal paths give equal numbers, others are independent. */
  constructor(...path: readonly number[]) {
    this.#a = 0x9e3779b9;
    this.#b = 0x243f6a88;
    this.#c = 0xb7e15162;
    for (const part of path) {
      this.#a = (this.#a ^ (part | 0)) | 0;
      this.#b = (this.#b ^ Math.floor(part / 2 ** 32)) | 0;
      for (let round = 0; round < ROUNDS; round += 1) this.#next32();
    }
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.#next32() / 2 ** 32;
  }

  /** A whole number from `low` to `high`, both included. */
  between(low: number, high: number): number {
    return low + Math.floor(this.fraction() * (high - low + 1));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.between(0, items.length - 1)] ?? items[0];
  }

  /** One of the names, each as often as its weight says. */
  weighted<Name extends string>(weights: Readonly<Record<Name, number>>): Name {
    const entries = Object.entries(weights) as [Name, number][];
    let rest = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [name, weight] of entries) {
      rest -= weight;
      if (rest < 0) return name;
    }
    throw new Error('invariant broken: no weight is above zero');
  }

  /** 32 hex digits. */
  name(): string {
    return Array.from({ length: 4 }, () => this.#next32().toString(16).padStart(8, '0')).join('');
  }

  #next32(): number {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + result;
    return result >>> 0;
  }
}

/** After so many, near seeds have nothing in common any more. */
const ROUNDS = 12;
