import type { Random } from './random.ts';
import { require } from './violation.ts';

interface Event {
  readonly atMs: number;
  /** Who goes first of those that are due at the same moment. */
  readonly rank: number;
  readonly run: () => void;
}

/**
 * Virtual time: all that happens later, messages and timers alike, is an event in one queue, in the order of time, and
 * of chance where times are equal. The engine's promises settle between two events; nothing else is concurrent.
 */
export class Scheduler {
  #nowMs = START_MS;
  readonly #events: Event[] = [];
  /** Replaced at every step, so that a step that is left out doesn't change the luck of the others. */
  random: Random;

  constructor(random: Random) {
    this.random = random;
  }

  /** Milliseconds since 1970. */
  get nowMs(): number {
    return this.#nowMs;
  }

  get isIdle(): boolean {
    return this.#events.length === 0;
  }

  after(delayMs: number, run: () => void): void {
    const event = { atMs: this.#nowMs + Math.max(0, delayMs), rank: this.random.fraction(), run };
    const place = this.#events.findLastIndex((other) => isBefore(other, event)) + 1;
    this.#events.splice(place, 0, event);
  }

  /** Lets `ms` pass, and what is due in them happen; `afterEach` runs when an event's promises have settled. */
  async pass(ms: number, afterEach: () => void): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    afterEach();
    // Nodes that can't get through ask every half minute, each over its relays.
    const most = MAX_EVENTS + (ms / 1_000) * MAX_EVENTS_A_SECOND;
    for (let events = 0; ; events += 1) {
      require(events < most, 'I11', () => `more than ${most} events in ${ms} ms: a loop without a pause`);
      const [next] = this.#events;
      if (next === undefined || next.atMs > untilMs) break;
      this.#events.shift();
      this.#nowMs = next.atMs;
      next.run();
      await settle();
      afterEach();
    }
    this.#nowMs = untilMs;
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.rank < b.rank);
}

/** All promises that can go on without an event have gone on when the next turn of the real loop comes. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const START_MS = 1_700_000_000_000;
const MAX_EVENTS = 100_000;
const MAX_EVENTS_A_SECOND = 5;
