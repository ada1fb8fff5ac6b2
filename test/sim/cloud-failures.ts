import { dotOf } from '../../src/core/change.ts';
import type { Options } from './options.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

/** What the cloud fails with at a change, as by a bug of its own. */
export class PlantedFailure extends Error {}

/** A cloud that fails, now and then, at some changes and at no others: where it takes them in, or at their whole batch. */
export class CloudFailures {
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  readonly #options: Options['cloudFailures'];
  #isHealed = false;

  constructor(scheduler: Scheduler, trace: Trace, options: Options['cloudFailures']) {
    this.#scheduler = scheduler;
    this.#trace = trace;
    this.#options = options;
  }

  heal(): void {
    this.#isHealed = true;
  }

  /** @throws PlantedFailure where it is time, and the change is one of those. */
  meet(place: 'change' | 'batch', id: string): void {
    const { every, at } = this.#options;
    const isTime = !this.#isHealed && Math.floor(this.#scheduler.nowMs / PERIOD_MS) % 2 === 1;
    if (!isTime || every === undefined || place !== at || id.startsWith('cloud:')) return;
    if (dotOf({ id }).counter % every !== 0) return;
    this.#trace.count(`fault: cloud fails at a ${place}`);
    throw new PlantedFailure(`the cloud fails at ${id}`);
  }
}

/** Long enough that some changes run out of tries, and short enough that others do not. */
const PERIOD_MS = 10_000;
