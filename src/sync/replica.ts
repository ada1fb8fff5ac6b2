import { assert, assertNever } from '../core/assert.ts';
import { type Change, type ChangeContent, dotOf, type Priority } from '../core/change.ts';
import { applyOperations, mergePatchOperations, type Operation } from '../core/delta.ts';
import { digestTotal, EMPTY_DIGEST, replaceInDigest } from '../core/digest.ts';
import { formatDot } from '../core/dot.ts';
import { add, type DotSet, EMPTY_DOT_SET, has, union } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import { HLC_START, type HlcState, observe, type Stamp, stampOf, tick } from '../core/hlc.ts';
import { CLOUD, type EntityId, type EntityKey, type EntityType, entityKey, type NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { outcomeOf } from '../core/outcome.ts';
import { type Policies, policyFor } from '../core/policy.ts';
import { isMet, type Precondition } from '../core/precondition.ts';
import { EMPTY_CLOCK, entry, merge, type VectorClock } from '../core/vector-clock.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type {
  Batch,
  BatchAnswer,
  ChangeResult,
  HandshakeAnswer,
  HandshakeRequest,
  RemoteChange,
} from '../protocol/messages.ts';
import { checkRecord, utf8Bytes } from '../protocol/record.ts';
import { OfflineQueue, type QueueStats } from './offline-queue.ts';
import type { Clock, QueuedChange, ReplicaMeta, ReplicaStore, Session, StagedPage } from './ports.ts';

export interface ReplicaOptions {
  readonly store: ReplicaStore;
  readonly nodeId: NodeId;
  readonly policies: Policies;
  readonly clock: Clock;
}

/** What a caller wants done to one entity. */
export type Write = { readonly entityType: EntityType; readonly entityId: EntityId } & WriteContent & WriteOptions;

export type WriteContent =
  | { readonly kind: 'put'; readonly data: JsonObject }
  | { readonly kind: 'patch'; readonly operations: readonly Operation[] }
  | { readonly kind: 'merge-patch'; readonly patch: JsonObject }
  | { readonly kind: 'delete' };

export interface WriteOptions extends Precondition {
  readonly priority?: Priority | undefined;
}

/** What a reader sees of an entity that is there. */
export interface View {
  readonly data: JsonObject;
  readonly version: string;
  readonly stamp: Stamp;
  /** Whether the cloud has all that this replica shows. */
  readonly synced: boolean;
}

export interface Written {
  readonly changeId: string;
  readonly version: string;
  readonly created: boolean;
  /** The record after the write; null: deleted. */
  readonly data: JsonObject | null;
}

/** What an exchange brought, once it reached the head. */
export interface Confirmation {
  readonly downloaded: number;
  readonly results: readonly ChangeResult[];
  readonly digestMismatch: boolean;
}

/**
 * A replica: `visible = fold(confirmed, pending)`. `confirmed` is the cloud's history up to the cursor and nothing
 * else; `pending` is the queue. A write is one row in the queue, so the record and the queue can't part.
 * `design.md`, section 1.
 */
export class Replica {
  readonly nodeId: NodeId;
  readonly #store: ReplicaStore;
  readonly #policies: Policies;
  readonly #clock: Clock;
  readonly #queue: OfflineQueue;
  #meta: ReplicaMeta;
  #hlc: HlcState;
  /** The counter of the newest change. */
  #counter: number;
  /** Where the next page begins: the cursor, or behind the pages that are staged, or 0 to begin anew. */
  #pullFrom: number;
  #stagedPages = 0;
  /** What the cloud said at the handshake that it has of this node; true of the state at its head. */
  #reported: DotSet = EMPTY_DOT_SET;
  /** Counters whose change is under way without being queued; no void, until there is no answer. */
  readonly #awaited = new Set<number>();

