import type { CausalContext } from '../core/causal-context.ts';
import type { Change } from '../core/change.ts';
import type { Resolution } from '../core/conflict.ts';
import type { Digest } from '../core/digest.ts';
import type { DotSet } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import type { HlcState, Stamp } from '../core/hlc.ts';
import type { CLOUD, EntityId, EntityKey, EntityType, NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { TypeFilter } from '../core/type-filter.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type {
  Batch,
  BatchAnswer,
  ChangeResult,
  ConnectAnswer,
  ConnectRequest,
  HandshakeAnswer,
  HandshakeRequest,
  NodeReport,
} from '../protocol/messages.ts';
import type { Refusal } from '../protocol/record.ts';
import type { Caller } from './caller.ts';
import type { Wait } from './wait.ts';
import type { Written } from './write.ts';

/** What the engine is given. It never reads time, randomness, storage or network by itself. */

export interface Clock {
  /** Milliseconds since 1970; may jump either way. */
  nowMs(): number;
  /** Ends after `ms`, or at once when the signal is aborted: a wait that nobody needs keeps no object in memory. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Structured logs. `error`: an invariant broke, somebody must look. `fields` are JSON. */
export interface Logger {
  error(event: string, fields: Readonly<Record<string, unknown>>): void;
}

export interface Entropy {
  /** A name that nobody guesses or makes again: 128 bits, in characters that fit a header. */
  id(): string;
  /** Uniform in [0, 1). */
  fraction(): number;
}

/**
 * Storage of one object. Everything is synchronous, and what `transaction` ran is there as a whole or not at all; a
 * transaction within a transaction is part of it. What is acknowledged is durable: either at once, or because the
 * answer is held back until it is (a Durable Object's output gate).
 */
export interface Transactional {
  transaction<T>(body: () => T): T;
}

/**
 * What is remembered for a day, for who may ask again: what an idempotent write did, at the node that took it or in the
 * cloud, and where a session is.
 */
export type Memo = { readonly atMs: number } & (
  | {
      readonly kind: 'written';
      readonly hash: string;
      /** Null: it was for the cloud to do, and that remembers what it did. */
      readonly written: readonly Written[] | null;
    }
  | { readonly kind: 'result'; readonly hash: string; readonly result: ChangeResult }
  | {
      readonly kind: 'session';
      /** The node that it is at, or the cloud; null: another one than this. */
      readonly home: NodeId | typeof CLOUD | null;
      /** What it had seen before it came there. */
      readonly after: CausalContext;
      /** At the cloud: how often it has come to a node. */
      readonly turn?: number | undefined;
      /** At a node: when the cloud was last told that it is there; undefined: never. */
      readonly toldAtMs?: number | undefined;
    }
  /** Why a change was refused that is no longer in the queue; `again`: as what it was sent again; `by`: by which key. */
  | {
      readonly kind: 'dead';
      readonly error: NonNullable<QueuedChange['error']>;
      readonly again?: string | undefined;
      readonly by?: string | undefined;
    }
  /** A batch of a node below, which is to go to the cloud as that node's; under the counter that stands for it here. */
  | {
      readonly kind: 'kept';
      readonly sessionId: string;
      readonly caller: Caller;
      readonly batch: Omit<Batch, 'changes'> & { readonly changes: readonly Change[] };
      readonly bytes: number;
    }
  | { readonly kind: 'kept-list'; readonly counters: readonly number[] }
  /** Sessions that are to be called to this node. */
  | { readonly kind: 'untold'; readonly names: readonly string[] }
);

export interface MemoStore {
  readMemo(key: string): Memo | undefined;
  writeMemo(key: string, memo: Memo): void;
  /** Those that were written before. */
  forgetMemos(beforeMs: number): void;
}

/** A replica's storage: what the cloud confirmed, what it hasn't yet, and the rest in one row. */
export interface ReplicaStore extends Transactional, MemoStore {
  readMeta(): ReplicaMeta | undefined;
  writeMeta(meta: ReplicaMeta): void;

  readRecord(key: EntityKey): EntityVersion | undefined;
  /** Of one type, in the order of their ids (code units), beginning behind `after`. */
  listRecords(type: EntityType, after: string, limit: number): EntityVersion[];
  recordKeys(): Iterable<EntityKey>;
  countRecords(): number;
  writeRecord(record: EntityVersion): void;
  removeRecord(key: EntityKey): void;

  /** In their order; but for those that are settled: up to a counter, and not dead. */
  readQueue(settledUpTo: number): QueuedChange[];
  /** Writes the row of the change's slot, whatever was in it. */
  writeQueued(queued: QueuedChange): void;
  removeQueued(slot: number): void;
  /** Slots of settled changes, which may be used again: at most `limit`, in order, behind `after`. */
  settledSlots(settledUpTo: number, after: number, limit: number): number[];
  /** The highest slot that was ever used; 0: none. */
  lastSlot(): number;

