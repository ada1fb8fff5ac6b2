import { EMPTY_CLOCK, type VectorClock } from '../../src/core/vector-clock.ts';
import { NOTHING, type Op, type Past } from './op.ts';

/** Somebody who reads and writes at one node after the other, one thing at a time, and carries a causal token. */
export class Client {
  readonly name: string;
  token: VectorClock = EMPTY_CLOCK;
  past: Past = NOTHING;
  #turn: Turn | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get isBusy(): boolean {
    return this.#turn !== undefined;
  }

  begin(): Turn {
    this.#turn = new Turn(this);
    return this.#turn;
  }

  /** The turn has been answered, or is given up. */
  finish(turn: Turn): void {
    if (this.isIn(turn)) this.#turn = undefined;
  }

  isIn(turn: Turn): boolean {
    return this.#turn === turn;
  }

  /** A session that has seen what is lost can't go on. */
  beginAnew(): void {
    this.#turn = undefined;
    this.token = EMPTY_CLOCK;
    this.past = NOTHING;
  }
}

/** One request of a client: what it had seen when it asked, and what it sees by the answer, if it still waits for it. */
export class Turn {
  readonly client: Client;
  readonly token: VectorClock;
  #past: Past;

  constructor(client: Client) {
    this.client = client;
    this.token = client.token;
    this.#past = client.past;
  }

  get past(): Past {
    return this.#past;
  }

  /** What it can no longer rely on: the node has answered without it. */
  forget(op: Op): void {
    this.#past = { ...this.#past, ops: new Set([...this.#past.ops].filter((other) => other !== op)) };
  }

  /**
   * Whoever sees a write has seen what its writer acted upon.
   *
   * @param waiting what the node has that the cloud hasn't: the token covers it, though nobody looked.
   */
  sees(seen: readonly Op[], waiting: readonly Op[], cloud: number, token: VectorClock): void {
    if (!this.client.isIn(this)) return;
    const ops = new Set([...this.#past.ops, ...seen.flatMap((op) => [op, ...op.causes])]);
    const shown = new Set([...this.#past.shown, ...ops, ...waiting]);
    this.client.past = { cloud: Math.max(cloud, this.#past.cloud), ops, shown };
    this.client.token = token;
  }
}
