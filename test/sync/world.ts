import { definePolicies } from '../../src/core/define-policies.ts';
import { digestOf, digestTotal } from '../../src/core/digest.ts';
import {
  type EntityId,
  type EntityType,
  entityKey,
  type NodeId,
  toEntityId,
  toEntityType,
  toNodeId,
} from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policies, Policy } from '../../src/core/policy.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import {
  type Batch,
  type BatchAnswer,
  batch,
  batchAnswer,
  connectAnswer,
  connectRequest,
  handshakeAnswer,
  handshakeRequest,
} from '../../src/protocol/messages.ts';
import { MemoryCloudStore } from '../../src/store/memory-cloud-store.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { Access } from '../../src/sync/access.ts';
import type { Caller } from '../../src/sync/caller.ts';
import type { AwaitedResolution } from '../../src/sync/commit.ts';
import { Link } from '../../src/sync/link.ts';
import type { LinkState } from '../../src/sync/machine.ts';
import { NodeResolver } from '../../src/sync/node-resolver.ts';
import type { Plan } from '../../src/sync/plan.ts';
import type { Clock, Entropy, Metered, Upstream } from '../../src/sync/ports.ts';
import type { Carrier } from '../../src/sync/relay.ts';
import { Replica } from '../../src/sync/replica.ts';
import { Responder } from '../../src/sync/responder.ts';
import { Sequencer } from '../../src/sync/sequencer.ts';
import { NO_BYTES } from '../../src/sync/tally.ts';
import type { VisibleChange } from '../../src/sync/visible-changes.ts';
import type { WriteContent } from '../../src/sync/write.ts';

/** What happens to the next call of a node. */
export type Fault = 'none' | 'request-lost' | 'answer-lost' | 'duplicated';
export type Call = 'connect' | 'handshake' | 'exchange';

export const TYPE: EntityType = entityType('note');

interface WorldOptions {
  readonly policy?: Partial<Policy>;
  readonly types?: Readonly<Record<string, Partial<Policy>>>;
  readonly cloudPolicies?: Policies;
}

/** One cloud in memory, production code as its nodes are; time stands still unless told. */
export class World {
  nowMs = 1_000_000_000_000;
  readonly entropy: Entropy;
  /** Waits that have not ended. */
  readonly waits = new Set<number>();
  readonly clock: Clock = { nowMs: () => this.nowMs, sleep: (ms, signal) => this.sleep(ms, signal) };
  cloudStore = new MemoryCloudStore();
  /** Size of the pages that the cloud gives out; undefined: as large as it likes. */
  pageLimit: number | undefined;
  /** Of the cloud from its next start; its nodes go by {@link policies}. */
  cloudPolicies: Policies;
  sequencer!: Sequencer;
  responder!: Responder;
  /** Changes that the cloud refuses, as by the schema of their type. */
  refuse: (change: { readonly data?: JsonObject | undefined }) => boolean = () => false;
  /** Resolvers that didn't answer at once. */
  readonly awaited: AwaitedResolution[] = [];
  #nextWait = 0;
  readonly policies: Policies;

  /**
   * @param options `policy`: of every type, here and in the cloud, but for `types`, which have their own;
   *   `cloudPolicies`: where the cloud has others.
   */
  constructor({ policy = {}, types = {}, cloudPolicies }: WorldOptions = {}) {
    const plain = definePolicies({ types: {} }).default;
    const named = Object.entries(types).map(([entry, own]) => [entry, { ...plain, ...own, entry }]);
    this.policies = { types: Object.fromEntries(named), default: { ...plain, ...policy } };
    this.cloudPolicies = cloudPolicies ?? this.policies;
    let ids = 0;
    this.entropy = {
      id: () => {
        ids += 1;
        return `id${ids}`;
      },
      fraction: () => 0.5,
    };
    this.restartCloud();
  }

  /** Nothing of the cloud survives but its store. */
  restartCloud(): void {
    const { clock, entropy } = this;
    const parts = { store: this.cloudStore, policies: this.#cloudPolicies(), clock, entropy };
    this.sequencer = new Sequencer({ ...parts, onAwaited: (awaited) => this.awaited.push(awaited) });
    this.responder = new Responder({ ...parts, sequencer: this.sequencer });
  }

  #cloudPolicies(): Policies {
    const validate = (value: unknown) =>
      this.refuse({ data: value as JsonObject }) ? { issues: [{ message: 'refused' }] } : { value };
    const { types, default: other } = this.cloudPolicies;
    const schema = other.schema ?? { '~standard': { version: 1 as const, vendor: 'test', validate } };
    return { types, default: { ...other, schema } };
  }