  /** Pages of a pull that has not reached the head yet, in order. */
  readStaged(): Iterable<StagedPage>;
  writeStaged(index: number, page: StagedPage): void;
  clearStaged(): void;
}

export interface ReplicaMeta {
  readonly nodeId: NodeId;
  /** Names this storage, among those that a node of this name has had; undefined: it was never asked for. */
  readonly life?: string | undefined;
  /** Whose records and queue these are, as the client's token says; undefined: nobody said. */
  readonly owner?: string | undefined;
  /** Set until the first head: see `Change.ownFrom`. */
  readonly ownFrom?: number | undefined;
  readonly epoch: string | null;
  /** The epoch that bases in the queue are of, while none is known: that of the first token that came. */
  readonly presumedEpoch?: string | undefined;
  /** Everything up to here is confirmed, nothing else. */
  readonly cursor: number;
  /** The counter of the last change made here that is no longer in the queue, at least. */
  readonly counter: number;
  /** No change behind this place in the order has ever been in a batch; undefined: nobody knows of any. */
  readonly sentTo?: number | undefined;
  /** Counters of this node that it has heard the cloud's last word on, or that will never be sent. */
  readonly settled: DotSet;
  /** Up to which counter all was settled at a time; one an hour, oldest first. */
  readonly settledAt: readonly (readonly [atMs: number, upTo: number])[];
  /** What the cloud has of this node, as far as it is known. */
  readonly received: DotSet;
  readonly digest: Digest;
  readonly hlc: HlcState;
  /** What to add to the own clock to have the cloud's, ms. */
  readonly clockOffsetMs: number;
  /** When this replica last knew that it had everything that it asks for; 0: never. */
  readonly asOfMs: number;
  readonly lastSyncMs: number;
  readonly session: Session | null;
  /** A long one, after a failure. */
  readonly wait?: Wait | undefined;
  /** What this node asks for, in every session. */
  readonly filter?: TypeFilter<EntityType>;
  /** What the confirmed state is of: no more than was asked for, nor than the token allows. */
  readonly types?: TypeFilter;
  /** How often state and cloud didn't agree at the same cursor, and were mended. */
  readonly digestMismatches: number;
  /** Of how many dead changes the cloud was last told; undefined: none. */
  readonly deadTold?: number | undefined;
}

export interface Session {
  readonly id: string;
  readonly expiresAtMs: number;
  readonly maxBatchChanges: number;
  readonly maxBatchBytes: number;
  /** What both sides can. */
  readonly protocol: number;
  readonly capabilities: readonly string[];
}

/**
 * A change of this node, from the moment it was acknowledged until the cloud's word on it has arrived; and after that
 * its row stays, to be given back to a cloud that lost it, until its slot is used again.
 */
export interface QueuedChange {
  /** The row that it is in. */
  readonly slot: number;
  /** Its place among the changes of this node. */
  readonly order: number;
  readonly change: Change;
  /** The first counter that went into it; undefined: it is as it was made. */
  readonly since?: number | undefined;
  readonly queuedAtMs: number;
  readonly bytes: number;
  /** How often the cloud has failed at it. */
  readonly retryCount: number;
  readonly lastAttemptMs: number | null;
  /** Of the last try that failed. */
  readonly failure?: { readonly code: ErrorCode; readonly detail: string } | undefined;
  /** A whole batch has failed for it. */
  readonly isBlamed?: boolean | undefined;
  /** The cloud needs the whole record, not only the operations. */
  readonly needsFull?: boolean | undefined;
  /** The storage went back, and the cloud has something under its counter. */
  readonly isDoubtful?: boolean | undefined;
  /** One that it was made on is dead: its operations need not make its record. */
  readonly isLoose?: boolean | undefined;
  /** Set: the change is dead, and this is why. */
  readonly error: { readonly code: string; readonly detail: string } | null;
}

export interface StagedPage {
  readonly batch: Batch;
  readonly answer: BatchAnswer;
}

/** The cloud's storage. */
export interface CloudStore extends Transactional, MemoStore {
  readMeta(): CloudMeta | undefined;
  writeMeta(meta: CloudMeta): void;

  readEntity(key: EntityKey): EntityVersion | undefined;
  writeEntity(entity: EntityVersion): void;
  /** The feed: the last state of each entity that changed after `seq`, in order of `seq`, tombstones included. */
  readAfter(seq: number, limit: number): EntityVersion[];

  readNode(nodeId: NodeId): NodeRecord | undefined;
  writeNode(node: NodeRecord): void;
  /** In order (code units), behind `after`. */
  listNodeIds(after: string, limit: number): NodeId[];

  /** What was said of a change that was refused, so that it can be said again. */
  readRefusal(changeId: string): Refusal | undefined;
  writeRefusal(changeId: string, refusal: Refusal): void;

