import type { NetworkReport } from './plan.ts';
import type { Clock } from './ports.ts';

/**
 * Who used a node last: is taken to be there for a while, and the link to be as they hinted. In memory alone, for it is no
 * more than that, and costs no row.
 */
export class LastCaller {
  readonly #clock: Clock;
  #calledAtMs = 0;
  #hints: NetworkReport = {};
  #hintedAtMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isThere(): boolean {
    return this.#clock.nowMs() - this.#calledAtMs < STAYS_MS;
  }

  /** What is believed of the link. */
  get hints(): NetworkReport {
    return this.msUntilDoubted === null ? {} : this.#hints;
  }

  /** How long the hints are still believed, ms; null: there are none. */
  get msUntilDoubted(): number | null {
    const leftMs = this.#hintedAtMs + STAYS_MS - this.#clock.nowMs();
    return leftMs > 0 ? leftMs : null;
  }

  called(): void {
    this.#calledAtMs = this.#clock.nowMs();
  }

  /** All that one says is put into the place of all that another one said. */
  hinted(hints: NetworkReport): void {
    this.#hints = hints;
    this.#hintedAtMs = this.#clock.nowMs();
  }
}

const STAYS_MS = 60_000;
