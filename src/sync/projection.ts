import { readFeed } from './feed.ts';
import type { Clock, CloudStore, ProjectionSink } from './ports.ts';
import type { Sequencer } from './sequencer.ts';

/**
 * Keeps a copy of the feed somewhere else, where it can be queried. A reader with a cursor like any other: the cursor
 * lies with the copy and moves with it, so that any page may be applied again. Never on the way of an
 * acknowledgement. `design.md`, section 4.
 */
export class Projection {
  readonly #store: CloudStore;
  readonly #sequencer: Sequencer;
  readonly #sink: ProjectionSink;
  readonly #clock: Clock;

  constructor(store: CloudStore, sequencer: Sequencer, sink: ProjectionSink, clock: Clock) {
    this.#store = store;
    this.#sequencer = sequencer;
    this.#sink = sink;
    this.#clock = clock;
  }

  get isBehind(): boolean {
    const { seq, projected } = this.#sequencer.meta;
    return projected.seq < seq;
  }

  /** Catches up with the head that is there when it gets there; at most `maxPages`. Throws what the sink throws. */
  async catchUp(maxPages: number): Promise<void> {
    if (!this.isBehind) return;
    const { epoch } = this.#sequencer.meta;
    const position = await this.#sink.position();
    let from = position.epoch === epoch ? Math.min(position.seq, this.#sequencer.meta.seq) : 0;
    for (let pages = 0; pages < maxPages; pages += 1) {
      const page = readFeed(this.#store, this.#sequencer.meta.seq, from);
      const atMs = this.#clock.nowMs();
      await this.#sink.apply({
        epoch,
        entities: page.entities,
        seq: page.cursor,
        asOfMs: page.more ? undefined : atMs,
      });
      from = page.cursor;
      if (!page.more) {
        this.#sequencer.noteProjected(from, atMs);
        return;
      }
    }
  }
}
