import { type Change, dotOf } from '../core/change.ts';
import { CLOUD, type NodeId } from '../core/ids.ts';
import { type Policies, policyFor } from '../core/policy.ts';
import { isWhole, unitsOf } from '../core/transaction.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import {
  type BatchAnswer,
  batch as batchSchema,
  change as changeSchema,
  type IncomingBatch,
} from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import { contentProblem, recordProblem, utf8Bytes } from '../protocol/record.ts';
import type { Caller } from './caller.ts';
import type { Clock, Memo } from './ports.ts';
import type { Replica } from './replica.ts';
import { nodeOfSession } from './session-id.ts';

/** What a relay keeps of a batch that it could not carry. */
export type KeptBatch = Extract<Memo, { kind: 'kept' }>;

/**
 * Batches of the nodes below that a relay could not carry, until it can. They are copies: their writers wait for the cloud's
 * word as before, and send them again. So nothing depends on them; what they are for is that this node shows what its
 * neighbours wrote while the cloud is away, and that it arrives though its writer may be gone when the cloud is back. Kept
 * for a day, in what is remembered for a day. `docs/decisions/0015-relays-keep-copies.md`.
 */
export class KeptBatches {
  readonly #replica: Replica;
  readonly #policies: Policies;
  readonly #clock: Clock;
  readonly #batches = new Map<number, KeptBatch>();
  /** Those that there is no more to do for; they are shown until what came of them is. */
  readonly #done = new Set<number>();
  /** Of each node the last batch that was taken, if all before it will come to the cloud by this node, or has. */
  readonly #last = new Map<NodeId, string>();

