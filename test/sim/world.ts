import { toNodeId } from '../../src/core/ids.ts';
import type { CloudStore, ReplicaStore } from '../../src/sync/ports.ts';
import { Checks } from './checkers/checks.ts';
import { Client } from './client.ts';
import { CloudFailures } from './cloud-failures.ts';
import { CloudHost } from './cloud-host.ts';
import { SimulatedD1 } from './d1.ts';
import { History } from './history.ts';
import { named } from './names.ts';
import { type Endpoint, Network } from './network.ts';
import { NodeHost } from './node-host.ts';
import { Ops } from './op.ts';
import type { Options } from './options.ts';
import { Random } from './random.ts';
import { Scheduler } from './scheduler.ts';
import type { Space } from './space.ts';
import { Trace } from './trace.ts';

/** What can be put between the production code and its ports: bugs, to see that the checkers find them. */
export interface Plant {
  readonly cloudStore?: (disk: CloudStore) => CloudStore;
  readonly replicaStore?: (disk: ReplicaStore) => ReplicaStore;
  /** Puts a bug into the engine itself, and answers how to take it out. */
  readonly engine?: () => () => void;
  /** Who gets what a node of a space sends; `usual` is who should. */
  readonly route?: (
    usual: Endpoint,
    from: { readonly space: string; readonly nodeId: string },
    world: World,
  ) => Endpoint;
}

/** What of a run its seed doesn't say. */
export interface Settings {
  readonly plant?: Plant;
}

/** The names of the spaces; all other names are the same in both. */
export const SPACES = ['north', 'south'] as const;

/** Everything that a run simulates: two spaces on one network. */
export class World {
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly network: Network;
  readonly spaces: readonly Space[];
  readonly checks: readonly Checks[];
  /** The first that went wrong where nobody could be told. */
  failure: unknown;
  readonly #seed: number;
  readonly #plant: Plant;

  constructor(seed: number, options: Options, { plant = {} }: Settings) {
    this.#seed = seed;
    this.#plant = plant;
    this.scheduler = new Scheduler(new Random(seed, Stream.world));
    this.trace = new Trace(() => this.scheduler.nowMs);
    this.network = new Network(this.scheduler, this.trace, options);
    const made = SPACES.map((name) => this.#makeSpace(name, options));
    this.spaces = made.map(({ space }) => space);
    this.checks = made.map(({ checks }) => checks);
  }

  /** From now on chance comes from the step's own numbers. */
  enterStep(id: number): void {
    this.scheduler.random = new Random(this.#seed, Stream.step, id);
  }

  readonly fail = (failure: unknown): void => {
    this.failure ??= failure;
  };

  /** Lets time pass, and checks after each event. Throws what went wrong. */
  async pass(ms: number): Promise<void> {
    await this.scheduler.pass(ms, () => {
      // What failed may have left things half done.
      if (this.failure !== undefined) throw this.failure;
      for (const checks of this.checks) checks.afterEvent();
    });
  }

  #makeSpace(name: string, options: Options): { space: Space; checks: Checks } {
    const { scheduler, trace, network } = this;
    const history = new History();
    const d1 = new SimulatedD1(scheduler, trace, options.d1Faults);
    const checks: Checks = new Checks(() => space);
    const cloud = new CloudHost({
      space: name,
      scheduler,
      trace,
      history,
      d1,
      failures: new CloudFailures(scheduler, trace, options.cloudFailures),
      wrapStore: this.#plant.cloudStore ?? ((disk) => disk),
      onSequenced: (sequencing) => checks.sequenced(sequencing),
      onFailure: this.fail,
    });
    const nodes: NodeHost[] = Array.from({ length: options.nodes }, (_, index): NodeHost => {
      const nodeId = named(toNodeId(`n${index + 1}`));
      return new NodeHost({
        space: name,
        nodeId,
        scheduler,
        trace,
        network,
        route: () => this.#route(nodes[options.above[index] ?? -1] ?? cloud, name, nodeId),
        batchSize: options.batchSize,
        // The last node reads slowly, whatever the others do.
        pageLimit: index === options.nodes - 1 ? 1 : options.pageLimit,
        wakes: options.wakes,
        clockErrorMs: scheduler.random.between(-CLOCK_ERROR_MS, CLOCK_ERROR_MS),
        wrapStore: this.#plant.replicaStore ?? ((disk) => disk),
        onCommit: (node, commit) => checks.rows.committed(node, commit),
        onSent: (node, dots) => checks.rows.sent(node, dots),
        onUnbrought: (dots) => checks.unbrought(dots),
        onFailure: this.fail,
      });
    });
    const clients = Array.from({ length: options.clients }, (_, index) => new Client(`${name}/c${index + 1}`));
    const space: Space = { name, cloud, d1, nodes, clients, history, ops: new Ops(), trace };
    return { space, checks };
  }

  /** Who is above a node: its cloud or a relay, or who stands there for a planted bug. */
  #route(usual: Endpoint, space: string, nodeId: string): Endpoint {
    return this.#plant.route?.(usual, { space, nodeId }, this) ?? usual;
  }
}

/** What the numbers of a seed are for. */
export const Stream = { options: 1, script: 2, world: 3, step: 4, transactions: 5 } as const;

const CLOCK_ERROR_MS = 90_000;
