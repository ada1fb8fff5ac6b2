import { type CausalContext, joined } from '../core/causal-context.ts';
import { PRIORITIES, type Priority } from '../core/change.ts';
import { type ConsistencyLevel, toConsistencyLevel } from '../core/consistency.ts';
import type { Operation } from '../core/delta.ts';
import {
  type EntityId,
  type EntityKey,
  type EntityType,
  entityKey,
  toEntityId,
  toEntityType,
  toNodeId,
} from '../core/ids.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { type ConflictRule, type Policies, policyFor, type RecordOf } from '../core/policy.ts';
import type { Resolver } from '../core/resolver.ts';
import { clock } from '../platform/clock.ts';
import { entropy } from '../platform/entropy.ts';
import { logger } from '../platform/logger.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { operations } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import { Access } from '../sync/access.ts';
import { Link } from '../sync/link.ts';
import { MeasuredUpstream } from '../sync/measured-upstream.ts';
import { NodeResolver } from '../sync/node-resolver.ts';
import { leastAtOnce, type NetworkReport, planFor } from '../sync/plan.ts';
import type { Upstream } from '../sync/ports.ts';
import { type QueueItem, queueItemOf } from '../sync/queue-item.ts';
import { Replica } from '../sync/replica.ts';
import type { SyncSummary } from '../sync/tally.ts';
import type { VisibleChange } from '../sync/visible-changes.ts';
import { wakeAtMs } from '../sync/waking.ts';
import { within } from '../sync/within.ts';
import type { Once, Write, WriteContent, Written } from '../sync/write.ts';
import { httpUpstream } from '../transport/http.ts';
import { LiveSocket } from '../transport/live-socket.ts';
import { asTold, type ConsistencyRule, clientPolicies, differences } from './client-policies.ts';
import { givenJson } from './given-json.ts';
import { watchNetwork } from './network-watch.ts';
import type { OpenStorage } from './open-storage.ts';
import { Receipts, type Settlement } from './receipts.ts';
import type { Share } from './sharing.ts';
import { type ClientStorage, memoryStorage } from './storage.ts';
import { ownerOf, type TokenGiven, TokenSource } from './token-source.ts';
import {
  type AnyRecords,
  asTyped,
  type ClientRecord,
  type RecordChange,
  type ResolverOf,
  type TransactionWrite,
  type TypeName,
} from './typed.ts';
import { socketOpener } from './web-socket.ts';

export interface ClientOptions<P extends Policies = AnyRecords> {
  /** Unique among all that write to the space; the token may have to name it. */
  readonly nodeId: string;
  /** The cloud, `https://host/v1`, or an edge node, `https://host/v1/edge/<node>`. */
  readonly cloudEndpoint: string;
  /** A bearer token of the role `node`, or where to get one: asked at the start, and when the last was refused. */
  readonly token: TokenGiven;
  /** By entity type; `eventual`, where none is said. */
  readonly consistencyRules?: { readonly [T in TypeName<P>]?: ConsistencyRule } | undefined;
  /** By entity type: what the client expects of the cloud, whose policies decide. */
  readonly conflictStrategies?: { readonly [T in TypeName<P>]?: ConflictRule } | undefined;
  /** Where records and queue are kept; in memory, where none is given. */
  readonly storage?: ClientStorage | undefined;
  /** The only entity types that this client holds. */
  readonly entityTypes?: readonly TypeName<P>[] | undefined;
  readonly fetch?: typeof fetch | undefined;
  /** False: no socket tells of news; it is asked for every half minute. */
  readonly live?: boolean | undefined;
}

export interface ReadOptions {
  readonly level?: ConsistencyLevel | undefined;
  readonly maxStaleness?: number | undefined;
  /** Of one user of this client among several: reads and writes with it see all that went before with it. */
  readonly sessionId?: string | undefined;
  readonly waitMs?: number | undefined;
}

export interface WriteOptions extends ReadOptions {
  readonly priority?: Priority | undefined;
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
}

/** What a write did here; `settled` is what the cloud made of it, which may take until there is a link again. */
export interface Receipt<Data = JsonObject> {
  readonly changeId: string;
  readonly version: string;
  readonly created: boolean;
  readonly data: Data | null;
  readonly settled: Promise<Settlement>;
}