  constructor(replica: Replica, policies: Policies, clock: Clock) {
    this.#replica = replica;
    this.#clock = clock;
    this.#policies = policies;
    const kept = replica.memos.get('kept-list', '')?.counters ?? [];
    for (const counter of kept) {
      const one = replica.memos.get('kept', String(counter));
      if (one !== undefined) this.#batches.set(counter, one);
    }
    replica.showAgain([...this.#batches].map(([counter, { batch }]) => [counter, batch.changes]));
  }

  /** In the order in which they came, by the counters that stand for them. */
  all(): readonly (readonly [counter: number, KeptBatch])[] {
    return [...this.#batches];
  }

  /** Those that are to be brought. */
  open(): readonly (readonly [counter: number, KeptBatch])[] {
    return this.all().filter(([counter]) => !this.#done.has(counter));
  }

  /** It has come to the cloud, or (`isLeft`) its writer has to see to it: what goes behind it can't be kept any more. */
  finish(counter: number, isLeft = false): void {
    const source = this.#batches.get(counter)?.batch.sourceNodeId;
    if (isLeft && source !== undefined) this.#last.delete(source);
    this.#done.add(counter);
  }

  /**
   * Keeps what can be kept of a batch.
   *
   * @param wasSent whether the cloud may have it: of what somebody waits for nobody may then say that it didn't happen.
   * @returns what the node below is told; undefined: nothing is kept, and the cloud's absence is all there is to tell.
   * @throws SyncError as the cloud would, for a batch that is not the caller's.
   */
  take(sessionId: string, text: string, caller: Caller, wasSent: boolean): BatchAnswer | undefined {
    const batch = parseWith(batchSchema, JSON.parse(text));
    checkAuthor(batch, sessionId, caller);
    const isAwaited = batch.changes.some(({ consistency }) => consistency === 'strong');
    // Of a transaction all or nothing: of a part the cloud would have to say that it is no whole.
    const readable = batch.changes.flatMap((envelope) => this.#readable(envelope, caller) ?? []);
    const fit = unitsOf(readable).filter(isAll);
    if (fit.length === 0 || (isAwaited && wasSent)) return undefined;
    if (batch.behind !== undefined && this.#last.get(batch.sourceNodeId) !== batch.behind) return undefined;
    const changes = fit.filter((unit) => !unit.every((change) => this.#keeps(change))).flat();
    if (changes.length > 0 && !this.#keep(sessionId, { ...batch, changes }, caller)) return undefined;
    this.#last.set(batch.sourceNodeId, batch.batchId);
    return {
      batchId: batch.batchId,
      results: batch.changes.map(({ id }) => ({ id, status: 'deferred' })),
      changes: [],
      cursor: batch.cursor,
      more: false,
      vectorClock: { [CLOUD]: this.#replica.meta.cursor },
      serverTime: this.#replica.nowMs(),
      kept: true,
    };
  }

  /** Those that there is no more to do for. */
  get finished(): readonly number[] {
    return [...this.#done];
  }

  /** What came of these is confirmed. */
  letGo(counters: readonly number[]): void {
    if (counters.length === 0) return;
    for (const counter of counters) this.#done.delete(counter);
    const gone = this.all().filter(([counter]) => counters.includes(counter));
    const rest = this.all().filter(([counter]) => !counters.includes(counter));
    this.#replica.showNoMore(counters, () => {
      this.#saveList(rest.map(([counter]) => counter));
      for (const [counter, kept] of gone)
        this.#replica.memos.forget(String(counter), { ...kept, batch: { ...kept.batch, changes: [] } });
    });
    for (const counter of counters) this.#batches.delete(counter);
  }

  /** Also what its writer sends again; not what is another change by now: the record in the place of the operations. */
  #keeps(change: Change): boolean {
    if (!this.#replica.beside.has(change.id)) return false;
    const text = JSON.stringify(change);
    return this.open().some(([, { batch }]) =>
      batch.changes.some((one) => one.id === change.id && JSON.stringify(one) === text),
    );
  }

  #keep(
    sessionId: string,
    batch: Omit<IncomingBatch, 'changes'> & { readonly changes: readonly Change[] },
    caller: Caller,
  ): boolean {
    const { memos } = this.#replica;
    const { batchId, sourceNodeId, targetNodeId, cursor, pending, report, changes } = batch;
    const sent = { batchId: `kept-${batchId}`, sourceNodeId, targetNodeId, cursor, pending, report, changes, limit: 1 };
    const bytes = utf8Bytes(JSON.stringify(changes));
    const before = [...this.#batches.values()].reduce((sum, one) => sum + one.bytes, 0);
    if (before + bytes > LIMITS.keptBytes || this.#batches.size >= LIMITS.keptBatches) return false;
    const kept: KeptBatch = { kind: 'kept', atMs: this.#clock.nowMs(), sessionId, caller, batch: sent, bytes };
    const counter = this.#replica.showBeside(changes, (counter) => {
      memos.put(String(counter), kept);
      this.#saveList([...this.#batches.keys(), counter]);
    });
    this.#batches.set(counter, kept);
    return true;
  }

  #saveList(counters: readonly number[]): void {
    this.#replica.memos.put('', { kind: 'kept-list', atMs: this.#clock.nowMs(), counters });
  }

  /** A change that may be shown; of what the cloud would refuse, only the cloud may say so. */
  #readable(envelope: IncomingBatch['changes'][number], { writeTypes }: Caller): Change | undefined {
    const parsed =
      contentProblem(envelope, LIMITS.changeDepth) === undefined ? changeSchema.safeParse(envelope) : undefined;
    if (parsed?.success !== true || parsed.data.consistency === 'strong') return undefined;
    const change = parsed.data;
    if (writeTypes !== undefined && !writeTypes.includes(change.entityType)) return undefined;
    const policy = policyFor(this.#policies, change.entityType);
    return change.data !== undefined && recordProblem(change.data, policy) !== undefined ? undefined : change;
  }
}

function isAll(unit: readonly Change[]): boolean {
  return unit.every(({ transaction }) => transaction === undefined || isWhole(transaction, unit.map(dotOf)));
}

function checkAuthor({ sourceNodeId, changes }: IncomingBatch, sessionId: string, caller: Caller): void {
  const isOwn = (nodeId: NodeId) => caller.nodeId === undefined || caller.nodeId === nodeId;
  if (nodeOfSession(sessionId) !== sourceNodeId || !isOwn(sourceNodeId)) {
    throw new SyncError('session_mismatch', `the session is not of ${sourceNodeId}`);
  }
  for (const change of changes) {
    if (dotOf(change).node !== sourceNodeId && !caller.relay)
      throw new SyncError('forbidden', `${sourceNodeId} may not send changes of ${change.nodeId}`);
  }
}
