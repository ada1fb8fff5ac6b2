import { type CausalContext, clockOfAll, latest } from '../core/causal-context.ts';
import { EMPTY_DIGEST } from '../core/digest.ts';
import { HLC_START } from '../core/hlc.ts';
import { CLOUD } from '../core/ids.ts';
import type { Policies } from '../core/policy.ts';
import { merge, type VectorClock } from '../core/vector-clock.ts';
import { type AwaitedResolution, type ChangeFailure, Commit } from './commit.ts';
import { lacking } from './coverage.ts';
import { Memos } from './memos.ts';
import type { Clock, CloudMeta, CloudStore, ConflictRecord, Entropy } from './ports.ts';

export interface SequencerOptions {
  readonly store: CloudStore;
  readonly policies: Policies;
  readonly clock: Clock;
  readonly entropy: Entropy;
  /** Told, after the commit, of resolvers that have not answered yet. */
  readonly onAwaited?: ((awaited: AwaitedResolution) => void) | undefined;
  /** Told, after the commit, of changes that this program failed at. */
  readonly onFailure?: ((failure: ChangeFailure) => void) | undefined;
  /** Told, after the commit, of conflicts that were met or decided. */
  readonly onConflict?: ((conflict: ConflictRecord) => void) | undefined;
}

/** In the history of this cloud. */
export interface Seen extends CausalContext {
  readonly epoch: string;
  readonly clock: VectorClock;
}

/**
 * Puts all changes of a space into one order: whatever touches the history is one transaction here, one after the other.
 * What a change does is decided in `judge.ts`. `design.md`, section 4.
 */
export class Sequencer {
  readonly #store: CloudStore;
  readonly #policies: Policies;
  readonly #clock: Clock;
  readonly #onAwaited: SequencerOptions['onAwaited'];
  readonly #onFailure: SequencerOptions['onFailure'];
  readonly #onConflict: SequencerOptions['onConflict'];
  readonly memos: Memos;
  #meta: CloudMeta;

  constructor(options: SequencerOptions) {
    this.#store = options.store;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.memos = new Memos(options.store, options.clock);
    this.#onAwaited = options.onAwaited;
    this.#onFailure = options.onFailure;
    this.#onConflict = options.onConflict;
    this.#meta = options.store.readMeta() ?? freshMeta(options.entropy);
  }

  get meta(): CloudMeta {
    return this.#meta;
  }

  /** Whether all that a clock names is in the history. */
  covers(clock: VectorClock): boolean {
    return Object.keys(this.#lacking(clock)).length === 0;
  }

  /**
   * What somebody has seen at this cloud who had seen all that: the history as far as it goes, and of nodes what is not in it.
   */
  seenAfter(...seen: readonly CausalContext[]): Seen {
    const { epoch, seq, hlc } = this.#meta;
    const all = clockOfAll(seen, epoch);
    const lacks = this.#lacking(all);
    const missing = Object.entries(all).filter(([name]) => Object.hasOwn(lacks, name));
    const clock = merge({ [CLOUD]: seq }, Object.fromEntries(missing));
    return { epoch, clock, ...latest([...seen, { atMs: hlc.wallMs }]) };
  }

  #lacking(clock: VectorClock): VectorClock {
    return lacking(clock, this.#meta.seq, (nodeId) => this.#store.readNode(nodeId));
  }

  /** Runs `body` with the power to change the history; all of it happens, or nothing. */
  commit<T>(body: (commit: Commit) => T): T {
    const { result, meta, awaited, failures, conflicts } = this.#store.transaction(() => {
      const commit = new Commit(this.#store, this.memos, this.#policies, this.#meta, this.#clock.nowMs());
      const result = body(commit);
      const meta = commit.finish();
      if (meta !== this.#meta || this.#store.readMeta() === undefined) this.#store.writeMeta(meta);
      const { awaited, failures, conflicts } = commit;
      return { result, meta, awaited, failures, conflicts };
    });
    this.#meta = meta;
    for (const one of awaited) this.#onAwaited?.(one);
    for (const one of failures) this.#onFailure?.(one);
    for (const one of conflicts) this.#onConflict?.(one);
    return result;
  }

  /** Notes how far the projection has come. */
  noteProjected(projected: CloudMeta['projected']): void {
    const meta = { ...this.#meta, projected };
    this.#store.transaction(() => this.#store.writeMeta(meta));
    this.#meta = meta;
  }
}

function freshMeta(entropy: Entropy): CloudMeta {
  return {
    epoch: entropy.id(),
    seq: 0,
    changedAtMs: 0,
    digest: EMPTY_DIGEST,
    hlc: HLC_START,
    conflicts: 0,
    conflictRevision: 0,
    projected: { seq: 0, conflictRevision: 0, atMs: 0 },
  };
}
