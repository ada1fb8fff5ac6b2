import { DurableObject } from 'cloudflare:workers';
import { type CausalContext, joined } from '../core/causal-context.ts';
import type { ReadDemand } from '../core/consistency.ts';
import { digestTotal } from '../core/digest.ts';
import {
  type EntityId,
  type EntityKey,
  type EntityType,
  entityKey,
  type NodeId,
  toNodeId,
  toSpaceId,
} from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { policyFor, policyWarnings } from '../core/policy.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { logger } from '../platform/logger.ts';
import { policies } from '../policies.ts';
import { type Result, toResult } from '../protocol/errors.ts';
import { Alarm } from '../store/do-alarm.ts';
import { durableObjectSqlite } from '../store/do-sqlite.ts';
import { SqlReplicaStore } from '../store/sql-replica-store.ts';
import { Access } from '../sync/access.ts';
import type { Caller } from '../sync/caller.ts';
import { KeptBatches } from '../sync/kept-batches.ts';
import { LastCaller } from '../sync/last-caller.ts';
import { type Demand, Link } from '../sync/link.ts';
import { MeasuredUpstream } from '../sync/measured-upstream.ts';
import { NodeResolver } from '../sync/node-resolver.ts';
import type { QueueStatus } from '../sync/offline-queue.ts';
import { leastAtOnce, type NetworkReport, type Plan, planFor, reportOf } from '../sync/plan.ts';
import { type QueueItem, queueItemOf } from '../sync/queue-item.ts';
import { Relay } from '../sync/relay.ts';
import { Replica } from '../sync/replica.ts';
import { nodeOfSession } from '../sync/session-id.ts';
import { type SessionDemand, Sessions } from '../sync/sessions.ts';
import type { SyncSummary } from '../sync/tally.ts';
import { hasReasonToSync, type Waking, wakeAtMs } from '../sync/waking.ts';
import { leftOf } from '../sync/within.ts';
import type { Once, Write } from '../sync/write.ts';
import type { LiveSocket } from '../transport/live-socket.ts';
import { isForPokes, liveGrantOf } from '../transport/live-upgrade.ts';
import { PokeSockets } from '../transport/poke-sockets.ts';
import type { HistoryPlace, NodeRpc, Seen, SyncRpc } from '../transport/rpc.ts';
import { answerClose } from '../transport/sockets.ts';
import { type EdgeList, type EdgeRead, type EdgeStatus, type EdgeWritten, recordOf } from './answers.ts';
import { LiveFeed } from './live-feed.ts';
import { Quorum } from './quorum.ts';
import { carrierFor, pokesFor, spaceOfNode, type UpstreamEnv, upstreamFor } from './upstream.ts';

export type EdgeEnv = UpstreamEnv;

/** What a caller gets with every answer: what it has seen now. */
export interface EdgeAnswer<T> {
  readonly result: Result<T>;
  /** The whole clock of the node. */
  readonly vectorClock: VectorClock;
  /** What the caller has to show at its next request, here or elsewhere. */
  readonly context: CausalContext;
}

/** What a caller asks for beside the level. */
export interface ReadOptions {
  /** The caller's session, where it has no token. */
  readonly session?: SessionDemand | undefined;
  /** How many replicas have to answer. */
  readonly quorum?: number | undefined;
}

export interface WriteDemand extends ReadOptions {
  /** By what the write is known when it is repeated. */
  readonly once?: Once | undefined;
}

interface EdgeCaller {
  readonly after: CausalContext;
  readonly waitMs: number;
  readonly hints: NetworkReport | undefined;
  readonly session: SessionDemand | undefined;
}

/** What a caller says of the link. */
export interface NetworkChange extends NetworkReport {
  readonly online?: boolean | undefined;
}

/**
 * An edge node: a Durable Object with a replica, which takes reads and writes at once, and a link to the cloud. This
 * class is glue; what happens is in `src/sync`.
 */
export class EdgeNode extends DurableObject<EdgeEnv> implements NodeRpc, SyncRpc {
  readonly #replica: Replica;
  readonly #upstream: MeasuredUpstream;
  readonly #link: Link;
  readonly #access: Access;
  readonly #sessions: Sessions;
  readonly #quorum: Quorum;
  readonly #live: LiveFeed;
  /** To a cloud elsewhere; undefined: the cloud of this deployment pokes by itself. */
  readonly #pokes: LiveSocket | undefined;
  readonly #relay: Relay;
  /** The nodes below that want to be poked. */
  readonly #below: PokeSockets;
  #network: NetworkChange;
  readonly #caller = new LastCaller(clock);
  readonly #alarm: Alarm;

