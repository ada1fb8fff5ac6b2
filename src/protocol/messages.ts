import * as z from 'zod/mini';
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

const text = (maxChars: number) => z.string().check(z.minLength(1), z.maxLength(maxChars));
const upTo = (maxChars: number) => z.string().check(z.maxLength(maxChars));
export const count = z.int().check(z.minimum(0));
const countFromOne = z.int().check(z.minimum(1));

export const nodeId = name<NodeId>(toNodeId, 'a node id, and not `cloud`');
export const entityType = name<EntityType>(toEntityType, 'an entity type');
const entityId = name<EntityId>(toEntityId, 'an entity id');
const stamp = z.custom<Stamp>((value) => typeof value === 'string' && toStamp(value) !== undefined, 'a stamp');
const dot = z.string().check(z.refine((value) => parseDot(value) !== undefined, 'a change id, <nodeId>:<counter>'));
/** Not looked into: what a record may hold is checked where its type is known. */
export const record = z.custom<JsonObject>(isJsonObject, 'a JSON object');
const json = z.custom<JsonValue>((value) => value !== undefined, 'a JSON value');

export const vectorClock: z.ZodMiniType<VectorClock> = z
  .record(z.string().check(z.refine((name) => name === CLOUD || toNodeId(name) !== undefined, 'a node id')), count)
  .check(
    z.refine((clock) => Object.keys(clock).length <= LIMITS.clockEntries, `at most ${LIMITS.clockEntries} entries`),
  );

const interval = z
  .tuple([countFromOne, countFromOne])
  .check(z.refine(([from, to]) => from <= to, 'an interval [from, to]'));
const intervals = z.array(interval).check(z.maxLength(LIMITS.intervals));

const path = upTo(LIMITS.pathChars);
export const operation: z.ZodMiniType<Operation> = z.discriminatedUnion('op', [
  z.object({ op: z.literal('set'), path, value: json }),
  z.object({ op: z.literal('unset'), path }),
  z.object({ op: z.literal('increment'), path, value: z.number() }),
  z.object({ op: z.literal('push'), path, value: json }),
  z.object({ op: z.literal('pull'), path, value: json }),
]);
/** Of a change: none where its writer changed nothing. */
const changeOperations = z.array(operation).check(z.maxLength(LIMITS.operations));
export const operations = z.array(operation).check(z.minLength(1), z.maxLength(LIMITS.operations));

/** Whether a message can have such operations: each by a path that is no longer than one may be, and through no forbidden name. */
export function canBeSent(all: readonly Operation[]): boolean {
  return all.every(({ path: text }) => text.length <= LIMITS.pathChars && !isForbidden(parsePath(text) ?? []));
}

export const priority = z.enum(PRIORITIES);

const changeHeader = {
  id: dot,
  covers: z.optional(intervals),
  ownFrom: z.optional(count),
  entityType,
  entityId,
  base: vectorClock,
  stamp,
  stamps: z.optional(z.record(path, stamp)),
  timestamp: count,
  nodeId,
  checksum: z.optional(upTo(128)),
  transaction: z.optional(upTo(128)),
  priority: z.optional(priority),
  once: z.optional(z.object({ key: text(64), hash: text(64) })),
  resolves: z.optional(
    z.object({
      conflictId: text(128),
      attempts: count,
      reason: upTo(LIMITS.reasonChars),
      failure: z.optional(upTo(LIMITS.reasonChars)),
      metadata: z.optional(
        record.check(z.refine((value) => JSON.stringify(value).length <= MAX_METADATA_CHARS, 'short metadata')),
      ),
    }),
  ),
  isDoubtful: z.optional(z.literal(true)),
  consistency: z.optional(z.literal('strong')),
  ifMatch: z.optional(upTo(128)),
  ifNoneMatch: z.optional(upTo(128)),
};

export const change: z.ZodMiniType<Change> = z
  .union([
    z.object({ ...changeHeader, operation: z.literal('delete'), data: z.optional(z.undefined()) }),
    z.object({ ...changeHeader, operation: z.literal('create'), data: record }),
    z.object({
      ...changeHeader,
      operation: z.literal('update'),
      data: record,
      operations: z.optional(changeOperations),
    }),
    z.object({ ...changeHeader, operation: z.literal('update'), operations: changeOperations }),
    z.object({ ...changeHeader, operation: z.literal('update'), mergePatch: record }),
  ])
  .check(z.refine((value) => value.id.startsWith(`${value.nodeId}:`), "the id is not of the change's nodeId"));

/** What of a change has to be right for the rest to be answered for: who made it, and which one it is. */
export const changeEnvelope = z
  .looseObject({ id: dot, nodeId })
  .check(
    z.refine(
      (value) => value.id === formatDot({ node: value.nodeId, counter: parseDot(value.id)?.counter ?? 0 }),
      "the id is not of the change's nodeId",
    ),
  );

/** What is left of a change that its node gives up, and why: its counter is answered for, and it never takes effect. */
export const withdrawal = z.object({
  id: dot,
  nodeId,
  withdrawn: z.object({
    code: z.custom<ErrorCode>((value) => typeof value === 'string' && isErrorCode(value), 'an error code'),
    detail: upTo(LIMITS.reasonChars),
  }),
});
export type Withdrawal = z.infer<typeof withdrawal> & {
  readonly [Field in Exclude<keyof Change, 'id' | 'nodeId'>]?: undefined;
};

