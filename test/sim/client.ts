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

  /** @param waiting what the node has that the cloud hasn't. */
  wrote(op: Op, cloud: number, waiting: readonly Op[]): void {
    this.#own.add(op);
    this.#sees(cloud, [op], waiting);
  }

  /** Whoever sees a write has seen what its writer acted upon. */
  read(ops: readonly Op[], cloud: number, waiting: readonly Op[]): void {
    this.#sees(cloud, ops, waiting);
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

  #sees(cloud: number, seen: readonly Op[], waiting: readonly Op[]): void {
    const ops = new Set([...this.#past.ops, ...seen.flatMap((op) => [op, ...op.causes])]);
    const shown = new Set([...this.#past.shown, ...ops, ...waiting]);
    this.#past = { cloud: Math.max(cloud, this.#past.cloud), ops, shown };
  }
}
