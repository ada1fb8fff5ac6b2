import type { EntityVersion } from '../core/entity.ts';
import { LIMITS } from '../protocol/limits.ts';
import { readConflictFeed } from './conflict-pages.ts';
import { readFeed } from './feed.ts';
import type { Clock, CloudStore, ConflictRecord, ProjectionSink } from './ports.ts';
import type { Sequencer } from './sequencer.ts';

/**
 * Keeps a copy of the space somewhere else, where it can be queried: a reader of two feeds, entities by seq and
 * conflicts by revision. Its cursors lie with the copy and move with it, so that any page may be applied again. Never
 * on the way of an acknowledgement. `design.md`, section 4.
 */
export class Projection {
  readonly #store: CloudStore;
  readonly #sequencer: Sequencer;
  readonly #sink: ProjectionSink;
  readonly #clock: Clock;
  /** Ends when the last one does that was asked for; never fails. */
  #running: Promise<unknown> = Promise.resolve();
  /** One that has not begun: it covers who asks now. */
  #next: Promise<void> | undefined;

  constructor(store: CloudStore, sequencer: Sequencer, sink: ProjectionSink, clock: Clock) {
    this.#store = store;
    this.#sequencer = sequencer;
    this.#sink = sink;
    this.#clock = clock;
  }

  get isBehind(): boolean {
    const { seq, conflictRevision, projected } = this.#sequencer.meta;
    return projected.seq < seq || projected.conflictRevision < conflictRevision;
  }

  /**
   * Catches up with the heads that are there when it gets there; at most `maxPages`. One at a time: who asks meanwhile shares
   * the next one. Throws what the sink throws.
   */
  catchUp(maxPages: number): Promise<void> {
    if (this.#next !== undefined) return this.#next;
    const next = this.#running.then(() => {
      this.#next = undefined;
      return this.#catchUp(maxPages);
    });
    this.#next = next;
    this.#running = next.catch(() => undefined);
    return next;
  }

  async #catchUp(maxPages: number): Promise<void> {
    if (!this.isBehind) return;
    const { epoch } = this.#sequencer.meta;
    const position = await this.#sink.position();
    const isKnown = position.epoch === epoch;
    let seq = isKnown ? Math.min(position.seq, this.#sequencer.meta.seq) : 0;
    let revision = isKnown ? Math.min(position.conflictRevision, this.#sequencer.meta.conflictRevision) : 0;
    for (let pages = 0; pages < maxPages; ) {
      // As many pages as one transaction can take go together: what takes effect together is seen together.
      const entities: EntityVersion[] = [];
      const conflicts: ConflictRecord[] = [];
      let isLast = false;
      let atMs = 0;
      for (let together = 0; together < LIMITS.pagesTogether && !isLast && pages < maxPages; together += 1) {
        const heads = this.#sequencer.meta;
        const page = readFeed(this.#store, heads.seq, seq);
        const behind = readConflictFeed(this.#store, heads.conflictRevision, revision);
        entities.push(...page.entities);
        conflicts.push(...behind.conflicts);
        [seq, revision] = [page.cursor, behind.cursor];
        isLast = !page.more && !behind.more;
        atMs = this.#clock.nowMs();
        pages += 1;
      }
      const asOfMs = isLast ? atMs : undefined;
      await this.#sink.apply({ epoch, entities, conflicts, seq, conflictRevision: revision, asOfMs });
      if (isLast) {
        this.#sequencer.noteProjected({ seq, conflictRevision: revision, atMs });
        return;
      }
    }
  }
}
