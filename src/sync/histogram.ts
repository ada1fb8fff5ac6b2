import type { Sample } from '../protocol/exposition.ts';

/** How long something takes, in seconds: how often it was at most so long, for each of a few bounds. */
export class Histogram {
  readonly #counts = BOUNDS.map(() => 0);
  #count = 0;
  #sum = 0;

  observe(ms: number): void {
    // The clock may be put back meanwhile.
    const seconds = Math.max(0, ms) / 1_000;
    BOUNDS.forEach((bound, index) => {
      if (seconds <= bound) this.#counts[index] = (this.#counts[index] ?? 0) + 1;
    });
    this.#count += 1;
    this.#sum += seconds;
  }

  samples(): readonly Sample[] {
    const buckets = [
      ...BOUNDS.map((bound, index) => [String(bound), this.#counts[index] ?? 0] as const),
      ['+Inf', this.#count] as const,
    ];
    return [
      ...buckets.map(([le, value]) => ({ suffix: '_bucket', labels: { le }, value })),
      { suffix: '_sum', labels: {}, value: this.#sum },
      { suffix: '_count', labels: {}, value: this.#count },
    ];
  }
}

/** Seconds: those that clients of Prometheus use where nothing else is said. */
const BOUNDS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
