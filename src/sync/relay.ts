import type { NodeId } from '../core/ids.ts';
import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, isFinal } from '../protocol/messages.ts';
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
  #bringing: Promise<void> | undefined;
  /** What was brought before the sync that is under way. */
  #beforeSync: readonly number[] = [];
  /** How often a batch did not get through, and when it was last tried. */
  readonly #tries = new Map<number, { readonly count: number; readonly triedAtMs: number }>();

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** @throws SyncError `cloud_unavailable`, and what the tier above throws; so do all of them. */
  async connect(request: string, caller: Caller): Promise<string> {
    this.#checkIsOther(caller);
    return await this.#above().connect(request, caller);
  }

  async handshake(sessionId: string, request: string, caller: Caller): Promise<string> {
    return await this.#above().handshake(sessionId, request, caller);
  }

  /** Where the cloud can't be reached, what was sent is kept, and the answer says so. */
  async exchange(sessionId: string, batch: string, caller: Caller): Promise<string> {
    const { kept, isOnline } = this.#options;
    this.#checkIsOther(caller);
    const wasSent = isOnline();
    try {
      const above = this.#above();
      await this.bring();
      return await above.exchange(sessionId, batch, caller);
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
    // What goes behind something of its node waits for that.
    const first = new Map<NodeId, number>();
    for (const [counter, { batch }] of this.#options.kept.open()) {
      if (!first.has(batch.sourceNodeId)) first.set(batch.sourceNodeId, this.#msUntilTry(counter));
    }
    return first.size === 0 ? null : Math.min(...first.values());
  }

  /** By a clock that was put back the pause would not end. */
  #msUntilTry(counter: number): number {
    const { triedAtMs = 0 } = this.#tries.get(counter) ?? {};
    const sinceMs = this.#options.clock.nowMs() - triedAtMs;
    return sinceMs < 0 ? 0 : Math.max(0, LIMITS.backoffMs - sinceMs);
  }

  /**
   * Brings what is kept to the tier above, in its order; before anything goes there that may have been made on it.
   *
   * @throws SyncError `cloud_unavailable`: nothing may go before it. What fails again and again holds nothing up.
   */
  bring(): Promise<void> {
    this.#bringing ??= this.#bring().finally(() => {
      this.#bringing = undefined;
    });
    return this.#bringing;
  }

  async #bring(): Promise<void> {
    if (!this.#options.isOnline()) return;
    /** Nodes of which something has not gone: what they wrote later goes behind. */
    const stuck = new Map<NodeId, 'waits' | 'undecided'>();
    for (const [counter, one] of this.#options.kept.open()) {
      const { sourceNodeId } = one.batch;
      const { count = 0 } = this.#tries.get(counter) ?? {};
      const isResting = count >= LIMITS.maxRetries && this.#msUntilTry(counter) > 0;
      const outcome = stuck.get(sourceNodeId) ?? (isResting ? 'waits' : await this.#bringOne(one));
      if (outcome === 'done' || outcome === 'undecided') this.#options.kept.finish(counter, outcome === 'undecided');
      if (outcome !== 'done') stuck.set(sourceNodeId, outcome === 'undecided' ? outcome : 'waits');
      if (outcome !== 'away' && outcome !== 'later') continue;
      this.#tries.set(counter, { count: count + 1, triedAtMs: this.#options.clock.nowMs() });
      if (outcome === 'away' && count + 1 < LIMITS.maxRetries) {
        throw new SyncError('cloud_unavailable', 'what is kept for the nodes below did not get through');
      }
    }
  }

  /** Before this node asks for what is new. */
  async beforeSync(): Promise<void> {
    await this.bring();
    this.#beforeSync = this.#options.kept.finished;
  }

  /** What came of what was brought before the node asked is confirmed here by now, and shown as that. */
  reachedHead(): void {
    const { kept } = this.#options;
    kept.letGo(this.#beforeSync);
    this.#beforeSync = [];
    const left = new Set(kept.all().map(([counter]) => counter));
    for (const counter of this.#tries.keys()) if (!left.has(counter)) this.#tries.delete(counter);
  }

  /**
   * `done`: the tier above has spoken, or keeps it as well. `undecided`: what is left is between it and the writer, who has
   * to come for that (to send more, or with another session). `later`: it can't take it now.
   */
  async #bringOne({ sessionId, batch, caller, atMs }: KeptBatch): Promise<'done' | 'undecided' | 'later' | 'away'> {
    const { above, clock } = this.#options;
    if (Math.abs(clock.nowMs() - atMs) > LIMITS.memoMs) return 'undecided';
    try {
      const answer = parseWith(batchAnswer, JSON.parse(await above.exchange(sessionId, JSON.stringify(batch), caller)));
      return answer.kept || answer.results.every(isFinal) ? 'done' : 'undecided';
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      if (error.code === 'cloud_unavailable') return 'away';
      return ERRORS[error.code].retry === 'same' ? 'later' : 'undecided';
    }
  }

  /** Two that write under one name fork it. */
  #checkIsOther({ nodeId }: Caller): void {
    if (nodeId !== this.#options.nodeId) return;
    throw new SyncError('forbidden', `${nodeId} is this node itself; a node below needs a name of its own`);
  }

  #above(): Carrier {
    const { above, isOnline, nodeId } = this.#options;
    if (!isOnline()) throw new SyncError('cloud_unavailable', `${nodeId}, which is between, is cut off from the cloud`);
    return above;
  }
}
