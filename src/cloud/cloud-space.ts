import { DurableObject } from 'cloudflare:workers';
import { type CausalContext, clockIn } from '../core/causal-context.ts';
import type { EntityVersion } from '../core/entity.ts';
import { CLOUD, type EntityKey, type NodeId, toNodeId, toSpaceId } from '../core/ids.ts';
import type { Precondition } from '../core/precondition.ts';
import { merge } from '../core/vector-clock.ts';
import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { policies } from '../policies.ts';
import { parseJson } from '../protocol/codec.ts';
import { type Result, toResult } from '../protocol/errors.ts';
import { exposition } from '../protocol/exposition.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batch, connectRequest, handshakeRequest } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import { d1Projection } from '../store/d1-projection.ts';
import { Alarm } from '../store/do-alarm.ts';
import { durableObjectSqlite } from '../store/do-sqlite.ts';
import { SqlCloudStore } from '../store/sql-cloud-store.ts';
import { backoffMs } from '../sync/backoff.ts';
import { type Imported, importRecords, writeAtCloud } from '../sync/cloud-write.ts';
import type { AwaitedResolution } from '../sync/commit.ts';
import { type ConflictPage, listConflicts } from '../sync/conflict-pages.ts';
import type { ManualDecision } from '../sync/conflict-record.ts';
import { untilTrue } from '../sync/coverage.ts';
import { readFeed } from '../sync/feed.ts';
import { resolveConflict } from '../sync/inbox.ts';
import { awaitResolution } from '../sync/late-resolution.ts';
import { type NodePage, NodeRegistry } from '../sync/node-registry.ts';
import type { ConflictFilter, ConflictRecord } from '../sync/ports.ts';
import { Projection } from '../sync/projection.ts';
import { type Caller, Responder } from '../sync/responder.ts';
import { type Seen, Sequencer } from '../sync/sequencer.ts';
import type { SessionGrant } from '../sync/sessions.ts';
import { SpaceMetrics } from '../sync/space-metrics.ts';
import { leftOf } from '../sync/within.ts';
import type { Once, Write, Written } from '../sync/write.ts';
import { PokeSockets } from '../transport/poke-sockets.ts';
import type { HistoryPlace, NodeRpc, RpcCaller, Seen as SeenRecord, SpaceRpc } from '../transport/rpc.ts';
import { answerClose } from '../transport/sockets.ts';
import { type News, PokeBoard, type PokeStore } from './poke-board.ts';
import { askNodes } from './quorum.ts';
import { SessionHomes } from './session-homes.ts';

/** What the cloud object of a space needs of its deployment. */
export interface CloudEnv {
  readonly DB: D1Database;
  readonly EDGE: { getByName(name: string): NodeRpc };
}

/** A page of an export. */
export interface ExportPage {
  readonly entities: readonly EntityVersion[];
  readonly cursor: number;
  readonly more: boolean;
}

export interface CloudRead {
  readonly entity: EntityVersion | null;
  readonly seen: Seen;
  /** Whether the cloud has all that the caller has seen. */
  readonly covered: boolean;
  /** How many replicas have answered, of those that were to. */
  readonly answered: number;
}

/** How far the projection is behind. `seen`: what its reader has seen then, at least. */
export interface ProjectionLag {
  readonly seen: Seen;
  readonly asOfMs: number;
  readonly lagMs: number;
}

/**
 * The primary database of one space: a Durable Object whose SQLite is the truth. It sequences what comes in, feeds all
 * who read, and keeps D1 up. This class is glue; what happens is in `src/sync`.
 */
export class CloudSpace extends DurableObject<CloudEnv> implements SpaceRpc {
  readonly #store: SqlCloudStore;
  readonly #sequencer: Sequencer;
  readonly #responder: Responder;
  readonly #projection: Projection;
  readonly #pokes: PokeBoard;
  readonly #homes: SessionHomes;
  readonly #node: (nodeId: NodeId) => NodeRpc;
  /** Of this deployment, in the order in which they came last. */
  readonly #edges: Set<NodeId>;
  readonly #live: PokeSockets;
  readonly #alarm: Alarm;
  readonly #registry: NodeRegistry;
  readonly #metrics = new SpaceMetrics(clock.nowMs());
  #projectionFailures = 0;

