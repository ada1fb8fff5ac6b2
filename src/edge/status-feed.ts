import { LIMITS } from '../protocol/limits.ts';
import type { Clock } from '../sync/ports.ts';

/**
 * Tells a node's status when it has changed: at once, or once for all that happens in a turn. Where that would be more
 * than anybody follows, the last status comes when there is room for it, and those before it don't come.
 */
export class StatusFeed {
  readonly #read: () => object;
  readonly #tell: (message: string) => void;
  readonly #clock: Clock;
  #told: string | undefined;
  #pending: Promise<void> | undefined;
  #room: number = LIMITS.statusBurst;
  #roomAtMs = 0;

  /** @param read the status as it is. */
  constructor(read: () => object, tell: (message: string) => void, clock: Clock) {
    this.#read = read;
    this.#tell = tell;
    this.#clock = clock;
  }

  /** The message of the status as it is. */
  message(): string {
    return messageOf(this.#read());
  }

  /** What has changed may change again in the same turn, and is to be seen all the same. */
  now(): void {
    if (!this.#hasRoom()) return;
    const status = this.#read();
    const compared = JSON.stringify(status, (key, value) => (AGES.has(key) ? undefined : value));
    if (compared === this.#told) return;
    this.#told = compared;
    this.#room -= 1;
    this.#tell(messageOf(status));
  }

  /** Something may have changed, or will in this turn. @returns when it has been told. */
  soon(): Promise<void> {
    this.#pending ??= this.#clock.sleep(0).then(async () => {
      while (!this.#hasRoom()) await this.#clock.sleep(1_000 / LIMITS.statusesPerSecond);
      this.#pending = undefined;
      this.now();
    });
    return this.#pending;
  }

  #hasRoom(): boolean {
    const nowMs = this.#clock.nowMs();
    const grown = (Math.abs(nowMs - this.#roomAtMs) * LIMITS.statusesPerSecond) / 1_000;
    this.#room = Math.min(LIMITS.statusBurst, this.#room + grown);
    this.#roomAtMs = nowMs;
    return this.#room >= 1;
  }
}

/** Fields that are never the same twice, though nothing happens. */
const AGES: ReadonlySet<string> = new Set(['stalenessMs', 'oldestMs']);

function messageOf(status: object): string {
  return JSON.stringify({ type: 'status', ...status });
}
