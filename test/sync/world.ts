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
import {
  type Batch,
  type BatchAnswer,
  batch,
  batchAnswer,
  connectRequest,
  handshakeAnswer,
  handshakeRequest,
} from '../../src/protocol/messages.ts';
import { MemoryCloudStore } from '../../src/store/memory-cloud-store.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { Access } from '../../src/sync/access.ts';
import type { AwaitedResolution } from '../../src/sync/commit.ts';
import { Link } from '../../src/sync/link.ts';
import { NodeResolver } from '../../src/sync/node-resolver.ts';
import type { Clock, Entropy, Metered, Upstream } from '../../src/sync/ports.ts';
import { Replica, type WriteContent } from '../../src/sync/replica.ts';
import { Responder } from '../../src/sync/responder.ts';
import { Sequencer } from '../../src/sync/sequencer.ts';

/** What happens to the next exchange of a node. */
export type Fault = 'none' | 'request-lost' | 'answer-lost' | 'duplicated';

export const TYPE: EntityType = made(toEntityType('note'));

/** One cloud in memory, production code as its nodes are; time stands still unless told. */
export class World {
  nowMs = 1_000_000_000_000;
  readonly entropy: Entropy;
  readonly clock: Clock = { nowMs: () => this.nowMs, sleep };
  readonly cloudStore = new MemoryCloudStore();
  /** Size of the pages that the cloud gives out; undefined: as large as it likes. */
  pageLimit: number | undefined;
  /** Of the cloud from its next start; its nodes go by {@link policies}. */
  cloudPolicies: Policies;
  sequencer!: Sequencer;
  responder!: Responder;
  /** Resolvers that didn't answer at once. */
  readonly awaited: AwaitedResolution[] = [];
  readonly policies: Policies;

  /** @param options `policy`: of every type, here and in the cloud; `cloudPolicies`: where the cloud has others. */
  constructor({ policy = {}, cloudPolicies }: { policy?: Partial<Policy>; cloudPolicies?: Policies } = {}) {
    this.policies = { types: {}, default: { ...definePolicies({ types: {} }).default, ...policy } };
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
    const { cloudPolicies, clock, entropy } = this;
    const parts = { store: this.cloudStore, policies: cloudPolicies, clock, entropy };
    this.sequencer = new Sequencer({ ...parts, onAwaited: (awaited) => this.awaited.push(awaited) });
    this.responder = new Responder({ ...parts, sequencer: this.sequencer });
  }

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
  /** What the node answers to conflicts that the policy leaves to it. */
  resolve: Resolver | undefined;
  /** Awaited before each exchange of this node. */
  beforeExchange: () => Promise<void> = async () => undefined;
  /** What went to and fro. */
  readonly exchanges: { readonly batch: Batch; readonly answer: BatchAnswer }[] = [];
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
    const clock: Clock = { nowMs: () => this.#world.nowMs + this.#skewMs, sleep };
    this.replica = new Replica({ store: this.store, nodeId: this.nodeId, policies, clock });
    this.link = new Link({
      replica: this.replica,
      upstream: this.#upstream(),
      resolver: new NodeResolver({ replica: this.replica, policies, clock, resolverFor: () => this.resolve }),
      clock,
      entropy,
      isLive: () => false,
      batchSize: () => 3,
    });
    this.access = new Access(this.replica, this.link, clock);
  }

  /** Not even that. */
  restartEmpty(): void {
    this.store = new MemoryReplicaStore();
    this.restart();
  }

  write(id: string, content: WriteContent): string {
    return this.replica.write({ entityType: TYPE, entityId: made(toEntityId(id)), ...content }, {}).changeId;
  }

  put(id: string, data: JsonObject): string {
    return this.write(id, { kind: 'put', data });
  }

  read(id: string): JsonObject | undefined {
    return this.replica.read(entityKey({ entityType: TYPE, entityId: made(toEntityId(id)) }))?.data;
  }

  list(): Record<string, JsonObject> {
    return Object.fromEntries(this.replica.list(TYPE, '', 1000).items.map(({ entityId, data }) => [entityId, data]));
  }

  /** Messages cross as texts, and are checked on arrival, as on every real way. */
  #upstream(): Upstream {
    const caller = { nodeId: this.nodeId, relay: false };
    return {
      connect: async (request) =>
        metered(this.#world.responder.connect(connectRequest.parse(JSON.parse(JSON.stringify(request))))),
      handshake: async (sessionId, request) => {
        const parsed = handshakeRequest.parse(JSON.parse(JSON.stringify(request)));
        return metered(
          handshakeAnswer.parse(JSON.parse(JSON.stringify(this.#world.responder.handshake(sessionId, parsed, caller)))),
        );
      },
      exchange: async (sessionId, sent) => {
        await this.beforeExchange();
        const fault = this.fault;
        this.fault = 'none';
        if (fault === 'request-lost') throw new SyncError('cloud_unavailable', 'the request is lost');
        const text = JSON.stringify({ ...sent, limit: this.#world.pageLimit });
        const serve = (): BatchAnswer => {
          const answer = this.#world.responder.exchange(sessionId, batch.parse(JSON.parse(text)), caller);
          return batchAnswer.parse(JSON.parse(JSON.stringify(answer)));
        };
        const answer = serve();
        this.exchanges.push({ batch: sent, answer });
        if (fault === 'duplicated') serve();
        if (fault === 'answer-lost') throw new SyncError('cloud_unavailable', 'the answer is lost');
        return metered(answer);
      },
    };
  }
}

/** A pause ends at once; a wait never does, so that whoever waits has to be answered. */
function sleep(ms: number): Promise<void> {
  return ms === 0 ? Promise.resolve() : new Promise(() => undefined);
}

function metered<T>(value: T): Metered<T> {
  return { value, bytesUp: 0, bytesDown: 0 };
}

export function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

export function entityId(text: string): EntityId {
  return made(toEntityId(text));
}
