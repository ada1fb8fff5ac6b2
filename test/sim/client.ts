import { EMPTY_CLOCK, type VectorClock } from '../../src/core/vector-clock.ts';
import { NOTHING, type Op, type Past } from './op.ts';

/** Somebody who reads and writes at one node after the other, one thing at a time, and carries a causal token. */
export class Client {
  readonly name: string;
  token: VectorClock = EMPTY_CLOCK;
  #past: Past = NOTHING;
  readonly #own = new Set<Op>();
  #turn = 0;
  #isBusy = false;

  constructor(name: string) {
    this.name = name;
  }

  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** @returns what ends this turn, and no later one. */
  begin(): number {
    this.#isBusy = true;
    this.#turn += 1;
    return this.#turn;
  }

  finish(turn: number): void {
    if (turn === this.#turn) this.#isBusy = false;
  }

  get past(): Past {
    return this.#past;
  }

  wrote(op: Op, cloud: number): void {
    this.#own.add(op);
    this.#sees(cloud, [op]);
  }

  /** Whoever sees a write has seen what its writer acted upon. */
  read(ops: readonly Op[], cloud: number): void {
    this.#sees(cloud, ops);
  }

  isOwn(op: Op): boolean {
    return this.#own.has(op);
  }

  /** A session that has seen what is lost can't go on. */
  beginAnew(): void {
    this.token = EMPTY_CLOCK;
    this.#past = NOTHING;
    this.#own.clear();
  }

  #sees(cloud: number, ops: readonly Op[]): void {
    const all = new Set(this.#past.ops);
    for (const op of ops) {
      all.add(op);
      for (const cause of op.causes) all.add(cause);
    }
    this.#past = { cloud: Math.max(cloud, this.#past.cloud), ops: all };
  }
}