  /** The cloud, as those who carry texts reach it. */
  readonly carrier: Carrier = {
    connect: async (request) => JSON.stringify(this.responder.connect(connectRequest.parse(JSON.parse(request)))),
    handshake: async (sessionId, request, caller) =>
      JSON.stringify(this.responder.handshake(sessionId, handshakeRequest.parse(JSON.parse(request)), caller)),
    exchange: async (sessionId, text, caller) =>
      JSON.stringify(this.responder.exchange(sessionId, batch.parse(JSON.parse(text)), caller)),
    disconnect: async (sessionId, caller) => JSON.stringify(this.responder.disconnect(sessionId, caller) ?? {}),
  };

  /** The cloud begins again, with nothing. */
  loseCloud(): void {
    this.cloudStore = new MemoryCloudStore();
    this.restartCloud();
  }

  /** A pause ends at once; a wait never does, so that whoever waits has to be answered. */
  readonly sleep = (ms: number, signal?: AbortSignal): Promise<void> => {
    if (ms === 0) return Promise.resolve();
    const wait = this.#nextWait++;
    this.waits.add(wait);
    return new Promise((resolve) => {
      signal?.addEventListener('abort', () => {
        this.waits.delete(wait);
        resolve();
      });
    });
  };

  cloudDigest(): string {
    return digestTotal(digestOf(this.cloudStore.readAfter(0, 100_000)));
  }
}

export class Node {
  readonly nodeId: NodeId;
  readonly #world: World;
  readonly #skewMs: number;
  store = new MemoryReplicaStore();
  fault: Fault = 'none';
  connectFault: Fault = 'none';
  handshakeFault: Fault = 'none';
  /** Called before each call of this node; what it throws is what the call fails with. */
  beforeCall: (call: Call) => void = () => undefined;
  /** As {@link beforeCall}, of an exchange. */
  beforeSend: (batch: Batch) => void = () => undefined;
  /** The only types that it asks for, from its next start. */
  entityTypes: readonly EntityType[] | undefined;
  /** What the token of the node allows. */
  grant: Pick<Caller, 'readTypes' | 'writeTypes'> = {};
  /** What the node answers to conflicts that the policy leaves to it. */
  resolve: Resolver | undefined;
  /** Awaited before each exchange of this node. */
  beforeExchange: () => Promise<void> = async () => undefined;
  /** By which the node's link goes. */
  plan: Pick<Plan, 'strategy' | 'batchSize' | 'batchBytes'> = {
    strategy: 'full',
    batchSize: 3,
    batchBytes: LIMITS.batchBytes,
  };
  /** What was logged: nothing, where nothing is wrong. */
  readonly errors: Record<string, unknown>[] = [];
  /** Of which types visible changes are told. */
  watches: (entityType: EntityType) => boolean = () => false;
  /** The visible changes that were told, and the states that the link was said to go through. */
  readonly seen: VisibleChange[] = [];
  readonly states: LinkState[] = [];
  /** Of each exchange, whether it was to be compressed. */
  readonly compressed: boolean[] = [];
  /** The node between this one and the cloud; undefined: there is none. */
  above: Carrier | undefined;
  /** What went to and fro. */
  readonly exchanges: { readonly batch: Batch; readonly answer: BatchAnswer }[] = [];
  /** What goes before all that it sends. */
  first: () => Promise<void> = async () => undefined;
  /** Told of what the link tells. */
  heard: (what: 'state' | 'exchange' | 'end') => void = () => undefined;
  replica!: Replica;
  link!: Link;
  access!: Access;

  constructor(world: World, name: string, skewMs = 0) {
    this.#world = world;
    this.#skewMs = skewMs;
    this.nodeId = made(toNodeId(name));
    this.restart();
  }

