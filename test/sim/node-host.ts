import type { CausalContext } from '../../src/core/causal-context.ts';
import { dotOf } from '../../src/core/change.ts';
import { type DotSet, EMPTY_DOT_SET, has } from '../../src/core/dot-set.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { policyFor } from '../../src/core/policy.ts';
import { type Result, SyncError, toResult } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { type Batch, batchAnswer, isFinal } from '../../src/protocol/messages.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { Access } from '../../src/sync/access.ts';
import { KeptBatches } from '../../src/sync/kept-batches.ts';
import { Link } from '../../src/sync/link.ts';
import { MeasuredUpstream } from '../../src/sync/measured-upstream.ts';
import { NodeResolver } from '../../src/sync/node-resolver.ts';
import { type NetworkReport, planFor } from '../../src/sync/plan.ts';
import type { QueuedChange, ReplicaStore } from '../../src/sync/ports.ts';
import { type Carrier, Relay } from '../../src/sync/relay.ts';
import { Replica } from '../../src/sync/replica.ts';
import { broken } from './cloud-host.ts';
import { HostAlarm } from './host-alarm.ts';
import { HostClock } from './host-clock.ts';
import { Life, storeOf } from './life.ts';
import type { Endpoint, Message, Network } from './network.ts';
import { policies } from './policies.ts';
import { type QueueCommit, queueWatch } from './queue-watch.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { simulatedCarrier, simulatedUpstream } from './upstream.ts';
import { Waker } from './waker.ts';

export interface NodeHostOptions {
  readonly space: string;
  readonly nodeId: NodeId;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly network: Network;
  readonly route: () => Endpoint;
  readonly batchSize: number;
  readonly pageLimit: number | undefined;
  readonly clockErrorMs: number;
  /** Whether it wakes by itself from the beginning; if not, from {@link NodeHost.wakeByItself} on. */
  readonly wakes: boolean;
  /** What stands between the replica and its disk; a planted bug, or nothing. */
  readonly wrapStore: (disk: ReplicaStore) => ReplicaStore;
  /** A transaction has come to stay. */
  readonly onCommit: (node: NodeHost, commit: QueueCommit) => void;
  /** Changes go out, whether they arrive or not. */
  readonly onSent: (node: NodeHost, dots: readonly string[]) => void;
  /** What it keeps for a node below could not be brought: that has to come itself. */
  readonly onUnbrought: (dots: readonly string[]) => void;
  readonly onFailure: (failure: unknown) => void;
}

/** What runs on a node between two crashes. */
export interface NodeProcess {
  readonly life: Life;
  readonly replica: Replica;
  readonly link: Link;
  readonly access: Access;
  readonly relay: Relay;
  readonly waker: Waker;
}

/** What waits on a disk, or is dead there; what the cloud has stays in its row for a while, and is left out. */
export function queueOn(disk: ReplicaStore): QueuedChange[] {
  const { settled } = disk.readMeta() ?? { settled: EMPTY_DOT_SET };
  return disk.readQueue(settled.upTo).filter((queued) => !isSettled(queued, settled));
}

/** Whether the cloud's last word on a change has been heard, and it is not dead. */
export function isSettled({ change, error }: QueuedChange, settled: DotSet): boolean {
  return error === null && has(settled, dotOf(change).counter);
}

/** The machine of one node: its disk and its clock outlive the processes. */
export class NodeHost implements Endpoint {
  readonly space: string;
  readonly nodeId: NodeId;
  readonly clock: HostClock;
  /** How many disks it has had before this one. */
  disks = 0;
  disk: ReplicaStore = new MemoryReplicaStore();
  process: NodeProcess | undefined;
  report: NetworkReport = {};
  isOnline = true;
  #wakes: boolean;
  #isWatched = false;
  /** Whether something was written to the disk since somebody looked. */
  isTouched = true;
  readonly #options: NodeHostOptions;
  readonly #alarm: HostAlarm;