  constructor(ctx: DurableObjectState, env: CloudEnv) {
    super(ctx, env);
    const space = toSpaceId(ctx.id.name ?? '');
    if (space === undefined) throw new Error('invariant broken: a cloud object is named by its space');
    this.#store = new SqlCloudStore(durableObjectSqlite(ctx.storage, (rows) => this.#metrics.rowsWritten.add(rows)));
    const parts = { store: this.#store, policies, clock, entropy };
    this.#sequencer = new Sequencer({
      ...parts,
      onAwaited: (awaited) => this.#await(awaited),
      onConflict: (conflict) => this.#metrics.conflict(conflict),
      onFailure: ({ changeId, error }) => {
        const reason = error instanceof Error ? error.stack : String(error);
        console.error(JSON.stringify({ event: 'change_failed', changeId, error: reason }));
      },
    });
    this.#responder = new Responder({ ...parts, sequencer: this.#sequencer });
    this.#projection = new Projection(this.#store, this.#sequencer, d1Projection(env.DB, space), clock);
    this.#node = (nodeId) => env.EDGE.getByName(`${space}/${nodeId}`);
    this.#pokes = new PokeBoard(
      (id, { head, source }: News) => this.#node(id).poke(head, source),
      pokeStore(ctx),
      clock,
    );
    this.#homes = new SessionHomes(
      this.#sequencer.memos,
      clock,
      (...seen) => this.#sequencer.seenAfter(...seen),
      (id, name, turn) => this.#node(id).leaveSession(name, turn),
    );
    this.#edges = new Set(namesIn(ctx.storage.kv, EDGE_PREFIX));
    this.#live = new PokeSockets(ctx, clock, 0);
    this.#alarm = new Alarm(ctx.storage);
    this.#registry = new NodeRegistry({
      store: this.#store,
      clock,
      head: () => this.#sequencer.meta.seq,
      isLive: (nodeId) => this.#pokes.has(nodeId) || this.#live.hears(nodeId),
    });
    void ctx.blockConcurrencyWhile(async () => {
      await this.#alarm.load();
      this.#scheduleProjection(PROJECTION_DELAY_MS);
    });
    // What came last before the object ended may not have been told.
    if (this.#projection.isBehind) this.#pokeAll(undefined);
  }

  // --- the sync protocol ---

  syncConnect(request: string): Promise<Result<string>> {
    return answer(() => this.#responder.connect(parseWith(connectRequest, parseJson(request))));
  }

  syncHandshake(sessionId: string, request: string, caller: Caller): Promise<Result<string>> {
    return answer(() => this.#responder.handshake(sessionId, parseWith(handshakeRequest, parseJson(request)), caller));
  }

  async syncExchange(sessionId: string, text: string, caller: Caller | RpcCaller): Promise<Result<string>> {
    const arrivedAtMs = clock.nowMs();
    const result = await answer(() => {
      const incoming = parseWith(batch, parseJson(text));
      const before = this.#sequencer.meta.seq;
      const nodeBefore = this.#registry.condition(incoming.sourceNodeId);
      const answered = this.#responder.exchange(sessionId, incoming, caller);
      if ('isEdge' in caller) {
        this.#pokes.see(caller.nodeId, incoming.live === true);
        this.#noteEdge(caller.nodeId);
      }
      this.#live.heard(incoming.sourceNodeId);
      this.#spread(before, incoming.sourceNodeId);
      this.#metrics.answered(answered, nodeBefore, this.#registry.heard(incoming, answered));
      if (incoming.changes.some(({ consistency }) => consistency === 'strong')) this.#time('strong write', arrivedAtMs);
      return answered;
    }).catch((bug: unknown) => {
      this.#metrics.exchanged('internal');
      throw bug;
    });
    this.#metrics.exchanged(result.ok ? 'ok' : result.code);
    this.#time('exchange', arrivedAtMs);
    return result;
  }

  syncDisconnect(sessionId: string, caller: Caller): Promise<Result<string>> {
    return answer(() => {
      this.#responder.disconnect(sessionId, caller);
      return {};
    });
  }

  // --- live sockets ---

  /** Opens a live socket; the API has checked who is there. */
  override fetch(request: Request): Promise<Response> {
    return this.#live.accept(request);
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    this.#live.receive(socket, message);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#live.forget(socket);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket): void {
    this.#live.forget(socket);
  }

  // --- data ---

  /**
   * The current version; a strong read. What the caller has seen may be on its way here: that is waited for. What the cloud
   * has decided is newer than what nodes hold; of a quorum only that so many answer is asked for.
   */
  async read(key: EntityKey, after: CausalContext = {}, waitMs = 0, quorum = 1): Promise<CloudRead> {
    const leftMs = leftOf(clock, waitMs);
    const covered = await untilTrue(() => this.#covers(after), clock, waitMs);
    const others = covered && quorum > 1 ? (await this.versions(key, quorum, leftMs())).length - 1 : 0;
    const entity = this.#store.readEntity(key) ?? null;
    return { entity, seen: this.#sequencer.seenAfter(after), covered, answered: others + 1 };
  }

  async write(write: Write, after: CausalContext = {}, once?: Once): Promise<{ result: Result<Written>; seen: Seen }> {
    const arrivedAtMs = clock.nowMs();
    const before = this.#sequencer.meta.seq;
    const result = await toResult(() => this.#sequencer.commit((commit) => writeAtCloud(commit, write, once)));
    this.#time('strong write', arrivedAtMs);
    this.#spread(before, undefined);
    return { result, seen: this.#sequencer.seenAfter(after) };
  }

  /** All live entities, in order of seq. What changes meanwhile moves to a later page. */
  exportPage(cursor: number): ExportPage {
    return readFeed(this.#store, this.#sequencer.meta.seq, cursor, LIMITS.pageChanges, ({ data }) => data === null);
  }

  /** Writes records as they are given, all or none; one that is as it is given stays. */
  async importRecords(writes: readonly Write[]): Promise<{ result: Result<Imported>; seen: Seen }> {
    const before = this.#sequencer.meta.seq;
    const result = await toResult(() => this.#sequencer.commit((commit) => importRecords(commit, writes)));
    this.#spread(before, undefined);
    return { result, seen: this.#sequencer.seenAfter({}) };
  }

  conflicts(filter: ConflictFilter): ConflictPage {
    return listConflicts(this.#store, filter);
  }

  conflict(id: string): ConflictRecord | null {
    return this.#store.readConflict(id) ?? null;
  }

  /** Decides a conflict; the other nodes learn the outcome as they learn any write. */
  async resolveConflict(
    id: string,
    decision: ManualDecision,
    by: string,
    precondition: Precondition,
    after: CausalContext = {},
  ): Promise<{ result: Result<ConflictRecord>; seen: Seen }> {
    const before = this.#sequencer.meta.seq;
    const result = await toResult(() =>
      this.#sequencer.commit((commit) => resolveConflict(commit, id, decision, by, precondition)),
    );
    this.#spread(before, undefined);
    return { result, seen: this.#sequencer.seenAfter(after) };
  }

  // --- sessions and quorums ---

  moveSession(name: string, to: NodeId): Promise<Result<SessionGrant>> {
    return toResult(() => this.#homes.move(name, to));
  }

  /** How many nodes hold the history up to a place, as far as `wanted`; the one that asks is not counted. */
  async holders(at: HistoryPlace, wanted: number, waitMs: number, self?: NodeId | undefined): Promise<number> {
    const reach = async (id: NodeId) => ((await this.#node(id).reach(at)) ? id : null);
    return (await askNodes(this.#othersThan(self), reach, wanted, waitMs, clock)).length;
  }

  /** The cloud's state of a record, and that of nodes: at most `wanted` in all. */
  async versions(
    key: EntityKey,
    wanted: number,
    waitMs: number,
    self?: NodeId | undefined,
  ): Promise<(SeenRecord | null)[]> {
    const entity = this.#store.readEntity(key);
    const own = entity === undefined ? null : { ...entity, synced: true, context: this.#sequencer.seenAfter() };
    const peek = (id: NodeId) => this.#node(id).peek(key);
    const others = await askNodes(this.#othersThan(self), peek, wanted - 1, waitMs, clock);
    return [own, ...others.map(({ seen }) => seen)];
  }

  /** Nodes that can be asked: those of this deployment, which came last first. */
  #othersThan(self: NodeId | undefined): NodeId[] {
    return [...this.#edges]
      .reverse()
      .filter((nodeId) => nodeId !== self)
      .slice(0, LIMITS.quorumNodes);
  }

  /** Who comes over HTTP isn't there to be asked: an object of its name would be another, empty one. */
  #noteEdge(nodeId: NodeId): void {
    if (this.#edges.has(nodeId)) this.#edges.delete(nodeId);
    else this.ctx.storage.kv.put(EDGE_PREFIX + nodeId, true);
    this.#edges.add(nodeId);
  }

  // --- the projection ---

  lag(after: CausalContext = {}): ProjectionLag {
    const nowMs = clock.nowMs();
    const { epoch, projected, changedAtMs } = this.#sequencer.meta;
    const seen = { ...after, epoch, clock: merge(clockIn(after, epoch), { [CLOUD]: projected.seq }) };
    if (!this.#projection.isBehind) return { seen, asOfMs: nowMs, lagMs: 0 };
    // Never projected: behind at least since the last change.
    const lagMs = Math.max(0, nowMs - (projected.atMs || changedAtMs));
    return { seen, asOfMs: projected.atMs, lagMs };
  }

  // --- how it all is ---

  /** @param only of whose nodes the caller may hear; undefined: of all. */
  nodes(after: string, limit: number, only: NodeId | undefined): NodePage {
    if (only === undefined) return this.#registry.list(after, limit);
    const isThere = only > after && this.#store.readNode(only) !== undefined;
    return { items: isThere ? [this.#registry.get(only)] : [], next: null };
  }

  /** As Prometheus reads them. */
  metrics(): string {
    const { seq, projected } = this.#sequencer.meta;
    const families = this.#metrics.families({
      head: seq,
      registry: this.#registry,
      openConflicts: this.#store.countOpenConflicts(),
      d1: { lagMs: this.lag().lagMs, lag: seq - projected.seq },
    });
    return exposition(families);
  }

  /** Until what is written in this turn is durable: by then the clock, which stands still in a turn, has gone on. */
  #time(what: 'exchange' | 'strong write', sinceMs: number): void {
    const durable = this.ctx.storage.sync();
    this.ctx.waitUntil(durable.then(() => this.#metrics.took(what, clock.nowMs() - sinceMs)));
  }

  override async alarm(): Promise<void> {
    this.#alarm.rang();
    try {
      await this.#projection.catchUp(LIMITS.pagesPerAlarm);
      this.#projectionFailures = 0;
    } catch (error) {
      // D1 may be away for minutes; nothing else waits for it.
      this.#projectionFailures += 1;
      console.info(JSON.stringify({ event: 'projection_failed', error: String(error) }));
    }
    const pauseMs = backoffMs(this.#projectionFailures, entropy.fraction());
    this.#scheduleProjection(this.#projectionFailures === 0 ? 0 : PROJECTION_DELAY_MS + pauseMs);
  }

  /** A resolver of the policies file that takes its time. */
  #await(awaited: AwaitedResolution): void {
    const before = this.#sequencer.meta.seq;
    const settled = awaitResolution(this.#sequencer, awaited, clock).then(() => this.#spread(before, undefined));
    this.ctx.waitUntil(settled);
  }

  /** Has D1 brought up, where there is something new; and where the history grew, tells those who are live. */
  #spread(before: number, source: NodeId | undefined): void {
    // A conflict that the cloud's side won is written, and the history doesn't grow by it.
    this.#scheduleProjection(PROJECTION_DELAY_MS);
    if (this.#sequencer.meta.seq !== before) this.#pokeAll(source);
  }

  #pokeAll(source: NodeId | undefined): void {
    const head = this.#sequencer.meta.seq;
    this.#live.pokeAll(head, source);
    this.ctx.waitUntil(this.#pokes.pokeAll({ head, source }));
  }

  #scheduleProjection(delayMs: number): void {
    if (this.#projection.isBehind && !this.#alarm.isSet) this.#alarm.ringBy(clock.nowMs() + delayMs);
  }

  #covers(seen: CausalContext): boolean {
    return this.#sequencer.covers(clockIn(seen, this.#sequencer.meta.epoch));
  }
}

/** Long enough to gather a burst into one batch, short enough for a person who waits. */
const PROJECTION_DELAY_MS = 300;

/** A row for each node that is live. */
function pokeStore({ storage: { kv } }: DurableObjectState): PokeStore {
  return {
    load: () => namesIn(kv, LIVE_PREFIX),
    save: (nodeId) => kv.put(LIVE_PREFIX + nodeId, true),
    remove: (nodeId) => void kv.delete(LIVE_PREFIX + nodeId),
  };
}

function* namesIn(kv: SyncKvStorage, prefix: string): Generator<NodeId> {
  for (const [key] of kv.list({ prefix })) {
    const nodeId = toNodeId(key.slice(prefix.length));
    if (nodeId !== undefined) yield nodeId;
  }
}

const LIVE_PREFIX = 'live/';
const EDGE_PREFIX = 'edge/';

/** A message's text, or the failure as data: what RPC carries whole. */
async function answer(body: () => unknown): Promise<Result<string>> {
  return await toResult(() => JSON.stringify(body()));
}