  constructor(ctx: DurableObjectState, env: EdgeEnv) {
    super(ctx, env);
    const [space, nodeId] = identityOf(ctx);
    this.#network = ctx.storage.kv.get<NetworkChange>(NETWORK_KEY) ?? {};
    this.#live = new LiveFeed(ctx, clock, () => this.#status());
    const store = new SqlReplicaStore(durableObjectSqlite(ctx.storage));
    this.#replica = new Replica({
      store,
      nodeId,
      policies,
      clock,
      entityTypes: ctx.storage.kv.get<readonly EntityType[]>(FILTER_KEY),
      watcher: this.#live,
    });
    this.#upstream = new MeasuredUpstream(upstreamFor(env, space, nodeId), clock);
    this.#link = new Link({
      replica: this.#replica,
      upstream: this.#upstream,
      resolver: new NodeResolver({
        replica: this.#replica,
        policies,
        clock,
        resolverFor: (entityType) => policyFor(policies, entityType).onNode,
      }),
      clock,
      entropy,
      logger,
      isLive: () => this.#isLive,
      plan: () => this.#plan(),
      first: () => this.#relay.beforeSync(),
      onState: () => this.#live.stateChanged(),
      onExchange: () => {
        this.#below.reached(this.#replica.meta.cursor);
        this.#tellStatus();
      },
      onEnd: () => {
        if (this.#link.lastSummary?.success) {
          this.#relay.reachedHead();
          this.ctx.waitUntil(this.#sessions.callBack());
        }
        this.#schedule();
      },
    });
    this.#access = new Access(this.#replica, this.#link, clock);
    const others = spaceOfNode(env, space, nodeId);
    this.#quorum = new Quorum(this.#replica, this.#link, clock, others);
    this.#sessions = new Sessions({
      replica: this.#replica,
      memos: this.#replica.memos,
      clock,
      adopt: others?.move,
      isOnline: () => this.#link.online,
    });
    this.#pokes = pokesFor(env, space, nodeId, {
      // What came while nobody listened was not told.
      onOpen: () => this.#syncSoon('own'),
      onPoke: (head, source) => void this.poke(head, source),
    });
    this.#relay = new Relay({
      nodeId,
      above: carrierFor(env, space),
      isOnline: () => this.#link.online,
      kept: new KeptBatches(this.#replica, policies, clock),
      clock,
    });
    this.#below = new PokeSockets(ctx, clock, this.#replica.meta.cursor);
    this.#alarm = new Alarm(ctx.storage);
    if (this.#network.online === false) this.#link.setOnline(false);
    void ctx.blockConcurrencyWhile(async () => {
      await this.#alarm.load();
      // Something may have kept an alarm from being set, or used it up: what waits goes without anyone's help.
      this.#schedule();
    });
  }

  // --- the sync protocol, for the nodes below ---

  syncConnect(request: string, caller: Caller): Promise<Result<string>> {
    return toResult(() => this.#relay.connect(request, caller));
  }

  syncHandshake(sessionId: string, request: string, caller: Caller): Promise<Result<string>> {
    return toResult(() => this.#relay.handshake(sessionId, request, caller));
  }

  syncExchange(sessionId: string, batch: string, caller: Caller): Promise<Result<string>> {
    const node = nodeOfSession(sessionId);
    if (node !== undefined) this.#below.heard(node);
    return toResult(() => this.#relay.exchange(sessionId, batch, caller).finally(() => this.#schedule()));
  }

  syncDisconnect(sessionId: string, caller: Caller): Promise<Result<string>> {
    return toResult(() => this.#relay.disconnect(sessionId, caller));
  }

  // --- data ---

  write(
    write: Write,
    after: CausalContext,
    waitMs: number,
    hints?: NetworkReport,
    { once, quorum = 1, session }: WriteDemand = {},
  ): Promise<EdgeAnswer<EdgeWritten>> {
    return this.#answer({ after, waitMs, hints, session }, async (seen, leftMs) => {
      const written = await this.#access.write(write, seen, leftMs(), once);
      await this.#quorum.hold([written], quorum, leftMs());
      return { ...written, synced: quorum > 1 };
    });
  }

  writeStrong(
    write: Write,
    after: CausalContext,
    waitMs: number,
    hints?: NetworkReport,
    { once, quorum = 1, session }: WriteDemand = {},
  ): Promise<EdgeAnswer<EdgeWritten>> {
    return this.#answer({ after, waitMs, hints, session }, async (seen, leftMs) => {
      const written = await this.#access.writeStrong(write, seen, leftMs(), once);
      await this.#quorum.hold([written], quorum, leftMs(), true);
      return { ...written, synced: true };
    });
  }

  /** Writes several entities, all or none; `isStrong`: in the cloud. */
  transact(
    writes: readonly Write[],
    isStrong: boolean,
    after: CausalContext,
    waitMs: number,
    hints?: NetworkReport,
    { once, quorum = 1, session }: WriteDemand = {},
  ): Promise<EdgeAnswer<readonly EdgeWritten[]>> {
    return this.#answer({ after, waitMs, hints, session }, async (seen, leftMs) => {
      const written = isStrong
        ? await this.#access.transactStrong(writes, seen, leftMs(), once)
        : await this.#access.transact(writes, seen, leftMs(), once);
      await this.#quorum.hold(written, quorum, leftMs(), isStrong);
      return written.map((each) => ({ ...each, synced: isStrong || quorum > 1 }));
    });
  }

  read(
    entity: { entityType: EntityType; entityId: EntityId },
    demand: ReadDemand,
    hints?: NetworkReport,
    { quorum = 1, session }: ReadOptions = {},
  ): Promise<EdgeAnswer<EdgeRead>> {
    return this.#answer({ ...demand, hints, session }, async (after, leftMs, show) => {
      const served = await this.#access.satisfy(entity.entityType, { ...demand, after, waitMs: leftMs() });
      const key = entityKey(entity);
      const view = this.#replica.read(key, served.source);
      const found = { ...served, record: view === undefined ? null : recordOf(entity.entityId, view) };
      if (quorum <= 1) return found;
      // What nodes have that the cloud has not isn't there for a strong reader.
      if (demand.level === 'strong') {
        await this.#quorum.ask(key, quorum, leftMs());
        return found;
      }
      const { seen, source } = await this.#quorum.newest(key, quorum, leftMs());
      if (seen !== null) show(seen.context);
      const record =
        seen === null || seen.data === null ? null : recordOf(entity.entityId, { ...seen, data: seen.data });
      // The cloud was asked, too.
      return { record, source, stalenessMs: 0 };
    });
  }

  list(
    type: EntityType,
    after: string,
    limit: number,
    demand: ReadDemand,
    hints?: NetworkReport,
    { session }: ReadOptions = {},
  ): Promise<EdgeAnswer<EdgeList>> {
    return this.#answer({ ...demand, hints, session }, async (seen, leftMs) => {
      const served = await this.#access.satisfy(type, { ...demand, after: seen, waitMs: leftMs() });
      const { items, next } = this.#replica.list(type, after, limit, served.source);
      return { ...served, items: items.map((item) => recordOf(item.entityId, item)), next: next ?? null };
    });
  }

  // --- the node ---

  status(hints?: NetworkReport): EdgeStatus {
    this.#use(hints);
    return this.#status();
  }

  #status(): EdgeStatus {
    const { cursor, epoch, asOfMs, lastSyncMs, digest, digestMismatches } = this.#replica.meta;
    const { rttMs, failures } = this.#upstream.quality;
    return {
      nodeId: this.#replica.nodeId,
      state: this.#link.state,
      online: this.#link.online,
      paused: this.#link.paused,
      vectorClock: this.#replica.vectorClock(),
      cursor,
      epoch,
      queue: this.#replica.queueStats(),
      kept: this.#replica.beside.size,
      asOf: asOfMs === 0 ? null : asOfMs,
      stalenessMs: this.#replica.stalenessMs(),
      filter: this.#replica.meta.filter ?? null,
      network: this.#report(),
      measured: { rttMs, failures },
      plan: { ...this.#plan(), compression: this.#compresses },
      lastSync: lastSyncMs === 0 ? null : lastSyncMs,
      lastSyncResult: this.#link.lastSummary,
      nextAttemptAt: this.#link.nextAttemptAtMs,
      digest: digestTotal(digest),
      digestMismatches,
      traffic: this.#link.traffic,
      policyWarnings: policyWarnings(policies),
    };
  }

  async sync(hints?: NetworkReport): Promise<SyncSummary> {
    this.#use(hints);
    const { summary } = await this.#link.sync();
    return summary;
  }

  // --- the queue ---

  listQueue(filter: {
    status: QueueStatus | undefined;
    after: number;
    limit: number;
  }): Promise<Result<{ items: QueueItem[]; next: string | null }>> {
    return toResult(() => {
      this.#use();
      const { items, next } = this.#replica.listQueue(filter.status, filter.after, filter.limit);
      return { items: items.map(queueItemOf), next: next === null ? null : String(next) };
    });
  }

  retryDead(changeId: string, data: JsonObject | undefined): Promise<Result<{ changeId: string }>> {
    return toResult(() => {
      this.#use();
      const again = { changeId: this.#replica.retryDead(changeId, data) };
      this.#sendOrSchedule();
      return again;
    });
  }

  discardDead(changeId: string): Promise<Result<{ changeId: string }>> {
    return toResult(() => {
      this.#use();
      this.#replica.discardDead(changeId);
      this.#sendOrSchedule();
      return { changeId };
    });
  }

  /** Notes what the link is like; `online: false` cuts the node off until it is set again. */
  setNetwork(change: NetworkChange): void {
    this.#use();
    const wasOnline = this.#link.online;
    this.#network = { ...this.#network, ...change };
    this.ctx.storage.kv.put(NETWORK_KEY, this.#network);
    // Whatever is said of the link, it is no longer the one that failed.
    this.#link.setOnline(change.online ?? wasOnline);
    if (this.#link.online && !wasOnline) this.#syncSoon('own');
    this.#sendOrSchedule();
  }

  /** From now on the node asks for these types only; null: for all. */
  async setFilter(entityTypes: readonly EntityType[] | null): Promise<void> {
    this.#use();
    await this.#link.between(() => {
      if (entityTypes === null) this.ctx.storage.kv.delete(FILTER_KEY);
      else this.ctx.storage.kv.put(FILTER_KEY, entityTypes);
      this.#replica.refilter(entityTypes ?? undefined);
    });
    this.#syncSoon('own');
    this.#schedule();
  }

  /** The cloud has news. Answers at once; the pull goes on behind. */
  async poke(head: number, source?: NodeId | undefined): Promise<void> {
    if (!this.#link.online) return;
    this.#below.pokeAll(head, source);
    this.ctx.waitUntil(this.#link.hear(head));
  }

  // --- what the cloud asks ---

  /** @see NodeRpc. A node that is cut off from the cloud answers nothing. */
  async leaveSession(name: string, turn: number): Promise<CausalContext | null> {
    return this.#link.online ? this.#sessions.leave(name, turn) : null;
  }

  async reach({ epoch, cursor }: HistoryPlace): Promise<boolean> {
    if (!this.#link.online) return false;
    const isThere = () => this.#replica.meta.epoch === epoch && this.#replica.meta.cursor >= cursor;
    if (!isThere()) await this.#link.sync({ ends: 'own' });
    return isThere();
  }

  async peek(key: EntityKey): Promise<{ seen: Seen | null } | null> {
    return this.#link.online ? { seen: this.#quorum.seen(key) } : null;
  }

  // --- live sockets ---

  /** Opens a live socket; the API has checked who is there. */
  override async fetch(request: Request): Promise<Response> {
    const wasWatched = this.#isWatched;
    const answer = await (isForPokes(request) ? this.#below : this.#live).accept(request);
    this.#hinted(liveGrantOf(request).hints);
    this.#listened(wasWatched);
    return answer;
  }

  override webSocketMessage(socket: WebSocket, message: string | ArrayBuffer): void {
    const wasWatched = this.#isWatched;
    this.#socketsOf(socket).receive(socket, message);
    this.#listened(wasWatched);
  }

  override webSocketClose(socket: WebSocket, code: number): void {
    this.#socketsOf(socket).forget(socket);
    answerClose(socket, code);
  }

  override webSocketError(socket: WebSocket): void {
    this.#socketsOf(socket).forget(socket);
  }

  #socketsOf(socket: WebSocket): PokeSockets | LiveFeed {
    return this.#below.has(socket) ? this.#below : this.#live;
  }

  get #isWatched(): boolean {
    return this.#live.isWatched || this.#below.isWatched;
  }

  /** Who begins to listen gets what there is by now; and with it the cloud hears that somebody listens here. */
  #listened(wasWatched: boolean): void {
    if (!wasWatched && this.#isWatched && this.#link.online) this.#syncSoon();
    this.#sendOrSchedule();
  }

  override async alarm(): Promise<void> {
    this.#alarm.rang();
    // `sync` never throws: an alarm that does is tried six times and then forgotten.
    if (this.#link.isDue && hasReasonToSync(this.#waking())) await this.#link.sync({ ends: 'none' });
    else this.#schedule();
  }

  /**
   * @param body is given what the caller has seen: what it shows, and what its session has seen elsewhere; and where to tell
   *   of what it is shown that this replica has not got.
   */
  async #answer<T>(
    caller: EdgeCaller,
    body: (after: CausalContext, leftMs: () => number, show: (more: CausalContext) => void) => Promise<T>,
  ): Promise<EdgeAnswer<T>> {
    this.#use(caller.hints);
    const { session } = caller;
    let { after } = caller;
    let fits = false;
    const leftMs = leftOf(clock, caller.waitMs);
    const result = await toResult(async () => {
      const show = (more: CausalContext) => {
        after = joined(after, more, this.#replica.meta.epoch);
        if (session !== undefined) this.#sessions.saw(session.name, more);
      };
      const fitting = async () => {
        await this.#access.fit(after, leftMs());
        fits = true;
        return await body(after, leftMs, show);
      };
      if (session === undefined) return await fitting();
      const seen = await this.#sessions.enter(session.name, leftMs(), session.isNeeded);
      after = joined(after, seen, this.#replica.meta.epoch);
      try {
        return await fitting();
      } finally {
        await this.#sessions.stay(session.name, leftMs());
      }
    });
    this.#sendOrSchedule();
    return {
      result,
      vectorClock: this.#replica.vectorClock(),
      // What is refused is given back as it came.
      context: fits ? this.#replica.causalContext(after) : caller.after,
    };
  }

  #syncSoon(ends: Demand['ends'] = 'none'): void {
    this.ctx.waitUntil(this.#link.sync({ ends }));
  }

  /** What may go at once goes. What comes while a sync is under way goes with that, or is seen to at its end. */
  #sendOrSchedule(): void {
    if (this.#link.isDue && this.#replica.hasUnsent(leastAtOnce(this.#plan()))) this.#syncSoon();
    this.#schedule();
  }

  /** After all that happens: tells of it, and sets the alarm that is needed. */
  #schedule(): void {
    this.#tellStatus();
    void this.#pokes?.keep(this.#link.online && this.#isLive);
    const wakesAtMs = wakeAtMs(this.#waking());
    if (wakesAtMs !== null) this.#alarm.ringBy(wakesAtMs);
  }

  #waking(): Waking {
    return {
      nowMs: clock.nowMs(),
      link: this.#link,
      replica: this.#replica,
      plan: this.#plan(),
      msUntilOtherPlan: this.#caller.msUntilDoubted,
      msUntilBringing: this.#relay.msUntilBringing,
      isUsed: this.#caller.isThere,
      isWatched: this.#isWatched,
      hasPokeSocket: this.#pokes !== undefined,
    };
  }

  #tellStatus(): void {
    this.ctx.waitUntil(this.#live.statusMayHaveChanged());
  }

  /** @param hints of the caller; undefined: it gave none, and those before it hold. */
  #use(hints?: NetworkReport): void {
    this.#caller.called();
    this.#hinted(hints);
  }

  #hinted(hints: NetworkReport | undefined): void {
    if (hints === undefined) return;
    this.#caller.hinted(hints);
    this.#tellStatus();
  }

  get #isLive(): boolean {
    return this.#caller.isThere || this.#isWatched;
  }

  /** By RPC nothing is. */
  get #compresses(): boolean {
    const { session } = this.#replica.meta;
    return this.#pokes !== undefined && session?.capabilities?.includes('compression') === true;
  }

  #plan(): Plan {
    return planFor(this.#report(), this.#upstream.quality);
  }

  #report(): NetworkReport {
    const { online: _, ...said } = this.#network;
    return reportOf(said, this.#caller.hints);
  }
}

const NETWORK_KEY = 'network';
const FILTER_KEY = 'filter';

/** An edge object is named `<space>/<node>`. */
function identityOf(ctx: DurableObjectState) {
  const [first = '', second = ''] = (ctx.id.name ?? '').split('/');
  const space = toSpaceId(first);
  const nodeId = toNodeId(second);
  if (space === undefined || nodeId === undefined) {
    throw new Error('invariant broken: an edge object is named by its space and node');
  }
  return [space, nodeId] as const;
}
