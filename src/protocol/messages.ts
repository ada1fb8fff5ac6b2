import * as z from 'zod';
import { type Change, PRIORITIES } from '../core/change.ts';
import type { Operation } from '../core/delta.ts';
import { formatDot, parseDot } from '../core/dot.ts';
import { type Stamp, toStamp } from '../core/hlc.ts';
import { CLOUD, type EntityId, type EntityType, type NodeId, toEntityId, toEntityType, toNodeId } from '../core/ids.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../core/json.ts';
import { isForbidden, parsePath } from '../core/path.ts';
import { MAX_METADATA_CHARS } from '../core/resolver.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import { type ErrorCode, isErrorCode } from './errors.ts';
import { LIMITS } from './limits.ts';
import { BAD_NAME } from './parse.ts';

/** The messages of the sync protocol, version 1 (`http.md`, section 5). Unknown fields are let pass and ignored. */

const text = (maxChars: number) => z.string().min(1).max(maxChars);
export const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);

export const nodeId = name<NodeId>(toNodeId, 'a node id, and not `cloud`');
export const entityType = name<EntityType>(toEntityType, 'an entity type');
const entityId = name<EntityId>(toEntityId, 'an entity id');
const stamp = z.custom<Stamp>((value) => typeof value === 'string' && toStamp(value) !== undefined, 'a stamp');
const dot = z.string().refine((value) => parseDot(value) !== undefined, 'a change id, <nodeId>:<counter>');
/** Not looked into: what a record may hold is checked where its type is known. */
export const record = z.custom<JsonObject>(isJsonObject, 'a JSON object');
const json = z.custom<JsonValue>((value) => value !== undefined, 'a JSON value');

export const vectorClock: z.ZodType<VectorClock> = z
  .record(
    z.string().refine((name) => name === CLOUD || toNodeId(name) !== undefined, 'a node id'),
    count,
  )
  .refine((clock) => Object.keys(clock).length <= LIMITS.clockEntries, `at most ${LIMITS.clockEntries} entries`);

const interval = z.tuple([count.min(1), count.min(1)]).refine(([from, to]) => from <= to, 'an interval [from, to]');
const intervals = z.array(interval).max(LIMITS.intervals);

const path = z.string().max(LIMITS.pathChars);
export const operation: z.ZodType<Operation> = z.discriminatedUnion('op', [
  z.object({ op: z.literal('set'), path, value: json }),
  z.object({ op: z.literal('unset'), path }),
  z.object({ op: z.literal('increment'), path, value: z.number() }),
  z.object({ op: z.literal('push'), path, value: json }),
  z.object({ op: z.literal('pull'), path, value: json }),
]);
/** Of a change: none where its writer changed nothing. */
const changeOperations = z.array(operation).max(LIMITS.operations);
export const operations = changeOperations.min(1);

/** Whether a message can have such operations: each by a path that is no longer than one may be, and through no forbidden name. */
export function canBeSent(all: readonly Operation[]): boolean {
  return all.every(({ path: text }) => text.length <= LIMITS.pathChars && !isForbidden(parsePath(text) ?? []));
}

export const priority = z.enum(PRIORITIES);

const changeHeader = {
  id: dot,
  covers: intervals.optional(),
  ownFrom: count.optional(),
  entityType,
  entityId,
  base: vectorClock,
  stamp,
  stamps: z.record(path, stamp).optional(),
  timestamp: count,
  nodeId,
  checksum: z.string().max(128).optional(),
  transaction: z.string().max(128).optional(),
  priority: priority.optional(),
  once: z.object({ key: text(64), hash: text(64) }).optional(),
  resolves: z
    .object({
      conflictId: text(128),
      attempts: count,
      reason: z.string().max(LIMITS.reasonChars),
      failure: z.string().max(LIMITS.reasonChars).optional(),
      metadata: record
        .refine((value) => JSON.stringify(value).length <= MAX_METADATA_CHARS, 'short metadata')
        .optional(),
    })
    .optional(),
  isDoubtful: z.literal(true).optional(),
  consistency: z.literal('strong').optional(),
  ifMatch: z.string().max(128).optional(),
  ifNoneMatch: z.string().max(128).optional(),
};