export interface ClientEvents<P extends Policies = AnyRecords> {
  /** The link went into another state, or was cut or let in. */
  state: string;
  change: RecordChange<P>;
  settled: Settlement;
  /** The cloud refused a change. */
  deadLetter: Settlement;
  /** A change met another one; its record is in the cloud's inbox. */
  conflict: Settlement;
}

type Listener<Event> = (event: Event) => void;

/** What clients that share a storage are told by the one that has it open. */
type SharedEvent =
  | { readonly kind: 'told'; readonly name: keyof ClientEvents; readonly event: ClientEvents[keyof ClientEvents] }
  /** What a session has seen. */
  | { readonly kind: 'session'; readonly id: string; readonly seen: CausalContext };

/** A receipt as data; what becomes of it is asked for by itself. */
type Acknowledged = Omit<Receipt, 'settled'>;

/** How a write is known that is asked for again, and when it was asked for first. */
interface Asked extends Once {
  readonly atMs: number;
}

/** What is there from `initialize` to `close`. */
interface Running {
  readonly storage: OpenStorage;
  readonly replica: Replica;
  readonly link: Link;
  readonly access: Access;
  readonly upstream: MeasuredUpstream;
  /** By which it is told of news; undefined: there are no sockets here, and it asks now and then. */
  readonly live: LiveSocket | undefined;
}

/**
 * A client: a replica as any other, with the same engine and protocol as an edge node. It reads and writes at once, online
 * or not, and syncs by itself. `design.md`, section 1.
 *
 * `P`: the type of the policies, `typeof policies`, by which records are typed. Of the policies themselves nothing is here.
 */
export class EdgeCloudClient<P extends Policies = AnyRecords> {
  readonly #options: ClientOptions<P>;
  readonly #own: ReturnType<typeof clientPolicies>;
  #policies: ReturnType<typeof clientPolicies>;
  #warnings: readonly string[] = [];
  readonly #tokens: TokenSource;
  readonly #resolvers = new Map<string, Resolver>();
  readonly #sessions = new Map<string, CausalContext>();
  readonly #listeners = new Map<keyof ClientEvents, Set<Listener<never>>>();
  readonly #receipts: Receipts;
  /** Answers whose effect is not visible yet. */
  #answers: Parameters<Receipts['answered']>[] = [];
  #network: NetworkReport = {};
  #running: Running | undefined;
  /** With other clients, one of which has the storage open. */
  #share: Share<Calls, SharedEvent, ClientStatus> | undefined;
  /** Of the network. */
  #endWatch = (): void => undefined;
  #timer: ReturnType<typeof setTimeout> | null = null;

  /** @throws PolicyError, SyncError `bad_name` for what can't be. */
  constructor(options: ClientOptions<P>) {
    this.#options = options;
    this.#own = clientPolicies(options.consistencyRules ?? {}, options.conflictStrategies ?? {});
    this.#policies = this.#own;
    this.#tokens = new TokenSource(options.token);
    if (toNodeId(options.nodeId) === undefined) throw new SyncError('bad_name', 'nodeId is no node id');
    this.#receipts = new Receipts((settlement) => this.#settled(settlement));
  }

