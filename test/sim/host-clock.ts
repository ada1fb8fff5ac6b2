import type { Clock } from '../../src/sync/ports.ts';
import type { Life } from './life.ts';
import type { Scheduler } from './scheduler.ts';

/** The wall clock of one machine: wrong by so much, whatever process looks at it. */
export class HostClock {
  readonly #scheduler: Scheduler;
  #errorMs: number;
  hasJumped = false;

  constructor(scheduler: Scheduler, errorMs: number) {
    this.#scheduler = scheduler;
    this.#errorMs = errorMs;
  }

  jump(ms: number): void {
    this.hasJumped = true;
    this.#errorMs += ms;
  }

  /** The clock as a process reads it; its sleeps end with its life. */
  of(life: Life): Clock {
    return {
      nowMs: () => this.#scheduler.nowMs + this.#errorMs,
      sleep: (ms) => {
        return new Promise((resolve) => {
          this.#scheduler.after(ms, () => {
            if (!life.isOver) resolve();
          });
        });
      },
    };
  }
}
