import type { Scheduler } from './scheduler.ts';

/** The one alarm of a machine, as its platform keeps it: processes end, and it rings all the same. */
export class HostAlarm {
  readonly #scheduler: Scheduler;
  readonly #ring: () => void;
  #atMs: number | undefined;

  constructor(scheduler: Scheduler, ring: () => void) {
    this.#scheduler = scheduler;
    this.#ring = ring;
  }

  /** Rings in so many ms, or before that. */
  ringIn(ms: number): void {
    const atMs = this.#scheduler.nowMs + Math.max(0, ms);
    if (this.#atMs !== undefined && this.#atMs <= atMs) return;
    this.#atMs = atMs;
    this.#scheduler.after(ms, () => {
      // One that was set for an earlier time has taken its place.
      if (this.#atMs !== atMs) return;
      this.#atMs = undefined;
      this.#ring();
    });
  }
}