export const connectRequest = z.object({
  nodeId,
  protocol: z.int(),
  capabilities: z._default(z.array(text(64)).check(z.maxLength(64)), []),
  /** Of the node's storage, from its first write to its loss: what another one of that name had sent is not taken any more. */
  life: z.optional(text(64)),
  /** The only entity types that the node wants. */
  filter: z.optional(z.object({ entityTypes: z.array(entityType).check(z.maxLength(LIMITS.filterTypes)) })),
});
export type ConnectRequest = z.input<typeof connectRequest>;

export const connectAnswer = z.object({
  sessionId: text(256),
  protocol: z.int(),
  capabilities: z.array(z.string()),
  expiresAt: count,
  limits: z.object({ maxBatchChanges: countFromOne, maxBatchBytes: countFromOne }),
});
export type ConnectAnswer = z.infer<typeof connectAnswer>;

/** However many intervals the cloud has: a node that isn't told can't go on. Its record is one row, and so bounds them. */
const received = z.object({ upTo: count, extra: z.array(interval) });

export const handshakeRequest = z.object({
  vectorClock,
  cursor: count,
  /** Null: the node has never heard of one. */
  epoch: z.nullish(text(64)),
  lastSyncTimestamp: z.nullish(count),
  pendingChangesCount: z.optional(count),
  digest: z.nullish(upTo(64)),
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
  queue: z.optional(z.partialRecord(priority, count)),
  /** How long the oldest of them has waited. */
  oldestMs: z.optional(count),
  /** How many are dead. */
  dead: z.optional(count),
  /** What goes over its link, where that isn't everything. */
  plan: z.optional(z.enum(['priority', 'critical'])),
  /** How often its state was not the cloud's, ever. */
  digestMismatches: z.optional(count),
  /** Over its link since it was started: up, down, and both before compression. */
  bytes: z.optional(z.tuple([count, count, count, count])),
});
export type NodeReport = z.infer<typeof nodeReport>;

export const batch = z.object({
  batchId: text(128),
  sourceNodeId: nodeId,
  targetNodeId: z.literal(CLOUD),
  cursor: count,
  /** Up to where the node has everything, as it was there: what changed after that may come as operations. */
  since: z.optional(count),
  /** The head when the node began to read from 0: of what was deleted by then it needs no tombstones. */
  snapshotHead: z.optional(count),
  lastSyncTimestamp: z.nullish(count),
  changes: z.array(changeEnvelope).check(z.maxLength(LIMITS.batchChanges)),
  void: z.optional(intervals),
  limit: z.optional(z.int().check(z.minimum(1), z.maximum(LIMITS.pageChanges))),
  /** Of what the batch does; see `batchChecksum`. */
  checksum: z.optional(upTo(128)),
  /** Of the records that its deltas make, each as the version that its change is. */
  digest: z.optional(upTo(64)),
  /** The answer's `covered` tells whether the cloud has all of this. */
  requires: z.optional(vectorClock),
  /** Whether somebody is there to be told of what comes next, by a poke. */
  live: z.optional(z.boolean()),
  /** How many changes wait at the node, this batch's not counted. */
  pending: z.optional(count),
  /** For people: no part of what the batch does, so one that can't be read is none. */
  report: z.catch(z.optional(nodeReport), undefined),
  /** The counter of the node's newest change. */
  newest: z.optional(count),
  /** The batch before this one, which a relay keeps: this one is for that relay alone, and the cloud, if it is back, leaves it. */
  behind: z.optional(text(128)),
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
  seq: z.optional(count),
  version: z.optional(z.string()),
  conflictId: z.optional(z.string()),
  code: z.optional(z.custom<ErrorCode>((value) => typeof value === 'string' && isErrorCode(value), 'an error code')),
  detail: z.optional(z.string()),
  /** Of `code` `invalid_data`. */
  issues: z.optional(z.readonly(z.array(z.object({ path: z.string(), message: z.string() })))),
  /** Of `code` `precondition_failed`: the version that is there. */
  current: z.optional(z.string()),
  data: z.nullish(record),
  entityId: z.optional(z.string()),
  /** Of a strong change: whether the entity wasn't there before. */
  created: z.optional(z.boolean()),
  /** The change that did this, by the same key. */
  firstId: z.optional(z.string()),
  /** The stamp that the cloud gave it, where that isn't the change's own: the node's clock was too far ahead. */
  stamp: z.optional(stamp),
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
  seq: countFromOne,
  data: z.optional(record),
  operations: z.optional(z.array(operation)),
  /** Of paths that `operations` set and that concurrent writes add to, what these do: see `WriteKind`. */
  kinds: z.optional(z.record(z.string(), z.enum(['add', 'list']))),
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
  types: z.optional(z.array(z.string())),
  /** Of the cloud's whole state in these types, when `more` is false. */
  digest: z.optional(z.string()),
  covered: z.optional(z.boolean()),
  /** Of what is required and not there: how far it is. */
  lacks: z.optional(vectorClock),
  /** The cloud is out of reach, and has not answered: a relay has, which keeps a copy of what was sent. It says nothing of the history. */
  kept: z.optional(z.literal(true)),
});
export type BatchAnswer = z.infer<typeof batchAnswer>;

function name<Name extends string>(make: (text: string) => Name | undefined, what: string) {
  const isName = (value: unknown) => typeof value === 'string' && make(value) !== undefined;
  return z.custom<Name>(isName, { error: `not ${what}`, params: BAD_NAME });
}