  readConflict(id: string): ConflictRecord | undefined;
  /** No two conflicts have the same revision. */
  writeConflict(conflict: ConflictRecord): void;
  /** The last state of each conflict that was written after `revision`, in order of `revision`. */
  readConflictsAfter(revision: number, limit: number): ConflictRecord[];
  /** In the order of their ids (code units). */
  listConflicts(filter: ConflictFilter): ConflictRecord[];
  countOpenConflicts(): number;
}

export interface CloudMeta {
  readonly epoch: string;
  /** Sequence number of the last change. */
  readonly seq: number;
  /** When it was made, ms. */
  readonly changedAtMs: number;
  readonly digest: Digest;
  readonly hlc: HlcState;
  /** How many conflicts there have been; the last one's number. */
  readonly conflicts: number;
  /** Rises with each write of any conflict; the last one's. */
  readonly conflictRevision: number;
  /** How far the projection has come in both feeds, as the cloud last heard. */
  readonly projected: { readonly seq: number; readonly conflictRevision: number; readonly atMs: number };
}

export interface NodeRecord {
  readonly nodeId: NodeId;
  readonly received: DotSet;
  /** Content hashes of its newest counters. */
  readonly hashes: readonly (readonly [counter: number, hash: string])[];
  readonly sessions: readonly NodeSession[];
  /** Newest first. */
  readonly answers: readonly { readonly batchId: string; readonly hash: string; readonly answer: BatchAnswer }[];
  /** Up to where the last answer went: what it has, unless that was lost. */
  readonly cursor: number;
  readonly lastSeenAtMs: number;
  readonly pending: number;
  /** How it was at its last exchange; undefined: it had nothing to say. */
  readonly report?: NodeReport | undefined;
  /** Records that it created and that got another id, newest last. */
  readonly renames?: readonly Rename[] | undefined;
  /** It has lost its storage: somebody may have seen what it had written under counters that it has given out again. */
  readonly isReborn?: true | undefined;
}

/** A session, as the cloud remembers it. */
export interface NodeSession {
  readonly id: string;
  readonly expiresAtMs: number;
  readonly capabilities: readonly string[];
  /** What the node asked for. */
  readonly filter?: TypeFilter<EntityType>;
  /** Of the node's storage; undefined: it didn't say. */
  readonly life?: string | undefined;
}

/** What the node wrote on `entityId` after `counter` without having seen `seq` is meant for `to`. */
export interface Rename {
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  readonly to: EntityId;
  readonly counter: number;
  readonly seq: number;
}

export interface ConflictRecord {
  readonly id: string;
  readonly type: string;
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  /** What both sides began with, where it is known. */
  readonly base: { readonly data: JsonObject } | null;
  readonly local: ConflictSide;
  readonly remote: ConflictSide;
  /** What holds now. Of an open conflict: what stays until somebody decides. */
  readonly resolution: Resolution;
  /** Who decided so; null: the policy. */
  readonly decidedBy: string | null;
  readonly decidedAtMs: number;
  readonly status: 'open' | 'resolved';
  /** When the two sides met. */
  readonly atMs: number;
  /** The entity's seq after the decision. */
  readonly seq: number;
  /** Earlier decisions, oldest first; the oldest give way at `LIMITS.pastDecisions`. */
  readonly history: readonly PastDecision[];
  /** Its place in the feed of conflicts: those written later have a higher one. */
  readonly revision: number;
}

/** A decision that another one has taken the place of. */
export interface PastDecision {
  readonly resolution: Resolution;
  readonly atMs: number;
  /** Null: the policy. */
  readonly by: string | null;
}

export interface ConflictSide {
  readonly version: string;
  readonly stamp: Stamp;
  readonly data: EntityVersion['data'];
}

export interface ConflictFilter {
  readonly status: 'open' | 'resolved' | 'all';
  /** Undefined: all. */
  readonly entityTypes?: readonly string[] | undefined;
  readonly after: string;
  readonly limit: number;
}

/** The way to the tier above. Each call is one round trip; it answers, or throws a `SyncError`. */
export interface Upstream {
  connect(request: ConnectRequest): Promise<Metered<ConnectAnswer>>;
  handshake(sessionId: string, request: HandshakeRequest): Promise<Metered<HandshakeAnswer>>;
  /** @param compress whether the other side takes what is compressed. */
  exchange(sessionId: string, batch: Batch, compress: boolean): Promise<Metered<BatchAnswer>>;
}

/** An answer, and what it and its request took on the wire. */
export interface Metered<T> extends MessageBytes {
  readonly value: T;
}

/** Bytes of messages, as they went over the wire, and before compression. */
export interface MessageBytes {
  readonly bytesUp: number;
  readonly bytesDown: number;
  readonly plainBytesUp: number;
  readonly plainBytesDown: number;
}

/** Where the projection writes. Applying the same page again changes nothing. */
export interface ProjectionSink {
  /** The cursors and epoch of what is there. */
  position(): Promise<{ epoch: string | null; seq: number; conflictRevision: number }>;
  apply(page: ProjectionPage): Promise<void>;
}

export interface ProjectionPage {
  readonly epoch: string;
  readonly entities: readonly EntityVersion[];
  readonly conflicts: readonly ConflictRecord[];
  /** Where the page ends in the feed of entities. */
  readonly seq: number;
  /** Where it ends in the feed of conflicts. */
  readonly conflictRevision: number;
  /** When the cloud had this as its head, ms; undefined: it had more by then. */
  readonly asOfMs: number | undefined;
}
