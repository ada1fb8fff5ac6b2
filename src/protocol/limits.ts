import { MAX_NODE_RESOLUTIONS } from '../core/conflict.ts';
import { MAX_DEPTH, MAX_OPERATIONS } from '../core/delta.ts';
import { MAX_NAME_CHARS } from '../core/ids.ts';
import { MAX_MARKS } from '../core/marks.ts';
import { MAX_REASON_CHARS } from '../core/message-of.ts';
import { MAX_QUORUM } from '../core/policy.ts';
import { MAX_ISSUE_CHARS, MAX_ISSUES } from '../core/record-schema.ts';
import { MAX_METADATA_CHARS } from '../core/resolver.ts';

/**
 * Every bound of the system, with its source or its reason; those that `core` needs stand there, and are named here.
 * Small fields of messages and tokens are bounded in their schemas (`messages.ts`, `api/auth.ts`); what only sets a pace
 * (delays, polls) stands where it is used.
 */
export const LIMITS = {
  /** One record as JSON, in UTF-8 bytes. `http.md`, section 2. */
  recordBytes: 256 * 1024,
  /** Nesting of a record; the record itself is 1. `http.md`, section 2. */
  recordDepth: MAX_DEPTH,
  /** An entity type or id. `http.md`, section 1, where a node id has 64. */
  nameChars: MAX_NAME_CHARS,
  /** Paths of one record of which it is known when they were written. */
  recordMarks: MAX_MARKS,
  /** Nesting of a change: its fields, its list of operations and each of them are around a value of a record. */
  changeDepth: MAX_DEPTH + 3,
  /** What a schema may say of one record, since it is kept with the refusal. */
  recordIssues: MAX_ISSUES,
  recordIssueChars: MAX_ISSUE_CHARS,
  /** What a resolver may say beside its decision, as JSON: a row holds both sides of the conflict already. */
  resolverMetadataChars: MAX_METADATA_CHARS,
  /** Operations in one PATCH or change. `http.md`, section 2. */
  operations: MAX_OPERATIONS,
  /** One path of an operation, in characters: longer than any honest field. */
  pathChars: 1_024,
  /** What is said of a malformed request: of one that is wrong all over, the first few say enough. */
  requestIssues: 20,
  /** An HTTP body as it arrives. `http.md`, section 2. */
  bodyBytes: 1024 * 1024,
  /** One change as JSON: a record and the operations that make it, and small enough for a batch of its own. */
  changeBytes: 768 * 1024,
  /** Changes in one batch that the cloud takes; nodes send fewer by their plan. */
  batchChanges: 500,
  /** What is remembered for who asks again: answers to idempotent writes, and sessions. `http.md`, section 2. */
  memoMs: 24 * 3600_000,
  /** The last words on writes that a client can say again, to tabs that ask late. */
  settlementsKept: 1_000,
  idempotencyKeyChars: 255,
  sessionNameChars: 255,
  /** How long a node has to let a session go that is wanted elsewhere. */
  sessionMoveMs: 5_000,
  /** How long a session is used between two notes of that: each is a row. */
  sessionUseMs: 3_600_000,
  /** Sessions that a node remembers to have let go, in memory. */
  endedSessions: 1_000,
  /** Sessions that a node remembers to call when it can, in one row; no more begin out of reach of the cloud. */
  untoldSessions: 1_000,
  /** Replicas that a read or write may ask for, and nodes that are asked for them at the same time. */
  quorum: MAX_QUORUM,
  quorumNodes: 64,
  /** Records of an import that are written together, and their characters as lines. */
  importTogether: 200,
  importChars: 512 * 1024,
  /** Changes of one transaction, which go in one batch, and all of them as JSON. */
  transactionChanges: 500,
  transactionBytes: 896 * 1024,
  /** A batch as JSON, after inflation: a row holds at most 2 MB, and its answer has to fit in one. */
  batchBytes: 1024 * 1024,
  /** A page of the feed as JSON: small enough to be kept in a row beside its batch's results. */
  pageBytes: 256 * 1024,
  /** Entities in one page of the feed. */
  pageChanges: 1_000,
  /** Rows of the feed, and conflicts, that are read at a time: as many of the largest fit in memory. */
  feedRows: 32,
  conflictRows: 8,
  /** Entities that one page looks at, for those that its reader may have and wants. */
  pageScan: 10_000,
  /** Entity types that a node may ask for. */
  filterTypes: 100,
  /** Entries in a vector clock that somebody sends. A replica's own has two; a relay's a few more. */
  clockEntries: 256,
  /** Intervals in a list of counters. */
  intervals: 1_000,
  /** Items in one page of a list. */
  listItems: 1_000,
  listItemsDefault: 100,
  /** Bytes of one page of a list. */
  listBytes: 512 * 1024,
  /** Conditions in one query, and characters of one. */
  queryConditions: 10,
  queryConditionChars: 1_024,
  /** A pattern of `like`, in UTF-8 bytes. D1 takes no longer ones (its limits page). */
  likePatternBytes: 50,
  /** Segments of digits in one path of a query: each may be an index or a name, which doubles the places to look at. */
  queryIndexes: 2,
  /** How far a stamp may be ahead of the cloud's clock. `design.md`, section 3. */
  maxClockDriftMs: 60_000,
  /** How long a session lives. */
  sessionMs: 24 * 3600_000,
  /** Sessions of one node that live at the same time; the oldest gives way. */
  sessionsPerNode: 8,
  /** A session's id, in characters: a node's and a random one. */
  sessionIdChars: 256,
  /** Answers kept for each node, newest first, and their bytes beyond the newest. */
  answersPerNode: 8,
  answersBytes: 64 * 1024,
  /** A larger answer isn't kept, since a row holds at most 2 MB: its batch, sent again, finds its changes known. */
  answerBytes: 1024 * 1024,
  /** Nodes of which the last answer that changed nothing is kept in memory: with pages of at most 256 KiB, 16 MiB. */
  readOnlyAnswers: 64,
  /** Counters, back from the newest, whose content is remembered, to tell a copy of a node from a repetition. */
  dotHashes: 1_024,
  /** Records of one node that got another id and that it may not have heard of: a batch can hold so many, and another. */
  renamesPerNode: 1_000,
  /** How long a resolver may take that doesn't answer at once; then people decide. */
  resolverMs: 5_000,
  /** Resolutions by the node that pushed, before the conflict is left to people. `design.md`, section 5. */
  nodeResolutions: MAX_NODE_RESOLUTIONS,
  /** Changes that wait at one node, in bytes. `design.md`, section 6. */
  queueBytes: 16 * 1024 * 1024,
  /** Dead letters at one node, in bytes: beyond that nothing more is taken that might become one. */
  deadBytes: 16 * 1024 * 1024,
  /** What a relay keeps of what the nodes below wrote, while the cloud is out of reach. */
  keptBytes: 16 * 1024 * 1024,
  /** In so many batches: each is an exchange of its own when it is brought. */
  keptBatches: 1_000,
  /** Earlier decisions that a conflict keeps: more than people change their minds, and one page to read. */
  pastDecisions: 20,
  /** A conflict as JSON: a row holds at most 2 MB in D1 and in a Durable Object. Older decisions make room. */
  conflictBytes: 1_900_000,
  /** Of why a node resolved a conflict as it did. */
  reasonChars: MAX_REASON_CHARS,
  /** How long a change of low priority may wait behind more pressing ones, or for a better link. */
  maxQueueAgeMs: 5 * 60_000,
  /** How long a change is kept after the cloud has it, to be given back to a cloud that lost it. `design.md`, section 6. */
  retainSyncedMs: 24 * 3600_000,
  /** How long a caller may wait. `http.md`, section 2. */
  waitMs: 5_000,
  maxWaitMs: 30_000,
  /** What a question gets that a level can't do without, however short its caller waits: a few round trips. */
  askMs: 500,
  /** An answer that takes longer is none; over HTTP, beside the time that its bytes take on a slow link. */
  exchangeTimeoutMs: 20_000,
  /** An answer over HTTP: a page and the results of a batch, with room. */
  exchangeAnswerBytes: 8 * 1024 * 1024,
  /** Exchanges in one sync: 200,000 entities in pages of 1,000, and room. More go to the next alarm. */
  exchangesPerSync: 1_000,
  /** Sessions renewed in one exchange; one that ends at once again is a failure. */
  renewalsPerExchange: 2,
  /** The pause after failures. `design.md`, section 6. */
  backoffMs: 30_000,
  /** The longest time that a busy cloud may ask for; who maintains one for longer is asked again now and then. */
  retryAfterMs: 3600_000,
  /** The pause after the cloud refused a node's token, or its version: only another one helps, and somebody has to see to that. */
  pauseMs: 5 * 60_000,
  /** Writes that went into one change of which it is remembered that it was refused: a row for each. */
  deadCounters: 100,
  /** Tries of a change at which the cloud fails, before it is given up. `design.md`, section 6. */
  maxRetries: 3,
  /** Pages that one alarm writes to D1; more go to the next one, well within the 15 minutes that an alarm may take. */
  pagesPerAlarm: 50,
  /** Of them, those that are written in one transaction: more than the largest transaction of a node takes. */
  pagesTogether: 8,
  /** A key server that takes longer is away. */
  keyServerMs: 5_000,
  /** A node answers a poke at once, before it pulls; one that takes longer is away. */
  pokeMs: 5_000,
  /** Live sockets at one edge node: each of its visible changes is sent to each of them, by one thread. */
  liveSockets: 1_000,
  /** Nodes, and others, that listen for pokes at one cloud: a poke is small. Half of what the platform holds. */
  pokeSockets: 16_000,
  /** Of them in the name of one node: what is more is left over from connections that broke. */
  pokeSocketsPerNode: 4,
  /** What a client may send on a live socket: a subscription to `filterTypes` types, in UTF-8 bytes. */
  liveMessageBytes: 16 * 1024,
  liveMessagesPerSecond: 20,
  /** What is sent on one socket, and on all of an object; what isn't taken waits in memory, of which there are 128 MB. */
  liveCharsPerSecond: 8 * 1024 * 1024,
  liveCharsPerSecondOfAll: 32 * 1024 * 1024,
  /** What is kept with a socket while its object sleeps, as JSON: the platform keeps 16,384 bytes. */
  attachmentBytes: 16_000,
  /** Statuses on a live socket: some whole syncs at once, and so many a second after that. */
  statusBurst: 32,
  statusesPerSecond: 10,
  /** Nodes that one answer of the metrics looks at, and of which it is kept in memory how they are: some 5 MB. */
  registryNodes: 10_000,
  /** Nodes that have metrics of their own, which a Prometheus keeps for weeks: of a larger space the worst. */
  metricNodes: 100,
  /** The `sub` of a bearer token, in characters. OpenID Connect Core 1.0, section 2. */
  subjectChars: 255,
  /** What somebody has seen, as JSON, beyond which a node lets nobody go: in a token, with room for what the next one adds. */
  contextChars: 2_700,
  /** A causal token, in characters. */
  tokenChars: 4_096,
} as const;