export const change: z.ZodType<Change> = z
  .union([
    z.object({ ...changeHeader, operation: z.literal('delete'), data: z.undefined().optional() }),
    z.object({ ...changeHeader, operation: z.literal('create'), data: record }),
    z.object({
      ...changeHeader,
      operation: z.literal('update'),
      data: record,
      operations: changeOperations.optional(),
    }),
    z.object({ ...changeHeader, operation: z.literal('update'), operations: changeOperations }),
    z.object({ ...changeHeader, operation: z.literal('update'), mergePatch: record }),
  ])
  .refine((value) => value.id.startsWith(`${value.nodeId}:`), "the id is not of the change's nodeId");

/** What of a change has to be right for the rest to be answered for: who made it, and which one it is. */
export const changeEnvelope = z
  .looseObject({ id: dot, nodeId })
  .refine((value) => value.id === formatDot({ node: value.nodeId, counter: parseDot(value.id)?.counter ?? 0 }), {
    message: "the id is not of the change's nodeId",
  });

/** What is left of a change that its node gives up, and why: its counter is answered for, and it never takes effect. */
export const withdrawal = z.object({
  id: dot,
  nodeId,
  withdrawn: z.object({
    code: z.custom<ErrorCode>((value) => typeof value === 'string' && isErrorCode(value), 'an error code'),
    detail: z.string().max(LIMITS.reasonChars),
  }),
});
export type Withdrawal = z.infer<typeof withdrawal> & {
  readonly [Field in Exclude<keyof Change, 'id' | 'nodeId'>]?: undefined;
};

export const connectRequest = z.object({
  nodeId,
  protocol: z.number().int(),
  capabilities: z.array(text(64)).max(64).default([]),
  /** Of the node's storage, from its first write to its loss: what another one of that name had sent is not taken any more. */
  life: text(64).optional(),
  /** The only entity types that the node wants. */
  filter: z.object({ entityTypes: z.array(entityType).max(LIMITS.filterTypes) }).optional(),
});
export type ConnectRequest = z.input<typeof connectRequest>;

export const connectAnswer = z.object({
  sessionId: text(256),
  protocol: z.number().int(),
  capabilities: z.array(z.string()),
  expiresAt: count,
  limits: z.object({ maxBatchChanges: count.min(1), maxBatchBytes: count.min(1) }),
});
export type ConnectAnswer = z.infer<typeof connectAnswer>;

/** However many intervals the cloud has: a node that isn't told can't go on. Its record is one row, and so bounds them. */
const received = z.object({ upTo: count, extra: z.array(interval) });

export const handshakeRequest = z.object({
  vectorClock,
  cursor: count,
  /** Null: the node has never heard of one. */
  epoch: text(64).nullish(),
  lastSyncTimestamp: count.nullish(),
  pendingChangesCount: count.optional(),
  digest: z.string().max(64).nullish(),
});
export type HandshakeRequest = z.infer<typeof handshakeRequest>;

export const handshakeAnswer = z.object({
  /** `snapshot`: what the node holds is not a prefix of this history; it pulls from 0. */
  mode: z.enum(['incremental', 'snapshot']),
  vectorClock,
  cursor: count,
  epoch: text(64),
  received,
  serverTime: count,
  policies: json,
});
export type HandshakeAnswer = z.infer<typeof handshakeAnswer>;

/** How a node is. What is left out is none, or the usual. */
export const nodeReport = z.object({
  /** How many changes wait at it, the batch's not counted. */
  queue: z.partialRecord(priority, count).optional(),
  /** How long the oldest of them has waited. */
  oldestMs: count.optional(),
  /** How many are dead. */
  dead: count.optional(),
  /** What goes over its link, where that isn't everything. */
  plan: z.enum(['priority', 'critical']).optional(),
  /** How often its state was not the cloud's, ever. */
  digestMismatches: count.optional(),
  /** Over its link since it was started: up, down, and both before compression. */
  bytes: z.tuple([count, count, count, count]).optional(),
});
export type NodeReport = z.infer<typeof nodeReport>;

