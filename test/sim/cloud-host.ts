import { digestTotal } from '../../src/core/digest.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import {
  type BatchAnswer,
  batch,
  batchAnswer,
  connectRequest,
  handshakeRequest,
  type IncomingBatch,
} from '../../src/protocol/messages.ts';
import { parseWith } from '../../src/protocol/parse.ts';
import { MemoryCloudStore } from '../../src/store/memory-cloud-store.ts';
import type { AwaitedResolution } from '../../src/sync/commit.ts';
import type { ManualDecision } from '../../src/sync/conflict-record.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import { awaitResolution } from '../../src/sync/late-resolution.ts';
import type { CloudStore } from '../../src/sync/ports.ts';
import { Projection } from '../../src/sync/projection.ts';
import { Responder } from '../../src/sync/responder.ts';
import { Sequencer } from '../../src/sync/sequencer.ts';
import { type CloudFailures, PlantedFailure } from './cloud-failures.ts';
import type { SimulatedD1 } from './d1.ts';
import type { History } from './history.ts';
import { HostClock } from './host-clock.ts';
import { Life, storeOf } from './life.ts';
import type { Endpoint, Message } from './network.ts';
import { cloudPolicies } from './policies.ts';
import type { Scheduler } from './scheduler.ts';
import type { Trace } from './trace.ts';
import { Violation } from './violation.ts';

/** A batch that the cloud has taken, and what it said. */
export interface Sequencing {
  readonly batch: IncomingBatch;
  readonly answer: BatchAnswer;
  /** The last seq before it. */
  readonly headBefore: number;
}

export interface CloudHostOptions {
  readonly space: string;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly history: History;
  readonly d1: SimulatedD1;
  readonly failures: CloudFailures;
  /** What stands between the cloud and its disk; a planted bug, or nothing. */
  readonly wrapStore: (disk: CloudStore) => CloudStore;
  readonly onSequenced: (sequencing: Sequencing) => void;
  readonly onFailure: (failure: unknown) => void;
}

interface Process {
  readonly life: Life;
  readonly sequencer: Sequencer;
  readonly responder: Responder;
  readonly projection: Projection;
}

/** The machine on which the cloud of one space runs: its disk and its clock outlive the processes. */
export class CloudHost implements Endpoint {
  disk: CloudStore = new MemoryCloudStore();
  readonly clock: HostClock;
  readonly #options: CloudHostOptions;
  #process: Process | undefined;
  #isProjecting = false;
  /** What the transaction under way has written. */
  #written: EntityVersion[] = [];
  #commits = 0;

  constructor(options: CloudHostOptions) {
    this.#options = options;
    this.clock = new HostClock(options.scheduler, 0);
    this.#start();
  }

  get life(): Life | undefined {
    return this.#process?.life;
  }

  receive(message: Message, reply: (text: string) => void): void {
    const answer = this.#answer(message);
    if (answer !== undefined) reply(answer);
  }

  #answer(message: Message): string | undefined {
    const { life } = this.#process ?? {};
    if (this.#process === undefined || life === undefined) {
      return JSON.stringify({ ok: false, code: 'cloud_unavailable', detail: 'the cloud is down', details: {} });
    }
    const headBefore = this.#options.history.head;
    const commitsBefore = this.#commits;
    try {
      const value = this.#serve(message, this.#process);
      if (message.method === 'exchange' && this.#commits > commitsBefore) this.#tell(message, headBefore, value);
      this.#scheduleProjection();
      return JSON.stringify({ ok: true, value });
    } catch (error) {
      if (life.isOver) {
        if (message.method === 'exchange' && this.#commits > commitsBefore) this.#tell(message, headBefore);
        return undefined;
      }
      if (error instanceof PlantedFailure) {
        return JSON.stringify({ ok: false, code: 'internal', detail: error.message, details: {} });
      }
      if (!(error instanceof SyncError)) throw error instanceof Violation ? error : broken('the cloud', error);
      return JSON.stringify({ ok: false, code: error.code, detail: error.message, details: error.details });
    }
  }

  get failures(): CloudFailures {
    return this.#options.failures;
  }

  /** Null: it has committed nothing yet. */
  get epoch(): string | null {
    return this.disk.readMeta()?.epoch ?? null;
  }

  /** Its disk is lost with all that is on it, and the history with it. */
  loseDisk(): void {
    const { epoch } = this;
    if (epoch !== null) this.#options.history.beginAnew(epoch);
    this.life?.end();
    this.disk = new MemoryCloudStore();
  }

  /** Somebody decides a conflict. @throws SyncError as the inbox does. */
  decide(conflictId: string, decision: ManualDecision, by: string): void {
    const { sequencer, life } = this.#process ?? {};
    if (sequencer === undefined || life === undefined) return;
    try {
      sequencer.commit((commit) => resolveConflict(commit, conflictId, decision, by));
      this.#scheduleProjection();
    } catch (error) {
      if (!life.isOver) throw error;
    }
  }

  #serve({ nodeId, method, sessionId, text }: Message, { responder }: Process): object {
    const caller = { nodeId, relay: false };
    const json: unknown = JSON.parse(text);
    switch (method) {
      case 'connect':
        return responder.connect(parseWith(connectRequest, json));
      case 'handshake':
        return responder.handshake(sessionId, parseWith(handshakeRequest, json), caller);
      case 'exchange': {
        const incoming = parseWith(batch, json);
        for (const change of incoming.changes) {
          if (!('withdrawn' in change)) this.failures.meet('batch', change.id);
        }
        return responder.exchange(sessionId, incoming, caller);
      }
      default:
        throw new Error(`invariant broken: no method ${String(method satisfies never)}`);
    }
  }

