import type { EntityVersion } from '../../src/core/entity.ts';
import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import type { ConflictRecord, ProjectionPage, ProjectionSink } from '../../src/sync/ports.ts';
import type { Life } from './life.ts';
import type { D1Fault } from './options.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';

type Position = Awaited<ReturnType<ProjectionSink['position']>>;

/** D1 as the projection sees it: the rules of its two statements, and all that can go wrong on the way to it. */
export class SimulatedD1 {
  readonly rows = new Map<EntityKey, EntityVersion>();
  readonly conflicts = new Map<string, ConflictRecord>();
  position: Position = { epoch: null, seq: 0, conflictRevision: 0 };
  readonly #scheduler: Scheduler;
  readonly #trace: Trace;
  /** How many clouds were lost. */
  #lost = 0;
  #faults: Readonly<Record<D1Fault, number>>;

  constructor(scheduler: Scheduler, trace: Trace, faults: Readonly<Record<D1Fault, number>>) {
    this.#scheduler = scheduler;
    this.#trace = trace;
    this.#faults = faults;
  }

  heal(): void {
    this.#faults = { 'd1-refuses': 0, 'd1-slow': 0, 'd1-fails-after-commit': 0 };
  }

  /** What a lost cloud had sent arrives no more: nobody could tell it from what the next one sends. */
  loseCloud(): void {
    this.#lost += 1;
  }

  /** What is sent is done, though the life that sent it may be over by then; its answer reaches nobody then. */
  sinkFor(life: Life): ProjectionSink {
    return {
      position: () => this.#call(life, () => ({ ...this.position })),
      apply: (page) => this.#call(life, () => this.#apply(page)),
    };
  }

  /** What is newer takes the place of what is there; what is beyond the cursors is of an older epoch, and gives way. */
  #apply({ epoch, entities, conflicts, seq, conflictRevision }: ProjectionPage): void {
    const { position } = this;
    const reached = epoch === position.epoch ? position : { seq: 0, conflictRevision: 0 };
    for (const entity of entities) {
      const known = this.rows.get(entityKey(entity))?.seq ?? 0;
      if (entity.seq > Math.min(known, reached.seq)) this.rows.set(entityKey(entity), entity);
    }
    for (const conflict of conflicts) {
      const known = this.conflicts.get(conflict.id)?.revision ?? 0;
      const isNewer = conflict.revision > Math.min(known, reached.conflictRevision);
      if (isNewer) this.conflicts.set(conflict.id, conflict);
    }
    this.position = {
      epoch,
      seq: Math.max(seq, reached.seq),
      conflictRevision: Math.max(conflictRevision, reached.conflictRevision),
    };
  }

  #call<T>(life: Life, effect: () => T): Promise<T> {
    const delayMs = this.#happens('d1-slow') ? SLOW_MS : this.#scheduler.random.between(1, USUAL_MS);
    const lost = this.#lost;
    return new Promise((resolve, reject) => {
      this.#scheduler.after(delayMs, () => {
        if (this.#lost > lost) return;
        const isRefused = this.#happens('d1-refuses');
        const result = isRefused ? undefined : { value: effect() };
        if (life.isOver) return;
        if (result === undefined || this.#happens('d1-fails-after-commit')) reject(new Error('D1 failed'));
        else resolve(result.value);
      });
    });
  }

  #happens(fault: D1Fault): boolean {
    if (!this.#scheduler.random.chance(this.#faults[fault])) return false;
    this.#trace.count(`fault: ${fault}`);
    return true;
  }
}

const USUAL_MS = 50;
const SLOW_MS = 60_000;
