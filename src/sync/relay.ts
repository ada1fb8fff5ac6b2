import type { NodeId } from '../core/ids.ts';
import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Caller } from './caller.ts';
import type { KeptBatch, KeptBatches } from './kept-batches.ts';
import type { Clock } from './ports.ts';

/**
 * The sync protocol as JSON texts (`http.md`, section 5), for those who carry it and need not read it. Each call is one
 * round trip; it answers, or throws a `SyncError`.
 */
export interface Carrier {
  connect(request: string, caller: Caller): Promise<string>;
  handshake(sessionId: string, request: string, caller: Caller): Promise<string>;
  exchange(sessionId: string, batch: string, caller: Caller): Promise<string>;
  disconnect(sessionId: string, caller: Caller): Promise<string>;
}

export interface RelayOptions {
  /** The node that relays. */
  readonly nodeId: NodeId;
  /** The way to the tier above, which may be a relay too. */
  readonly above: Carrier;
  readonly isOnline: () => boolean;
  readonly kept: KeptBatches;
  readonly epoch: () => string | null;
  readonly clock: Clock;
}

/**
 * A node between others and the cloud. It carries what they say under their own names, and the cloud alone acknowledges:
 * sessions, queues and conflicts of those below are between them and the cloud. While the cloud is out of reach it keeps
 * copies of what they wrote, shows them, and brings them when it can; what is lost with it is not lost.
 * `docs/decisions/0015-relays-keep-copies.md`.
 */
export class Relay implements Carrier {
  readonly #options: RelayOptions;
  /** Counters of batches that have come to the tier above. */
  #brought: number[] = [];
  /** After a failure: no sooner does it try again. */
  #bringsAtMs = 0;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** @throws SyncError `cloud_unavailable`, and what the tier above throws; so do all of them. */
  async connect(request: string, caller: Caller): Promise<string> {
    // Two that write under one name fork it.
    if (caller.nodeId === this.#options.nodeId) {
      throw new SyncError('forbidden', `${caller.nodeId} is this node itself; a node below needs a name of its own`);
    }
    return await this.#above().connect(request, caller);
  }

  async handshake(sessionId: string, request: string, caller: Caller): Promise<string> {
    return await this.#above().handshake(sessionId, request, caller);
  }

  /** Where the cloud can't be reached, what was sent is kept, and the answer says so. */
  async exchange(sessionId: string, batch: string, caller: Caller): Promise<string> {
    const { kept, isOnline } = this.#options;
    const wasSent = isOnline();
    try {
      return await this.#above().exchange(sessionId, batch, caller);
    } catch (error) {
      if (!(error instanceof SyncError) || error.code !== 'cloud_unavailable') throw error;
      const answer = kept.take(sessionId, batch, caller, wasSent);
      if (answer === undefined) throw error;
      return JSON.stringify(answer);
    }
  }

  async disconnect(sessionId: string, caller: Caller): Promise<string> {
    return await this.#above().disconnect(sessionId, caller);
  }

  /** How long until there is something to bring, ms; null: there is nothing. */
  get msUntilBringing(): number | null {
    const { kept, clock } = this.#options;
    if (kept.all().length === this.#brought.length) return null;
    // By a clock that was put back the pause would not end.
    return Math.min(LIMITS.backoffMs, Math.max(0, this.#bringsAtMs - clock.nowMs()));
  }

  /** Brings what is kept to the tier above, in its order; before this node sends what it made of that. */
  async bring(): Promise<void> {
    const { kept, clock } = this.#options;
    if (this.msUntilBringing !== 0) return;
    let isAway = false;
    for (const [counter, one] of kept.all()) {
      if (isAway || this.#brought.includes(counter)) continue;
      const outcome = await this.#bringOne(one);
      isAway = outcome === 'away';
      if (outcome === 'done') this.#brought.push(counter);
    }
    this.#bringsAtMs = clock.nowMs() + LIMITS.backoffMs;
  }

  /** What was brought is confirmed here by now, and shown as that. */
  reachedHead(): void {
    if (this.#brought.length > 0) this.#options.kept.letGo(this.#brought);
    this.#brought = [];
  }

  /** `done`: the tier above has spoken, or never will: what it refuses, it refuses its writer too. */
  async #bringOne({ sessionId, batch, caller, epoch, atMs }: KeptBatch): Promise<'done' | 'later' | 'away'> {
    const { above, isOnline, clock, ...options } = this.#options;
    // What a base says of another history means nothing in this one: its writer sends it anew.
    if (epoch !== options.epoch() || Math.abs(clock.nowMs() - atMs) > LIMITS.memoMs) return 'done';
    if (!isOnline()) return 'away';
    try {
      const text = await above.exchange(sessionId, JSON.stringify(batch), caller);
      return parseWith(batchAnswer, JSON.parse(text)).kept ? 'later' : 'done';
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      if (error.code === 'cloud_unavailable') return 'away';
      return ERRORS[error.code].retry === 'same' ? 'later' : 'done';
    }
  }

  #above(): Carrier {
    const { above, isOnline, nodeId } = this.#options;
    if (!isOnline()) throw new SyncError('cloud_unavailable', `${nodeId}, which is between, is cut off from the cloud`);
    return above;
  }
}