  /** Nothing of the node survives but its store. */
  restart(): void {
    const { entropy, policies } = this.#world;
    const clock: Clock = { nowMs: () => this.#world.nowMs + this.#skewMs, sleep: this.#world.sleep };
    const { store, nodeId, entityTypes } = this;
    const changed = (change: VisibleChange) => this.seen.push(change);
    const watcher = { watches: (entityType: EntityType) => this.watches(entityType), changed };
    this.replica = new Replica({ store, nodeId, policies, clock, entityTypes, watcher });
    this.link = new Link({
      replica: this.replica,
      upstream: this.#upstream(),
      resolver: new NodeResolver({ replica: this.replica, policies, clock, resolverFor: () => this.resolve }),
      clock,
      entropy,
      logger: { error: (event, fields) => this.errors.push({ event, ...fields }) },
      isLive: () => false,
      plan: () => this.plan,
      first: () => this.first(),
      onState: (state) => {
        this.states.push(state);
        this.heard('state');
      },
      onExchange: () => this.heard('exchange'),
      onEnd: () => this.heard('end'),
    });
    this.access = new Access(this.replica, this.link, clock);
  }

  /** Not even that. */
  restartEmpty(): void {
    this.store = new MemoryReplicaStore();
    this.restart();
  }

  write(id: string, content: WriteContent, type: EntityType = TYPE): string {
    return this.replica.write({ entityType: type, entityId: entityId(id), ...content }, {}).changeId;
  }

  put(id: string, data: JsonObject, type: EntityType = TYPE): string {
    return this.write(id, { kind: 'put', data }, type);
  }

  read(id: string, type: EntityType = TYPE): JsonObject | undefined {
    return this.replica.read(entityKey({ entityType: type, entityId: entityId(id) }))?.data;
  }

  list(type: EntityType = TYPE): Record<string, JsonObject> {
    return Object.fromEntries(this.replica.list(type, '', 1000).items.map(({ entityId, data }) => [entityId, data]));
  }

  #tier(): Carrier {
    return this.above ?? this.#world.carrier;
  }

  /** Messages cross as texts, and are checked on arrival, as on every real way. */
  #upstream(): Upstream {
    const caller = () => ({ nodeId: this.nodeId, relay: false, ...this.grant });
    return {
      connect: async (request) => {
        this.beforeCall('connect');
        const fault = this.connectFault;
        this.connectFault = 'none';
        return faulty(fault, () => {
          const answer = this.#tier().connect(JSON.stringify(overTheWire(request)), caller());
          return answer.then((text) => connectAnswer.parse(JSON.parse(text)));
        });
      },
      handshake: async (sessionId, request) => {
        this.beforeCall('handshake');
        const fault = this.handshakeFault;
        this.handshakeFault = 'none';
        return faulty(fault, () => {
          const answer = this.#tier().handshake(sessionId, JSON.stringify(overTheWire(request)), caller());
          return answer.then((text) => handshakeAnswer.parse(JSON.parse(text)));
        });
      },
      exchange: async (sessionId, sent, compress) => {
        this.compressed.push(compress);
        await this.beforeExchange();
        this.beforeCall('exchange');
        this.beforeSend(sent);
        const fault = this.fault;
        this.fault = 'none';
        return faulty(fault, () => {
          const text = JSON.stringify(overTheWire({ ...sent, limit: this.#world.pageLimit }));
          const answered = this.#tier().exchange(sessionId, text, caller());
          return answered.then((answer) => {
            const parsed = batchAnswer.parse(JSON.parse(answer));
            this.exchanges.push({ batch: sent, answer: parsed });
            return parsed;
          });
        });
      },
    };
  }
}

function overTheWire(message: unknown): unknown {
  const text = JSON.stringify(message);
  if (text.length > LIMITS.batchBytes) throw new SyncError('too_large', 'the message is too large');
  return JSON.parse(text);
}

/** What was sent twice is answered twice, and the node hears the first answer. */
async function faulty<T>(fault: Fault, serve: () => Promise<T>): Promise<Metered<T>> {
  if (fault === 'request-lost') throw new SyncError('cloud_unavailable', 'the request is lost');
  const value = await serve();
  if (fault === 'duplicated') await serve();
  if (fault === 'answer-lost') throw new SyncError('cloud_unavailable', 'the answer is lost');
  return { value, ...NO_BYTES };
}

export function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

export function entityType(text: string): EntityType {
  return made(toEntityType(text));
}

export function entityId(text: string): EntityId {
  return made(toEntityId(text));
}

export function nodeId(text: string): NodeId {
  return made(toNodeId(text));
}