  /** A batch is committed, though its answer may have died with the process: then it is taken from the disk. */
  #tell({ nodeId, text }: Message, headBefore: number, value?: object): void {
    const taken = parseWith(batch, JSON.parse(text));
    const kept = this.disk.readNode(nodeId)?.answers.find(({ batchId }) => batchId === taken.batchId);
    const answer = value === undefined ? kept?.answer : parseWith(batchAnswer, value);
    if (answer !== undefined) this.#options.onSequenced({ batch: taken, answer, headBefore });
  }

  #start(): void {
    const { scheduler, d1, space, trace } = this.#options;
    const life: Life = new Life((how) => {
      trace.note(`${space} cloud crashes ${how}`);
      trace.count(`fault: cloud crash ${how}`);
      this.#process = undefined;
      this.#isProjecting = false;
      scheduler.after(scheduler.random.between(0, DOWN_MS), () => this.#start());
    });
    const store = storeOf(this.#options.wrapStore(this.disk), life, {
      called: (method, [entity]) => {
        // The one argument of that method of the port.
        if (method !== 'writeEntity') return;
        const written = entity as EntityVersion;
        this.failures.meet('change', written.version);
        // What had a place from here on was taken back.
        this.#written = [...this.#written.filter(({ seq }) => seq < written.seq), written];
      },
      committed: () => {
        this.#commits += 1;
        const meta = this.disk.readMeta();
        if (meta === undefined) return;
        const kept = this.#written.filter(({ seq }) => seq <= meta.seq);
        this.#options.history.append(kept, digestTotal(meta.digest), scheduler.nowMs);
      },
      ended: () => {
        this.#written = [];
      },
    });
    const entropy = { id: () => scheduler.random.name(), fraction: () => scheduler.random.fraction() };
    const parts = { store, policies: cloudPolicies, clock: this.clock.of(life), entropy };
    const sequencer: Sequencer = new Sequencer({
      ...parts,
      onAwaited: (awaited) => this.#await(awaited, sequencer, life),
      onFailure: ({ error }) => {
        if (!(error instanceof PlantedFailure)) this.#options.onFailure(broken('the cloud', error));
      },
    });
    const responder = new Responder({ ...parts, sequencer });
    const projection = new Projection(store, sequencer, d1.sinkFor(life), parts.clock);
    this.#process = { life, sequencer, responder, projection };
    this.#scheduleProjection();
  }

  /** A resolver of the policies that takes its time. */
  #await(awaited: AwaitedResolution, sequencer: Sequencer, life: Life): void {
    awaitResolution(sequencer, awaited, this.clock.of(life)).then(
      () => {
        const status = this.disk.readConflict(awaited.conflictId)?.status;
        this.#options.trace.count(`outcome: late answer, ${status} conflict`);
        this.#scheduleProjection();
      },
      (error: unknown) => {
        if (!life.isOver) this.#options.onFailure(broken('the cloud', error));
      },
    );
  }

  /** As the alarm of the cloud object does: one at a time, and again until it has caught up. */
  #scheduleProjection(): void {
    if (this.#isProjecting || this.#process?.projection.isBehind !== true) return;
    const { life, projection } = this.#process;
    this.#isProjecting = true;
    this.#options.scheduler.after(PROJECTION_DELAY_MS, () => {
      if (life.isOver) return;
      void projection
        .catchUp(PAGES)
        .catch(() => this.#options.trace.count('outcome: projection failed'))
        .then(() => {
          if (life.isOver) return;
          this.#isProjecting = false;
          this.#scheduleProjection();
        })
        .catch(this.#options.onFailure);
    });
  }
}

/** A failure that no code is for: an invariant of the engine itself. */
export function broken(where: string, error: unknown): Violation {
  return new Violation(
    'assert',
    `${where}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
  );
}

const DOWN_MS = 5_000;
const PROJECTION_DELAY_MS = 300;
const PAGES = 50;
