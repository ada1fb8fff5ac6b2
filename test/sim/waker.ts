import { LastCaller } from '../../src/sync/last-caller.ts';
import type { Link } from '../../src/sync/link.ts';
import { leastAtOnce, type Plan } from '../../src/sync/plan.ts';
import type { Clock } from '../../src/sync/ports.ts';
import type { Replica } from '../../src/sync/replica.ts';
import { hasReasonToSync, type Waking, wakeAtMs } from '../../src/sync/waking.ts';
import type { HostAlarm } from './host-alarm.ts';
import type { Life } from './life.ts';

export interface WakerOptions {
  readonly replica: Replica;
  readonly link: Link;
  readonly clock: Clock;
  readonly life: Life;
  readonly alarm: HostAlarm;
  readonly plan: () => Plan;
  /** How long until it has something to bring for the nodes below it; null: nothing. */
  readonly msUntilBringing: () => number | null;
  /** Whether it does anything by itself; if not, only who asks for a sync gets one. */
  readonly isOn: () => boolean;
  /** Whether somebody is there without calling. */
  readonly isWatched: () => boolean;
}

/** Has a node send what it holds, and wake, without anyone's help: when `EdgeNode` does, and by the same function. */
export class Waker {
  readonly #options: WakerOptions;
  readonly #caller: LastCaller;

  constructor(options: WakerOptions) {
    this.#options = options;
    this.#caller = new LastCaller(options.clock);
  }

  /** Somebody has called the node, and is answered. */
  called(): void {
    this.#caller.called();
    const { link, replica, plan } = this.#options;
    if (this.#isOff) return;
    if (link.isDue && replica.hasUnsent(leastAtOnce(plan()))) void link.sync({ ends: 'none' });
    this.schedule();
  }

  /** After a start, and after each sync. */
  schedule(): void {
    if (this.#isOff) return;
    const waking = this.#waking();
    const wakesAtMs = wakeAtMs(waking);
    if (wakesAtMs !== null) this.#options.alarm.ringIn(wakesAtMs - waking.nowMs);
  }

  #waking(): Waking {
    const { link, replica, clock, plan, isWatched } = this.#options;
    return {
      nowMs: clock.nowMs(),
      link,
      replica,
      plan: plan(),
      msUntilOtherPlan: null,
      msUntilBringing: this.#options.msUntilBringing(),
      isUsed: this.#caller.isThere || isWatched(),
      isWatched: false,
      hasPokeSocket: false,
    };
  }

  rang(): void {
    if (this.#isOff) return;
    const { link } = this.#options;
    if (link.isDue && hasReasonToSync(this.#waking())) void link.sync({ ends: 'none' });
    else this.schedule();
  }

  get #isOff(): boolean {
    return this.#options.life.isOver || !this.#options.isOn();
  }
}