  /** Opens the storage, and begins to sync. */
  async initialize(): Promise<void> {
    if (this.#running !== undefined || this.#share !== undefined) return;
    const { nodeId, storage = memoryStorage() } = this.#options;
    if ('open' in storage) return this.#start(await storage.open(nodeId), false);
    const owner = within(
      clock,
      LIMITS.exchangeTimeoutMs,
      this.#tokens.get().then(ownerOf, () => undefined),
    );
    const share = storage.share<Calls, SharedEvent, ClientStatus>(nodeId, {
      calls: this.#calls,
      owner: () => owner,
      lead: (opened, isPaused) => this.#start(opened, isPaused),
      resume: () => this.#goOn(),
      leave: (isBroken) => this.#stop(isBroken),
      follow: () => this.#deliver('state', this.status().state),
      status: () => this.status(),
      told: (event) => {
        if (event.kind === 'told') this.#deliver(event.name, event.event);
        else this.#sessions.set(event.id, event.seen);
      },
    });
    this.#share = share;
    try {
      await share.joined;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** @param isPaused nothing is synced before {@link #goOn}. */
  #start(storage: OpenStorage, isPaused: boolean): void {
    const { nodeId: name, entityTypes } = this.#options;
    const nodeId = toNodeId(name);
    if (nodeId === undefined) throw new SyncError('bad_name', 'nodeId is no node id');
    const client = this;
    const policies = {
      get types() {
        return client.#policies.types;
      },
      get default() {
        return client.#policies.default;
      },
    };
    const watcher = { watches: () => true, changed: (change: VisibleChange) => this.#emit('change', change) };
    const types = entityTypes?.map((type) => typeOf(type));
    const replica = new Replica({ store: storage.store, nodeId, policies, clock, watcher, entityTypes: types });
    const upstream = new MeasuredUpstream(this.#upstream(storage, replica), clock);
    const resolverFor = (entityType: EntityType) => this.#resolvers.get(entityType);
    const link = new Link({
      replica,
      upstream,
      resolver: new NodeResolver({ replica, policies, clock, resolverFor }),
      clock,
      entropy,
      logger,
      isLive: () => false,
      plan: () => planFor(this.#network, upstream.quality),
      onState: (state) => this.#emit('state', state),
      onExchange: () => this.#tellAnswers(),
      onEnd: () => this.#schedule(),
    });
    const live = this.#liveSocket(replica, link);
    const access = new Access(replica, link, clock);
    this.#running = { storage, replica, link, access, upstream, live };
    if (isPaused) link.setOnline(false);
    else this.#goOn();
  }

  /** Syncs, and goes by the network as the platform says it is. */
  #goOn(): void {
    const { link } = this.#open();
    if (!link.online) link.setOnline(true);
    this.#endWatch();
    this.#endWatch = watchNetwork((report) => this.setNetwork(report));
    void link.sync();
  }

  /** @throws SyncError `invalid_data` for what JSON can't hold, and as the API's errors say. */
  async write<T extends TypeName<P>>(
    entityType: T,
    entityId: string,
    data: RecordOf<P, T>,
    options: WriteOptions = {},
  ): Promise<Receipt<RecordOf<P, T>>> {
    return asTyped(await this.#write(entityType, entityId, { kind: 'put', data }, options));
  }

  async patch<T extends TypeName<P>>(
    entityType: T,
    entityId: string,
    operations: readonly Operation[],
    options: WriteOptions = {},
  ): Promise<Receipt<RecordOf<P, T>>> {
    return asTyped(await this.#write(entityType, entityId, { kind: 'patch', operations }, options));
  }

  async delete(entityType: TypeName<P>, entityId: string, options: WriteOptions = {}): Promise<Receipt> {
    return await this.#write(entityType, entityId, { kind: 'delete' }, options);
  }

  /** Writes several records, all or none. */
  async transact(writes: readonly TransactionWrite<P>[], options: WriteOptions = {}): Promise<readonly Receipt[]> {
    checkOptions(options);
    const { priority } = options;
    const all = writes.map((write): Write => {
      return { ...addressOf(write.entityType, write.entityId), ...contentOf(write), priority };
    });
    const leader = this.#leader;
    if (leader !== undefined) return receiptsOf(leader, all, await leader.ask('transact', all, options, asked()));
    return await this.#transact(all, options);
  }

  async #transact(all: readonly Write[], options: WriteOptions, once?: Once): Promise<readonly Receipt[]> {
    const { replica, access, storage } = this.#open();
    const { waitMs = LIMITS.waitMs } = options;
    const levels = all.map(({ entityType }) => options.level ?? policyFor(this.#policies, entityType).consistency);
    const after = this.#after(options);
    if (levels.includes('strong')) {
      const written = await access.transactStrong(all, after, waitMs, once);
      await shown(storage);
      this.#note(options, replica);
      return written.map((each) => ({ ...each, settled: this.#receipts.settle(settledAs(each)) }));
    }
    const isDone = replica.written(once) !== undefined;
    const written = await access.transact(all, after, waitMs, once);
    return await this.#receiptsOf(all, written, options, storage, replica, isDone);
  }

  async read<T extends TypeName<P>>(
    entityType: T,
    entityId: string,
    options: ReadOptions = {},
  ): Promise<ClientRecord<RecordOf<P, T>> | null> {
    if (this.#leader !== undefined) return asTyped(await this.#leader.ask('read', entityType, entityId, options));
    const { replica, access, storage } = this.#open();
    const address = addressOf(entityType, entityId);
    const { source } = await access.satisfy(address.entityType, this.#demand(address.entityType, options));
    const view = replica.read(entityKey(address), source);
    await storage.durable();
    this.#note(options, replica);
    if (view === undefined) return null;
    const { data, version, synced } = view;
    return { ...address, data: asTyped(data), version, synced };
  }

  /** Of one type, in the order of their ids. */
  async list<T extends TypeName<P>>(
    entityType: T,
    { after = '', limit = LIMITS.listItemsDefault, ...options }: ReadOptions & { after?: string; limit?: number } = {},
  ): Promise<{ items: readonly ClientRecord<RecordOf<P, T>>[]; next: string | null }> {
    const leader = this.#leader;
    if (leader !== undefined) return asTyped(await leader.ask('list', entityType, { after, limit, ...options }));
    const { replica, access, storage } = this.#open();
    const type = typeOf(entityType);
    const { source } = await access.satisfy(type, this.#demand(type, options));
    const { items, next } = replica.list(type, after, limit, source);
    await storage.durable();
    this.#note(options, replica);
    const records = items.map(({ entityId, data, version, synced }) => ({
      entityType,
      entityId,
      data: asTyped<RecordOf<P, T>>(data),
      version,
      synced,
    }));
    return { items: records, next: next ?? null };
  }

  /** What the cloud has refused, oldest first: it is shown no more, and waits for somebody to send or to discard it. */
  async deadLetters(): Promise<readonly QueueItem[]> {
    if (this.#leader !== undefined) return await this.#leader.ask('deadLetters');
    const { replica, storage } = this.#open();
    const dead: QueueItem[] = [];
    for (let after: number | null = 0; after !== null; ) {
      const { items, next }: ReturnType<Replica['listQueue']> = replica.listQueue('dead', after, LIMITS.listItems);
      dead.push(...items.map(queueItemOf));
      after = next;
    }
    await storage.durable();
    return dead;
  }

  /**
   * Sends a dead letter again, as a new change, with all of its transaction.
   *
   * @param given the record that it shall make instead.
   * @throws SyncError `not_found`, `not_dead`, and for `given` as {@link write}
   */
  async retryDead(changeId: string, given?: JsonObject): Promise<Pick<Receipt, 'changeId' | 'settled'>> {
    const data = given === undefined ? undefined : givenObject(given, 'a record');
    const leader = this.#leader;
    if (leader === undefined) {
      const again = await this.#retryDead(changeId, data);
      return { changeId: again.changeId, settled: this.#settlement(again.key, again.changeId) };
    }
    const again = await leader.ask('retryDead', changeId, data, asked());
    return { changeId: again.changeId, settled: leader.expect('settlement', again.key, again.changeId) };
  }

  async #retryDead(changeId: string, data: JsonObject | undefined, once?: Once): ReturnType<Calls['retryDead']> {
    const { replica, storage } = this.#open();
    const again = replica.retryDead(changeId, data, once);
    const queued = [...replica.queued()].find(({ change }) => change.id === again);
    await storage.durable();
    this.#sendOrSchedule();
    return { changeId: again, key: queued && entityKey(queued.change) };
  }

  /** Gives a dead letter up, with all of its transaction. @throws SyncError `not_found`, `not_dead` */
  async discardDead(changeId: string): Promise<void> {
    const leader = this.#leader;
    await (leader === undefined ? this.#discardDead(changeId) : leader.ask('discardDead', changeId, asked()));
  }

  async #discardDead(changeId: string, once?: Once): Promise<void> {
    const { replica, storage } = this.#open();
    replica.discardDead(changeId, once);
    await storage.durable();
    this.#sendOrSchedule();
  }

  /** Syncs now; never throws. */
  async sync(): Promise<SyncSummary> {
    if (this.#leader !== undefined) return await this.#leader.ask('sync');
    return (await this.#open().link.sync({ all: true })).summary;
  }

  /** Whether it is initialized, and not closed. */
  get isOpen(): boolean {
    return this.#running !== undefined || this.#share?.status !== undefined;
  }

  status(): ClientStatus {
    return this.#leader?.status ?? statusOf(this.#open(), this.#network, this.#warnings);
  }

  /** What the platform says of the link. */
  setNetwork(given: NetworkReport & { readonly online?: boolean }): void {
    // Whoever leads by then hears of it; where nobody does, there is nothing to tell.
    if (this.#leader !== undefined) return void this.#leader.ask('setNetwork', given).catch(() => null);
    const { online, ...report } = given;
    const { link } = this.#open();
    this.#network = { ...this.#network, ...report };
    const wasOnline = link.online;
    link.setOnline(online ?? wasOnline);
    // The link may be in no other state for it.
    if (link.online !== wasOnline) this.#emit('state', link.state);
    if (link.online) void link.sync();
  }

  /** Tells of visible changes of some types; answers how to end that. */
  subscribe<T extends TypeName<P>>(entityTypes: readonly T[], listener: Listener<RecordChange<P, T>>): () => void {
    return this.on('change', (change) => {
      if (entityTypes.some((type) => type === change.entityType)) listener(asTyped(change));
    });
  }

  on<Name extends keyof ClientEvents<P>>(name: Name, listener: Listener<ClientEvents<P>[Name]>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners);
    listeners.add(listener as Listener<never>);
    return () => void listeners.delete(listener as Listener<never>);
  }

  /** Decides conflicts of a type that the cloud leaves to this node. */
  registerCustomResolver<T extends TypeName<P>>(entityType: T, resolver: ResolverOf<P, T>): void {
    this.#resolvers.set(typeOf(entityType), asTyped(resolver));
  }

  /** Ends the syncing, and closes the storage; what waits stays there. */
  async close(): Promise<void> {
    const share = this.#share;
    const isFollowing = this.#leader !== undefined;
    this.#share = undefined;
    await (share === undefined ? this.#stop(false) : share.close());
    // As is told where a link of its own is cut.
    if (isFollowing) this.#deliver('state', 'offline');
  }

  /** @param isBroken the storage has failed: what is under way comes to nothing. */
  async #stop(isBroken: boolean): Promise<void> {
    const running = this.#running;
    this.#running = undefined;
    this.#sleep();
    if (running === undefined) return;
    const { live, link, storage } = running;
    this.#endWatch();
    void live?.keep(false);
    link.setOnline(false);
    try {
      if (isBroken) return;
      // One that begins now ends at once, and not before the one that is under way.
      await link.sync();
      await storage.durable();
    } finally {
      await storage.close();
    }
  }

  /** Who has the storage open, or will have it, where this client shares it and has not. */
  get #leader(): Share<Calls, SharedEvent, ClientStatus> | undefined {
    return this.#running === undefined ? this.#share : undefined;
  }

  /** What the others ask for while this client has the storage open. */
  get #calls(): Calls {
    const client: EdgeCloudClient = asTyped(this);
    return {
      write: async (write, options, asked) => acknowledged(await this.#writeHere(write, options, fresh(asked))),
      transact: async (writes, options, asked) => {
        return (await this.#transact(writes, options, fresh(asked))).map(acknowledged);
      },
      settlement: (key, changeId) => this.#settlement(key, changeId),
      retryDead: (changeId, data, asked) => this.#retryDead(changeId, data, fresh(asked)),
      discardDead: (changeId, asked) => this.#discardDead(changeId, fresh(asked)),
      read: (...args) => client.read(...args),
      list: (...args) => client.list(...args),
      deadLetters: () => this.deadLetters(),
      sync: () => this.sync(),
      setNetwork: async (report) => this.setNetwork(report),
    };
  }

  async #write(entityType: string, entityId: string, content: object, options: WriteOptions): Promise<Receipt> {
    checkOptions(options);
    const write: Write = { ...addressOf(entityType, entityId), ...contentOf(content) };
    const leader = this.#leader;
    if (leader === undefined) return await this.#writeHere(write, options);
    const [receipt] = receiptsOf(leader, [write], [await leader.ask('write', write, options, asked())]);
    if (receipt === undefined) throw new Error('invariant broken: a write has a receipt');
    return receipt;
  }

  async #writeHere(write: Write, options: WriteOptions, once?: Once): Promise<Receipt> {
    const { replica, access, storage } = this.#open();
    const { priority, ifMatch, ifNoneMatch, waitMs = LIMITS.waitMs } = options;
    const level = options.level ?? policyFor(this.#policies, write.entityType).consistency;
    const asked: Write = { ...write, priority, ifMatch, ifNoneMatch };
    if (level === 'strong') {
      const written = await access.writeStrong(asked, this.#after(options), waitMs, once);
      await shown(storage);
      this.#note(options, replica);
      return { ...written, settled: this.#receipts.settle(settledAs(written)) };
    }
    const isDone = replica.written(once) !== undefined;
    const written = await access.write(asked, this.#after(options), waitMs, once);
    const [receipt] = await this.#receiptsOf([asked], [written], options, storage, replica, isDone);
    if (receipt === undefined) throw new Error('invariant broken: a write has a receipt');
    return receipt;
  }

  /** Of writes that are acknowledged when they are durable. @param isDone they were, before: the cloud may have them. */
  async #receiptsOf(
    writes: readonly Write[],
    written: readonly Written[],
    options: ReadOptions,
    storage: OpenStorage,
    replica: Replica,
    isDone: boolean,
  ): Promise<Receipt[]> {
    await storage.durable();
    this.#note(options, replica);
    // Not before: what never comes to the disk leaves its id to another write. And before that nothing is sent.
    const receipts = written.map((each, index) => {
      const write = writes[index];
      if (write === undefined) throw new Error('invariant broken: each write has an answer');
      const key = entityKey(write);
      const settled = isDone ? this.#settlement(key, each.changeId) : this.#receipts.expect(key, each.changeId);
      return { ...each, settled };
    });
    this.#sendOrSchedule();
    return receipts;
  }

  #demand(entityType: EntityType, options: ReadOptions) {
    checkLevel(options);
    const policy = policyFor(this.#policies, entityType);
    const level = options.level ?? (options.sessionId === undefined ? policy.consistency : 'session');
    const maxStalenessMs = options.maxStaleness ?? policy.maxStalenessMs;
    return { level, maxStalenessMs, after: this.#after(options), waitMs: options.waitMs ?? LIMITS.waitMs };
  }

  #after({ sessionId }: ReadOptions): CausalContext {
    return sessionId === undefined ? {} : (this.#sessions.get(sessionId) ?? {});
  }

  #note({ sessionId }: ReadOptions, replica: Replica): void {
    if (sessionId === undefined) return;
    const before = this.#sessions.get(sessionId) ?? {};
    const seen = joined(before, replica.causalContext(before), replica.meta.epoch);
    this.#sessions.set(sessionId, seen);
    this.#share?.tell({ kind: 'session', id: sessionId, seen });
  }

  /** What has become of a change of this node, or will. @param key its record, as long as it waits. */
  async #settlement(key: EntityKey | undefined, changeId: string): Promise<Settlement> {
    const known = this.#receipts.known(changeId);
    if (known !== undefined) return await known;
    const fate = this.#open().replica.fateOf(changeId);
    if (fate === 'waiting') {
      if (key === undefined) throw new Error('invariant broken: what waits is of a record');
      return await this.#receipts.expect(key, changeId);
    }
    return fate === 'there' ? { changeId, status: 'duplicate' } : { changeId, status: 'rejected', ...fate };
  }

  #open(): Running {
    if (this.#running === undefined) throw new Error('the client is not initialized, or it is closed');
    return this.#running;
  }

  #upstream(storage: OpenStorage, replica: Replica): Upstream {
    const { fetch: send } = this.#options;
    const http = httpUpstream({
      url: this.#endpoint,
      token: async () => await this.#checkedToken(replica),
      clock,
      ...(send === undefined ? {} : { fetch: send }),
    });
    /** What is sent may have an effect: so what it was made of must not be lost before. */
    const once = async <T>(call: () => Promise<T>): Promise<T> => {
      await storage.durable();
      try {
        return await call();
      } catch (error) {
        if (!(error instanceof SyncError) || error.code !== 'unauthenticated') throw error;
        this.#tokens.refused();
        if (typeof this.#options.token === 'string') throw error;
        return await call();
      }
    };
    return {
      connect: (request) => once(() => http.connect(request)),
      handshake: async (sessionId, request) => {
        const answer = await once(() => http.handshake(sessionId, request));
        this.#warnings = differences(this.#own, answer.value.policies);
        this.#policies = asTold(this.#own, answer.value.policies);
        return answer;
      },
      exchange: async (sessionId, batch, compresses) => {
        const answer = await once(() => http.exchange(sessionId, batch, compresses));
        this.#answers.push([batch, answer.value]);
        return answer;
      },
    };
  }

  #liveSocket(replica: Replica, link: Link): LiveSocket | undefined {
    const open = this.#options.live === false ? undefined : socketOpener();
    if (open === undefined) return undefined;
    return new LiveSocket({
      url: `${this.#endpoint}/sync/live?node=${replica.nodeId}`,
      token: async () => await this.#checkedToken(replica),
      clock,
      entropy,
      fetch: open,
      // What came while nobody listened was not told.
      onOpen: () => void link.sync({ ends: 'own' }),
      onPoke: (head) => void link.hear(head),
      // Not within the failure: until that is over it is still about to be opened.
      onFailed: () => queueMicrotask(() => this.#schedule()),
    });
  }

  get #endpoint(): string {
    return this.#options.cloudEndpoint.replace(/\/+$/, '');
  }

  /** The queue of one user is never sent in the name of another. */
  async #checkedToken(replica: Replica): Promise<string> {
    const token = await this.#tokens.get();
    const owner = ownerOf(token);
    if (owner === undefined || replica.belongsTo(owner)) return token;
    throw new SyncError('forbidden', 'what waits here was written by another user; the token is not theirs');
  }

  #tellAnswers(): void {
    const answers = this.#answers;
    this.#answers = [];
    for (const [batch, answer] of answers) this.#receipts.answered(batch, answer);
  }

  #settled(settlement: Settlement): void {
    this.#emit('settled', settlement);
    if (settlement.status === 'rejected') this.#emit('deadLetter', settlement);
    if (settlement.conflictId !== undefined) this.#emit('conflict', settlement);
  }

  /** Told to all that share the storage, when it is durable. */
  #emit<Name extends keyof ClientEvents>(name: Name, event: ClientEvents[Name]): void {
    if (this.#share === undefined) this.#deliver(name, event);
    else this.#share.tell({ kind: 'told', name, event });
  }

  #deliver(name: keyof ClientEvents, event: ClientEvents[keyof ClientEvents]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        (listener as Listener<typeof event>)(event);
      } catch (error) {
        logger.error('listener_failed', { event: name, error: String(error) });
      }
    }
  }

  #sendOrSchedule(): void {
    const { link, replica, upstream } = this.#open();
    if (link.isDue && replica.hasUnsent(leastAtOnce(planFor(this.#network, upstream.quality)))) void link.sync();
    this.#schedule();
  }

  #schedule(): void {
    this.#sleep();
    if (this.#running === undefined) return;
    const { link, replica, upstream, live } = this.#running;
    void live?.keep(link.online);
    const wakesAtMs = wakeAtMs({
      nowMs: clock.nowMs(),
      link,
      replica,
      plan: planFor(this.#network, upstream.quality),
      msUntilOtherPlan: null,
      isUsed: true,
      isWatched: false,
      hasPokeSocket: false,
    });
    const times = [wakesAtMs, live?.retryAtMs ?? null].filter((atMs) => atMs !== null);
    if (times.length === 0) return;
    this.#timer = setTimeout(() => this.#woken(), Math.max(0, Math.min(...times) - clock.nowMs()));
  }

  #sleep(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #woken(): void {
    const { link } = this.#open();
    if (link.isDue) void link.sync();
    else this.#schedule();
  }
}

export type ClientStatus = ReturnType<typeof statusOf>;

function statusOf({ replica, link, upstream }: Running, network: NetworkReport, warnings: readonly string[]) {
  const { cursor, epoch, asOfMs, digestMismatches } = replica.meta;
  return {
    nodeId: replica.nodeId,
    state: link.state,
    online: link.online,
    paused: link.paused,
    cursor,
    epoch,
    queue: replica.queueStats(),
    asOf: asOfMs === 0 ? null : asOfMs,
    stalenessMs: replica.stalenessMs(),
    plan: planFor(network, upstream.quality),
    lastSyncResult: link.lastSummary,
    nextAttemptAt: link.nextAttemptAtMs,
    digestMismatches,
    warnings,
  };
}

/** What one client does for the others that share its storage. */
type Calls = {
  write(write: Write, options: WriteOptions, asked: Asked): Promise<Acknowledged>;
  transact(writes: readonly Write[], options: WriteOptions, asked: Asked): Promise<readonly Acknowledged[]>;
  settlement(key: EntityKey | undefined, changeId: string): Promise<Settlement>;
  /** @returns with the record of the change, as long as that waits. */
  retryDead(
    changeId: string,
    data: JsonObject | undefined,
    asked: Asked,
  ): Promise<{ readonly changeId: string; readonly key: EntityKey | undefined }>;
  discardDead(changeId: string, asked: Asked): Promise<void>;
  setNetwork(report: Parameters<EdgeCloudClient['setNetwork']>[0]): Promise<void>;
} & Pick<EdgeCloudClient, 'read' | 'list' | 'deadLetters' | 'sync'>;

function asked(): Asked {
  const key = entropy.id();
  return { key, hash: key, atMs: clock.nowMs() };
}

/** @throws SyncError `outcome_unknown`: it may have been done, and nobody remembers that any more. */
function fresh({ atMs, ...once }: Asked): Once {
  if (Math.abs(clock.nowMs() - atMs) < LIMITS.memoMs) return once;
  throw new SyncError('outcome_unknown', 'the tab that was asked is gone, and has not answered for a day');
}

function acknowledged({ settled: _, ...receipt }: Receipt): Acknowledged {
  return receipt;
}

function receiptsOf(
  leader: Share<Calls, SharedEvent, ClientStatus>,
  writes: readonly Write[],
  all: readonly Acknowledged[],
): Receipt[] {
  return all.map((receipt, index) => {
    const write = writes[index];
    if (write === undefined) throw new Error('invariant broken: each write has an answer');
    return { ...receipt, settled: leader.expect('settlement', entityKey(write), receipt.changeId) };
  });
}

/** What tsc doesn't see may be of any shape; it is told before anything is written. @throws SyncError `bad_request`, `bad_consistency` */
function checkOptions(options: WriteOptions): void {
  checkLevel(options);
  const { priority } = options;
  if (priority !== undefined && !PRIORITIES.includes(priority)) {
    throw new SyncError('bad_request', `a priority is ${PRIORITIES.join(', ')}`);
  }
}

/** What is to be written, as JSON. @throws SyncError `bad_request`, and as {@link givenJson} */
function contentOf(given: { readonly [Field in 'kind' | 'data' | 'operations' | 'patch']?: unknown }): WriteContent {
  switch (given.kind) {
    case 'put':
      return { kind: 'put', data: givenObject(given.data, 'a record') };
    case 'patch':
      return { kind: 'patch', operations: parseWith(operations, givenJson(given.operations)) };
    case 'merge-patch':
      return { kind: 'merge-patch', patch: givenObject(given.patch, 'a merge patch') };
    case 'delete':
      return { kind: 'delete' };
    default:
      throw new SyncError('bad_request', 'a write is a put, a patch, a merge-patch or a delete');
  }
}

function givenObject(value: unknown, what: string): JsonObject {
  const json = isJsonObject(value) ? givenJson(value) : value;
  if (!isJsonObject(json)) throw new SyncError('bad_request', `${what} is a JSON object`);
  return json;
}

/** Ends when what a strong write has changed is told here too; it is done, whether this storage can keep it or not. */
async function shown(storage: OpenStorage): Promise<void> {
  await storage.durable().catch(() => undefined);
}

function checkLevel({ level }: ReadOptions): void {
  if (level === undefined || toConsistencyLevel(level) !== undefined) return;
  throw new SyncError('bad_consistency', 'a level is strong, eventual, causal or session');
}

function typeOf(text: string): EntityType {
  const type = toEntityType(text);
  if (type === undefined) throw new SyncError('bad_name', `${text.slice(0, 100)} is no entity type`);
  return type;
}

function addressOf(entityType: string, entityId: string): { entityType: EntityType; entityId: EntityId } {
  const id = toEntityId(entityId);
  if (id === undefined) throw new SyncError('bad_name', `${entityId.slice(0, 100)} is no entity id`);
  return { entityType: typeOf(entityType), entityId: id };
}

function settledAs({ changeId, conflictId, entityId }: Written & Partial<Settlement>): Settlement {
  return { changeId, status: 'applied', conflictId, entityId };
}
