/**
 * The one alarm of a Durable Object, and when it rings, which costs a row to set and a read to ask for. It is set in the
 * turn of what needs it: so the two are durable together.
 */
export class Alarm {
  readonly #storage: Pick<DurableObjectStorage, 'getAlarm' | 'setAlarm'>;
  #atMs: number | null = null;

  constructor(storage: Pick<DurableObjectStorage, 'getAlarm' | 'setAlarm'>) {
    this.#storage = storage;
  }

  /** To be awaited before anything else. */
  async load(): Promise<void> {
    this.#atMs = await this.#storage.getAlarm();
  }

  get isSet(): boolean {
    return this.#atMs !== null;
  }

  /** Rings at a time, ms since 1970, or before it. */
  ringBy(atMs: number): void {
    if (this.#atMs !== null && this.#atMs <= atMs) return;
    this.#atMs = atMs;
    void this.#storage.setAlarm(atMs);
  }

  /** It rings, and is set no more. */
  rang(): void {
    this.#atMs = null;
  }
}