export const batch = z.object({
  batchId: text(128),
  sourceNodeId: nodeId,
  targetNodeId: z.literal(CLOUD),
  cursor: count,
  /** Up to where the node has everything, as it was there: what changed after that may come as operations. */
  since: count.optional(),
  /** The head when the node began to read from 0: of what was deleted by then it needs no tombstones. */
  snapshotHead: count.optional(),
  lastSyncTimestamp: count.nullish(),
  changes: z.array(changeEnvelope).max(LIMITS.batchChanges),
  void: intervals.optional(),
  limit: count.min(1).max(LIMITS.pageChanges).optional(),
  /** Of what the batch does; see `batchChecksum`. */
  checksum: z.string().max(128).optional(),
  /** Of the records that its deltas make, each as the version that its change is. */
  digest: z.string().max(64).optional(),
  /** The answer's `covered` tells whether the cloud has all of this. */
  requires: vectorClock.optional(),
  /** Whether somebody is there to be told of what comes next, by a poke. */
  live: z.boolean().optional(),
  /** How many changes wait at the node, this batch's not counted. */
  pending: count.optional(),
  /** For people: no part of what the batch does, so one that can't be read is none. */
  report: nodeReport.optional().catch(undefined),
  /** The counter of the node's newest change. */
  newest: count.optional(),
  /** The batch before this one, which a relay keeps: this one is for that relay alone, and the cloud, if it is back, leaves it. */
  behind: text(128).optional(),
});
/** As it arrives: its changes are looked at one by one. */
export type IncomingBatch = z.infer<typeof batch>;
/** As a node makes it. */
export type Batch = Omit<IncomingBatch, 'changes' | 'void'> & {
  readonly changes: readonly (Change | Withdrawal)[];
  readonly void?: readonly (readonly [from: number, to: number])[] | undefined;
};

export const changeResult = z.object({
  id: z.string(),
  status: z.enum([
    'applied',
    'merged',
    'superseded',
    'renamed',
    'duplicate',
    'rejected',
    'needs-full',
    'conflict',
    'deferred',
    'failed',
  ]),
  seq: count.optional(),
  version: z.string().optional(),
  conflictId: z.string().optional(),
  code: z.custom<ErrorCode>((value) => typeof value === 'string' && isErrorCode(value), 'an error code').optional(),
  detail: z.string().optional(),
  /** Of `code` `invalid_data`. */
  issues: z
    .array(z.object({ path: z.string(), message: z.string() }))
    .readonly()
    .optional(),
  /** Of `code` `precondition_failed`: the version that is there. */
  current: z.string().optional(),
  data: record.nullish(),
  entityId: z.string().optional(),
  /** Of a strong change: whether the entity wasn't there before. */
  created: z.boolean().optional(),
  /** The change that did this, by the same key. */
  firstId: z.string().optional(),
  /** The stamp that the cloud gave it, where that isn't the change's own: the node's clock was too far ahead. */
  stamp: stamp.optional(),
});
export type ChangeResult = z.infer<typeof changeResult>;

/** Whether the cloud has spoken its last word on the change. */
export function isFinal(result: ChangeResult): boolean {
  return !UNDECIDED.has(result.status) && !isBarred(result);
}

/** Whether the change may come again: not it was refused, but what the token of its node allows. */
export function isBarred({ status, code }: ChangeResult): boolean {
  return status === 'rejected' && code === 'forbidden';
}

const UNDECIDED: ReadonlySet<ChangeResult['status']> = new Set(['needs-full', 'conflict', 'deferred', 'failed']);

/** The last state of one entity, whole, or by what changed after the `since` of the batch. */
export const remoteChange = z.object({
  entityType,
  entityId,
  operation: z.enum(['create', 'update', 'delete']),
  seq: count.min(1),
  data: record.optional(),
  operations: z.array(operation).optional(),
  /** Of paths that `operations` set and that concurrent writes add to, what these do: see `WriteKind`. */
  kinds: z.record(z.string(), z.enum(['add', 'list'])).optional(),
  version: dot,
  stamp,
  /** The node whose write it is. */
  origin: z.string(),
});
export type RemoteChange = z.infer<typeof remoteChange>;

export const batchAnswer = z.object({
  batchId: z.string(),
  results: z.array(changeResult),
  changes: z.array(remoteChange),
  /** Up to where `changes` goes. */
  cursor: count,
  more: z.boolean(),
  vectorClock,
  serverTime: count,
  /** The only entity types that this answer is of, by the session's filter and the token. */
  types: z.array(z.string()).optional(),
  /** Of the cloud's whole state in these types, when `more` is false. */
  digest: z.string().optional(),
  covered: z.boolean().optional(),
  /** Of what is required and not there: how far it is. */
  lacks: vectorClock.optional(),
  /** The cloud is out of reach, and has not answered: a relay has, which keeps a copy of what was sent. It says nothing of the history. */
  kept: z.literal(true).optional(),
});
export type BatchAnswer = z.infer<typeof batchAnswer>;

function name<Name extends string>(make: (text: string) => Name | undefined, what: string) {
  const isName = (value: unknown) => typeof value === 'string' && make(value) !== undefined;
  return z.custom<Name>(isName, { error: `not ${what}`, params: BAD_NAME });
}