  constructor(options: ReplicaOptions) {
    this.nodeId = options.nodeId;
    this.#store = options.store;
    this.#policies = options.policies;
    this.#clock = options.clock;
    this.#meta = options.store.readMeta() ?? freshMeta(options.nodeId);
    assert(this.#meta.nodeId === options.nodeId, 'a store belongs to one node');

    const stored = options.store.readQueue();
    this.#queue = new OfflineQueue(stored);
    this.#counter = stored.reduce((max, { change }) => Math.max(max, dotOf(change).counter), this.#meta.counter);
    this.#hlc = stored.reduce((hlc, { change }) => observe(hlc, change.stamp, 0), this.#meta.hlc);

    this.#pullFrom = this.#meta.cursor;
    for (const { answer } of options.store.readStaged()) {
      this.#stagedPages += 1;
      this.#pullFrom = answer.cursor;
      this.#queue.markAnswered(answer.results.map(({ id }) => id));
    }
  }

  // --- what is known ---

  get meta(): ReplicaMeta {
    return this.#meta;
  }

  /** The cloud's time, as far as this node can tell, ms. */
  nowMs(): number {
    return this.#clock.nowMs() + this.#meta.clockOffsetMs;
  }

  /** What a reader of this replica has seen. Two entries, however many nodes there are. */
  vectorClock(): VectorClock {
    return { [CLOUD]: this.#meta.cursor, ...(this.#counter > 0 ? { [this.nodeId]: this.#counter } : {}) };
  }

  /** As {@link vectorClock}, without what the cursor says already: nothing of this node's own waits. */
  causalClock(): VectorClock {
    return this.#queue.hasUnsent() || this.queueStats().syncing > 0
      ? this.vectorClock()
      : { [CLOUD]: this.#meta.cursor };
  }

  /** Whether this replica can tell by itself that it has all that `clock` has. */
  covers(clock: VectorClock): boolean {
    return Object.entries(clock).every(([node, counter]) => {
      if (counter === 0) return true;
      if (node === CLOUD) return this.#meta.cursor >= counter;
      return node === this.nodeId && this.#counter >= counter;
    });
  }

  queueStats(): QueueStats {
    return this.#queue.stats(this.nowMs());
  }

  queued(): Iterable<QueuedChange> {
    return this.#queue.all();
  }

  hasUnsent(): boolean {
    return this.#queue.hasUnsent() || this.#voids().length > 0;
  }

  // --- reads ---

  read(key: EntityKey): View | undefined {
    return this.#view(key, this.#store.readRecord(key));
  }

  /**
   * The entities of a type behind `after`, in the order of their ids. At most `limit`, and no more than
   * `LIMITS.listBytes` after the first; `next` is the id to go on behind, if there is more.
   */
  list(type: EntityType, after: string, limit: number): { items: (View & { entityId: EntityId })[]; next?: string } {
    const items: (View & { entityId: EntityId })[] = [];
    let bytes = 0;
    for (const { entityId, view } of this.#viewsOf(type, after, limit)) {
      bytes += JSON.stringify(view.data).length;
      const last = items.at(-1);
      if (last !== undefined && (items.length === limit || bytes > LIMITS.listBytes)) {
        return { items, next: last.entityId };
      }
      items.push({ ...view, entityId });
    }
    return { items };
  }

  // --- writes ---

  /**
   * Writes locally: durable in the queue, visible at once, not yet known to the cloud.
   *
   * @param after what the writer has seen beside what this replica shows.
   * @throws SyncError `not_found`, `precondition_failed`, `invalid_operation`, `invalid_data`, `too_large`,
   *   `too_deep`, `queue_full`. Nothing has changed then.
   */
  write(write: Write, after: VectorClock): Written {
    const key = entityKey(write);
    const before = this.read(key);
    checkPrecondition(before, write);
    const content = this.#localContent(write, before);
    // A record that was made from an older state than the caller has seen must not pass for a successor of that.
    const isMadeHere = write.kind === 'patch' || write.kind === 'merge-patch';
    const seen = isMadeHere && !this.covers(after) ? EMPTY_CLOCK : after;
    const change = this.#make(write, content, seen, this.#counter + 1);
    const bytes = utf8Bytes(JSON.stringify(change));
    if (this.#queue.bytes + bytes > LIMITS.queueBytes) {
      throw new SyncError('queue_full', `${this.#queue.bytes} bytes wait for the cloud; the write was not accepted`, {
        retryAfterMs: 30_000,
      });
    }
    const queued: QueuedChange = {
      change,
      queuedAtMs: this.nowMs(),
      bytes,
      retryCount: 0,
      lastAttemptMs: null,
      error: null,
    };
    this.#store.transaction(() => this.#store.writeQueued(queued));
    this.#took(change);
    this.#queue.put(queued);
    return { changeId: change.id, version: change.id, created: before === undefined, data: content.data ?? null };
  }

  /**
   * Makes a change that somebody waits for. It is not queued, and not visible before the cloud has it. Until
   * {@link endStrong} its counter is neither sent as void nor used again.
   */
  beginStrong(write: Write, after: VectorClock): Change {
    const before = this.read(entityKey(write));
    const policy = policyFor(this.#policies, write.entityType);
    if (write.kind === 'put') checkRecord(write.data, policy);
    const counter = this.#counter + 1;
    const change: Change = {
      ...this.#make(write, strongContent(write, before), after, counter),
      consistency: 'strong',
      ifMatch: write.ifMatch,
      ifNoneMatch: write.ifNoneMatch,
    };
    // The counter is spent before it is sent: after a crash it is void, and never stands for another change.
    this.#saveMeta({ counter, voids: [...this.#meta.voids, [counter, counter]] });
    this.#took(change);
    this.#awaited.add(counter);
    return change;
  }

  /** Nobody waits for the change any more; if no answer came, its counter is void from now on. */
  endStrong(change: Change): void {
    this.#awaited.delete(dotOf(change).counter);
  }

  // --- sync ---

  saveSession(session: Session | null): void {
    this.#saveMeta({ session });
  }

  handshakeRequest(): HandshakeRequest {
    return {
      vectorClock: this.vectorClock(),
      cursor: this.#meta.cursor,
      epoch: this.#meta.epoch,
      lastSyncTimestamp: Math.max(0, Math.floor(this.#meta.lastSyncMs)),
      pendingChangesCount: this.queueStats().pending,
      digest: digestTotal(this.#meta.digest),
    };
  }

  /** Takes over what the cloud said: its history's identity, its time, and what it has of this node. */
  adopt(answer: HandshakeAnswer, sentAtMs: number, answeredAtMs: number): void {
    const clockOffsetMs = Math.round(answer.serverTime - (sentAtMs + answeredAtMs) / 2);
    this.#reported = answer.received;
    const isOtherHistory = this.#meta.epoch !== answer.epoch;
    this.#store.transaction(() => {
      if (this.#meta.epoch === null) this.#renumberBehind(answer.received);
      if (isOtherHistory || answer.mode === 'snapshot') this.#beginAnew();
      this.#saveMeta({
        clockOffsetMs,
        epoch: answer.epoch,
        counter: this.#counter,
        ...(isOtherHistory ? { cursor: 0, received: EMPTY_DOT_SET } : {}),
      });
    });
  }

  /**
   * The next batch: what waits, in order, then the changes that somebody waits for, and the cursor to pull from. What it
   * takes of the queue is `syncing` until it is answered.
   */
  nextBatch(batchId: string, bounds: { maxChanges: number; maxBytes: number }, strong: readonly Change[]): Batch {
    const room = { ...bounds, maxChanges: Math.max(0, bounds.maxChanges - strong.length) };
    const selected = this.#queue.select({ ...room, first: new Set(strong.map(entityKey)) });
    this.#queue.markInFlight(selected.map(({ id }) => id));
    const voids = this.#voids();
    return {
      batchId,
      sourceNodeId: this.nodeId,
      targetNodeId: CLOUD,
      cursor: this.#pullFrom,
      lastSyncTimestamp: Math.max(0, Math.floor(this.#meta.lastSyncMs)),
      changes: [...selected, ...strong],
      ...(voids.length === 0 ? {} : { void: voids }),
      pending: this.queueStats().pending,
    };
  }

  /** The batch under way failed: what it took waits again. */
  releaseBatch(): void {
    this.#queue.markInFlight([]);
  }

  /**
   * Takes an answer. A page that isn't the last is only kept; with the last one all of them become visible, and what
   * was acknowledged leaves the queue, in one transaction.
   *
   * @param askedAtMs when the batch left, by {@link nowMs}: everything until then is here once the head is reached.
   */
  confirm(batch: Batch, answer: BatchAnswer, askedAtMs: number): Confirmation | undefined {
    if (!answer.more) return this.#reachHead({ batch, answer }, askedAtMs);
    assert(answer.cursor > batch.cursor, 'a page that is not the last goes forward');
    this.#store.transaction(() => this.#store.writeStaged(this.#stagedPages, { batch, answer }));
    this.#stagedPages += 1;
    this.#pullFrom = answer.cursor;
    this.#queue.markInFlight([]);
    this.#queue.markAnswered(answer.results.map(({ id }) => id));
    return undefined;
  }

  // --- the head ---

  #reachHead(last: StagedPage, askedAtMs: number): Confirmation {
    const head = this.#store.transaction(() => {
      const merged = this.#mergePages(last);
      const { settled, dead } = this.#settle(merged.results);
      const digestMismatch = last.answer.digest !== undefined && last.answer.digest !== digestTotal(merged.digest);
      const meta: ReplicaMeta = {
        ...this.#meta,
        cursor: last.answer.cursor,
        counter: this.#counter,
        voids: this.#meta.voids.filter(([counter]) => !merged.told.has(counter)),
        received: merged.received,
        digest: merged.digest,
        hlc: merged.hlc,
        asOfMs: askedAtMs,
        lastSyncMs: this.nowMs(),
        digestMismatches: this.#meta.digestMismatches + (digestMismatch ? 1 : 0),
      };
      const isNews = merged.downloaded + merged.results.length > 0 || meta.cursor !== this.#meta.cursor;
      if (isNews || digestMismatch || this.#stagedPages > 0) this.#store.writeMeta(meta);
      if (this.#stagedPages > 0) this.#store.clearStaged();
      return { ...merged, settled, dead, digestMismatch, meta };
    });

    this.#meta = head.meta;
    this.#hlc = head.meta.hlc;
    this.#stagedPages = 0;
    for (const id of head.settled) this.#queue.remove(id);
    for (const queued of head.dead) this.#queue.put(queued);
    this.#queue.markInFlight([]);
    this.#queue.forgetAnswered();
    this.#reported = EMPTY_DOT_SET;
    // A state that isn't the cloud's is mended by reading all of it again.
    this.#pullFrom = head.digestMismatch ? 0 : head.meta.cursor;
    return { downloaded: head.downloaded, results: head.results, digestMismatch: head.digestMismatch };
  }

  /** Writes what the pages of a pull brought into the confirmed state, one page after the other. */
  #mergePages(last: StagedPage) {
    let digest = this.#meta.digest;
    let hlc = this.#hlc;
    let received = union(this.#meta.received, this.#reported);
    let downloaded = 0;
    const now = this.nowMs();
    /** The seq at which each entity came. */
    const pulled = new Map<EntityKey, number>();
    const told = new Set<number>();
    const answered: { change: Change; result: ChangeResult }[] = [];
    const put = (key: EntityKey, next: EntityVersion): void => {
      digest = replaceInDigest(digest, this.#store.readRecord(key), next);
      if (next.data === null) this.#store.removeRecord(key);
      else this.#store.writeRecord(next);
    };

    let from: number | undefined;
    for (const { batch, answer } of this.#pages(last)) {
      from ??= batch.cursor;
      downloaded += answer.changes.length;
      for (const remote of answer.changes) {
        hlc = observe(hlc, remote.stamp, now);
        pulled.set(entityKey(remote), remote.seq);
        put(entityKey(remote), versionOf(remote));
      }
      const upTo = entry(answer.vectorClock, this.nodeId);
      if (upTo > 0) received = add(received, 1, upTo);
      for (const [first, to] of batch.void ?? [])
        for (let counter = first; counter <= to; counter += 1) told.add(counter);
      const changes = new Map(batch.changes.map((change) => [change.id, change]));
      for (const result of answer.results) {
        const change = changes.get(result.id);
        if (change !== undefined) answered.push({ change, result });
      }
    }

    const kept = new Set(pulled.keys());
    for (const { change, result } of answered) {
      if (isFinal(result)) {
        received = add(received, dotOf(change).counter);
        told.add(dotOf(change).counter);
      }
      // The entity may have come in an earlier page, before this change, or with it or something later.
      if (result.status !== 'applied' || (pulled.get(entityKey(change)) ?? 0) >= (result.seq ?? 0)) continue;
      const version = this.#promoted(change, result);
      if (version !== undefined) put(entityKey(change), version);
      kept.add(entityKey(change));
    }
    // What began at 0 is all there is: what it didn't name is gone.
    if (from === 0) {
      for (const key of this.#store.recordKeys()) {
        if (kept.has(key)) continue;
        digest = replaceInDigest(digest, this.#store.readRecord(key), undefined);
        this.#store.removeRecord(key);
      }
    }
    return { digest, hlc, received, downloaded, told, results: answered.map(({ result }) => result) };
  }

  *#pages(last: StagedPage): Iterable<StagedPage> {
    if (this.#stagedPages > 0) yield* this.#store.readStaged();
    yield last;
  }

  /** What was answered leaves the queue, or stays there dead, with its reason. */
  #settle(results: readonly ChangeResult[]): { settled: string[]; dead: QueuedChange[] } {
    const settled: string[] = [];
    const dead: QueuedChange[] = [];
    for (const result of results) {
      const queued = this.#queue.get(result.id);
      if (queued === undefined || !isFinal(result)) continue;
      if (result.status === 'rejected') {
        const error = { code: result.code ?? 'bad_request', detail: result.detail ?? '' };
        dead.push({ ...queued, error, lastAttemptMs: this.nowMs() });
      } else {
        settled.push(result.id);
      }
    }
    for (const id of settled) this.#store.removeQueued(id);
    for (const queued of dead) this.#store.writeQueued(queued);
    return { settled, dead };
  }

  /** What the cloud made of a change that it took as it was, and so doesn't send back. */
  #promoted(change: Change, result: ChangeResult): EntityVersion | undefined {
    if (result.seq === undefined) return undefined;
    const before = this.#store.readRecord(entityKey(change));
    const outcome = outcomeOf(before, { ...change, base: { [CLOUD]: result.seq } }, this.#policy(change));
    // What the cloud applied to its state applies to the same state here. If not, the digests will tell, and mend it.
    if (outcome.kind !== 'advance') return undefined;
    return {
      entityType: change.entityType,
      entityId: change.entityId,
      data: outcome.data,
      seq: result.seq,
      version: result.version ?? change.id,
      stamp: result.stamp ?? change.stamp,
    };
  }

  /** The next pull reads everything; what is confirmed stays visible until it has. */
  #beginAnew(): void {
    this.#store.clearStaged();
    this.#stagedPages = 0;
    this.#pullFrom = 0;
    this.#queue.forgetAnswered();
  }

  /**
   * A node that lost its storage and wrote before it could ask where it had been: nothing in its queue was ever sent,
   * and its counters may stand for changes of its former life. They get new ones.
   */
  #renumberBehind(received: DotSet): void {
    const last = received.extra.at(-1)?.[1] ?? received.upTo;
    if (last === 0) return;
    this.#counter = Math.max(this.#counter, last);
    for (const queued of [...this.#queue.all()]) {
      this.#counter += 1;
      const { change } = queued;
      const id = formatDot({ node: this.nodeId, counter: this.#counter });
      const base = { ...change.base, [this.nodeId]: this.#counter - 1 };
      this.#store.removeQueued(change.id);
      this.#queue.remove(change.id);
      const renumbered: QueuedChange = { ...queued, change: { ...change, id, base } };
      this.#store.writeQueued(renumbered);
      this.#queue.put(renumbered);
    }
  }

  // --- the fold ---

  #view(key: EntityKey, confirmed: EntityVersion | undefined): View | undefined {
    let current = confirmed;
    let synced = true;
    for (const { change } of this.#queue.of(key)) {
      // In the confirmed state already, though the answer that said so was lost.
      if (has(this.#meta.received, dotOf(change).counter)) continue;
      synced = false;
      current = this.#predict(current, change);
    }
    if (current === undefined || current.data === null) return undefined;
    return { data: current.data, version: current.version, stamp: current.stamp, synced };
  }

  #predict(current: EntityVersion | undefined, change: Change): EntityVersion | undefined {
    const outcome = outcomeOf(current, change, this.#policy(change));
    const { entityType, entityId, stamp } = change;
    const next = (data: JsonObject | null): EntityVersion => {
      return { entityType, entityId, data, seq: current?.seq ?? 0, version: change.id, stamp };
    };
    switch (outcome.kind) {
      case 'advance':
        return next(outcome.data);
      case 'agreement':
        return outcome.winner === 'remote' ? next(outcome.data) : current;
      case 'conflict':
        return outcome.resolution.winner === 'remote' ? next(outcome.resolution.resolvedData) : current;
      case 'no-op':
      case 'needs-full':
      case 'refused':
        return current;
      default:
        return assertNever(outcome);
    }
  }

  *#viewsOf(type: EntityType, after: string, limit: number): Generator<{ entityId: EntityId; view: View }> {
    const pending = this.#queue.idsOf(type);
    let from = after;
    for (;;) {
      const records = this.#store.listRecords(type, from, limit + 1);
      const end = records.length > limit ? records.at(-1)?.entityId : undefined;
      const confirmed = new Map(records.map((record) => [record.entityId as string, record]));
      const created = pending.filter((id) => id > from && (end === undefined || id <= end) && !confirmed.has(id));
      for (const id of [...confirmed.keys(), ...created].sort()) {
        const entityId = id as EntityId;
        const view = this.#view(entityKey({ entityType: type, entityId }), confirmed.get(id));
        if (view !== undefined) yield { entityId, view };
      }
      if (end === undefined) return;
      from = end;
    }
  }

  // --- changes ---

  #localContent(write: Write, before: View | undefined): ChangeContent {
    if (write.kind === 'put') {
      checkRecord(write.data, this.#policy(write));
      return { operation: before === undefined ? 'create' : 'update', data: write.data };
    }
    if (before === undefined) throw notFound(write);
    if (write.kind === 'delete') return { operation: 'delete' };
    const operations = write.kind === 'patch' ? write.operations : mergePatchOperations(before.data, write.patch);
    const applied = applyOperations(before.data, operations);
    if (!applied.ok) {
      const code = applied.reason === 'too-deep' ? 'too_deep' : 'invalid_operation';
      throw new SyncError(code, `operation ${applied.index}: ${applied.detail}`);
    }
    checkRecord(applied.data, this.#policy(write));
    return { operation: 'update', data: applied.data };
  }

  #make(write: Write, content: ChangeContent, after: VectorClock, counter: number): Change {
    const now = this.nowMs();
    const seen = { [CLOUD]: this.#meta.cursor, ...(counter > 1 ? { [this.nodeId]: counter - 1 } : {}) };
    return {
      id: formatDot({ node: this.nodeId, counter }),
      entityType: write.entityType,
      entityId: write.entityId,
      ...content,
      base: merge(after, seen),
      stamp: stampOf(tick(this.#hlc, now), this.nodeId),
      timestamp: now,
      nodeId: this.nodeId,
      priority: write.priority ?? this.#policy(write).priority,
    };
  }

  #took(change: Change): void {
    this.#counter = dotOf(change).counter;
    this.#hlc = observe(this.#hlc, change.stamp, 0);
  }

  #policy(entity: { readonly entityType: EntityType }) {
    return policyFor(this.#policies, entity.entityType);
  }

  #voids(): (readonly [number, number])[] {
    return this.#meta.voids.filter(([from]) => !this.#awaited.has(from));
  }

  #saveMeta(changed: Partial<ReplicaMeta>): void {
    const meta = { ...this.#meta, ...changed };
    this.#store.transaction(() => this.#store.writeMeta(meta));
    this.#meta = meta;
  }
}

function freshMeta(nodeId: NodeId): ReplicaMeta {
  return {
    nodeId,
    epoch: null,
    cursor: 0,
    counter: 0,
    voids: [],
    received: EMPTY_DOT_SET,
    digest: EMPTY_DIGEST,
    hlc: HLC_START,
    clockOffsetMs: 0,
    asOfMs: 0,
    lastSyncMs: 0,
    session: null,
    digestMismatches: 0,
  };
}

/** A strong write says what it wants of the state that it will meet, and not what this replica would make of it. */
function strongContent(write: Write, before: View | undefined): ChangeContent {
  switch (write.kind) {
    case 'put':
      return { operation: before === undefined ? 'create' : 'update', data: write.data };
    case 'patch':
      return { operation: 'update', operations: write.operations };
    case 'merge-patch':
      return { operation: 'update', operations: mergePatchOperations(before?.data ?? {}, write.patch) };
    case 'delete':
      return { operation: 'delete' };
    default:
      return assertNever(write);
  }
}

function checkPrecondition(before: View | undefined, precondition: Precondition): void {
  if (isMet(precondition, before?.version)) return;
  const current = before?.version;
  throw new SyncError('precondition_failed', `the current version is ${current ?? 'none'}`, { current });
}

/** Whether the cloud has spoken its last word on the change. */
function isFinal({ status }: ChangeResult): boolean {
  return status !== 'needs-full' && status !== 'conflict';
}

function notFound(write: Write): SyncError {
  return new SyncError('not_found', `there is no ${write.entityType}/${write.entityId}`);
}

function versionOf(remote: RemoteChange): EntityVersion {
  const { entityType, entityId, seq, version, stamp } = remote;
  return { entityType, entityId, seq, version, stamp, data: remote.data ?? null };
}