  constructor(options: NodeHostOptions) {
    this.#options = options;
    this.space = options.space;
    this.nodeId = options.nodeId;
    this.clock = new HostClock(options.scheduler, options.clockErrorMs);
    this.#wakes = options.wakes;
    // A process that is down looks after itself when it starts.
    this.#alarm = new HostAlarm(options.scheduler, () => {
      options.trace.count('outcome: woke by itself');
      this.process?.waker.rang();
    });
    this.start();
  }

  /** What a caller of this node has seen, once it is answered. */
  tokenFor({ replica }: NodeProcess, after: CausalContext): CausalContext {
    return replica.causalContext(after);
  }

  /** Cuts the node off, or lets it sync again, until it is told otherwise. */
  setOnline(isOnline: boolean): void {
    const wasOnline = this.isOnline;
    this.isOnline = isOnline;
    this.process?.link.setOnline(isOnline);
    if (isOnline && !wasOnline && this.#wakes) void this.process?.link.sync({ ends: 'own' });
    this.process?.waker.called();
  }

  /** From now on it does what its platform would have it do. */
  wakeByItself(): void {
    if (this.#wakes) return;
    this.#wakes = true;
    this.process?.waker.schedule();
  }

  /** Somebody comes who wants news, and stays. */
  watch(): void {
    this.#isWatched = true;
    this.process?.waker.schedule();
  }

  /** Its disk is lost with all that is on it. The process must have ended. */
  loseDisk(): void {
    this.disk = new MemoryReplicaStore();
    this.disks += 1;
    this.isTouched = true;
  }

  /** It stands between another node and the cloud. */
  receive(message: Message, reply: (text: string) => void): void {
    const { relay, life } = this.process ?? {};
    const serving = toResult(() => {
      if (relay === undefined) throw new SyncError('cloud_unavailable', 'the relay is down');
      return carriedBy(relay, message);
    });
    serving.then(
      (result) => {
        const what = result.ok ? (result.value.includes(KEPT) ? 'kept' : message.method) : result.code;
        this.#options.trace.count(`relay: ${what}`);
        if (life?.isOver !== true) reply(textOf(result));
      },
      (error: unknown) => {
        if (life?.isOver !== true) this.#options.onFailure(broken('a relay', error));
      },
    );
  }

  start(): void {
    if (this.process !== undefined) return;
    const { scheduler, trace, nodeId, space, wrapStore, batchSize } = this.#options;
    const life: Life = new Life((how) => {
      trace.note(`${space}/${nodeId} crashes ${how}`);
      trace.count(`fault: node crash ${how}`);
      this.process = undefined;
      scheduler.after(scheduler.random.between(0, DOWN_MS), () => this.start());
    });
    const watch = queueWatch((commit) => {
      this.isTouched = true;
      this.#options.onCommit(this, commit);
    });
    const store = storeOf(wrapStore(this.disk), life, watch);
    const clock = this.clock.of(life);
    const replica = new Replica({ store, nodeId, policies, clock });
    const way = {
      ...this.#options,
      life,
      onSent: ({ changes }: Batch) => {
        const dots = changes.map(({ id }) => id);
        this.#options.onSent(this, dots);
      },
    };
    const upstream = new MeasuredUpstream(simulatedUpstream(way), clock);
    const plan = () => {
      const usual = planFor(this.report, upstream.quality);
      return { ...usual, batchSize: Math.min(batchSize, usual.batchSize) };
    };
    const link: Link = new Link({
      replica,
      upstream,
      resolver: new NodeResolver({ replica, policies, clock, resolverFor: (type) => policyFor(policies, type).onNode }),
      clock,
      entropy: { id: () => scheduler.random.name(), fraction: () => scheduler.random.fraction() },
      logger: { error: () => undefined },
      isLive: () => true,
      plan,
      first: () => relay.beforeSync(),
      onEnd: () => {
        if (link.lastSummary?.success) relay.reachedHead();
        waker.schedule();
      },
    });
    const waker: Waker = new Waker({
      replica,
      link,
      clock,
      life,
      plan,
      msUntilBringing: () => relay.msUntilBringing,
      alarm: this.#alarm,
      isOn: () => this.#wakes,
      isWatched: () => this.#isWatched,
    });
    if (!this.isOnline) link.setOnline(false);
    const relay: Relay = new Relay({
      nodeId,
      above: watched(simulatedCarrier(way), this.#options.onUnbrought),
      isOnline: () => link.online,
      kept: new KeptBatches(replica, policies, clock),
      clock,
    });
    this.process = { life, replica, link, access: new Access(replica, link, clock), relay, waker };
    this.isTouched = true;
    waker.schedule();
  }
}

/** Tells of what is brought for others, and gets no last word. */
function watched(carrier: Carrier, onUnbrought: (dots: readonly string[]) => void): Carrier {
  const tries = new Map<string, number>();
  const exchange: Carrier['exchange'] = async (sessionId, text, caller) => {
    const { batchId, changes }: Batch = JSON.parse(text);
    const dots = batchId.startsWith('kept-') ? changes.map(({ id }) => id) : [];
    try {
      const answer = await carrier.exchange(sessionId, text, caller);
      const { results, kept } = batchAnswer.parse(JSON.parse(answer));
      if (kept || !results.every(isFinal)) onUnbrought(dots);
      return answer;
    } catch (error) {
      tries.set(batchId, (tries.get(batchId) ?? 0) + 1);
      const isLate = (tries.get(batchId) ?? 0) >= LIMITS.maxRetries;
      if (isLate || (error instanceof SyncError && error.code !== 'cloud_unavailable')) onUnbrought(dots);
      throw error;
    }
  };
  return {
    connect: (request, caller) => carrier.connect(request, caller),
    handshake: (sessionId, request, caller) => carrier.handshake(sessionId, request, caller),
    exchange,
    disconnect: (sessionId, caller) => carrier.disconnect(sessionId, caller),
  };
}

function carriedBy(relay: Carrier, { method, sessionId, text, nodeId }: Message): Promise<string> {
  const caller = { nodeId, relay: false };
  switch (method) {
    case 'connect':
      return relay.connect(text, caller);
    case 'handshake':
      return relay.handshake(sessionId, text, caller);
    case 'exchange':
      return relay.exchange(sessionId, text, caller);
    default:
      throw new Error(`invariant broken: no method ${String(method satisfies never)}`);
  }
}

/** What it carries stays a text; only what is around it is made here. */
function textOf(result: Result<string>): string {
  return result.ok ? `{"ok":true,"value":${result.value}}` : JSON.stringify(result);
}

const KEPT = '"kept":true';
const DOWN_MS = 5_000;
