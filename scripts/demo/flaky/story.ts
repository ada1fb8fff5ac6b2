import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeStatus } from '../answers.ts';
import type { ApiClient } from '../api-client.ts';
import type { Reading } from '../dataset.ts';
import { formatCount } from '../format.ts';
import { Ledger } from '../ledger.ts';
import type { Narrator } from '../narrator.ts';
import { type Comparison, compareReplicas } from '../replica-report.ts';
import { countQueued, settle, waitForD1 } from '../settle.ts';
import type { Stage } from '../stage.ts';
import { Station } from '../station.ts';
import { minus, type Traffic, TrafficMeter } from '../traffic-meter.ts';
import type { Names } from './names.ts';
import { makePhases, networkOf, type Phase, writesOf } from './plan.ts';
import { type QueueSample, watchQueue } from './queue-watch.ts';

/** What the story left behind, to be shown and judged. */
export interface Ending {
  readonly stage: Stage<Names>;
  readonly ledger: Ledger;
  readonly phases: readonly PlayedPhase[];
  readonly samples: readonly QueueSample[];
  /** What the twin took in, and sent for it. */
  readonly atOnce: Traffic;
  /** All that each node sent and got, by its id. */
  readonly traffic: ReadonlyMap<string, Traffic>;
  /** Changes that still wait in queues. */
  readonly waiting: number;
  readonly dead: number;
  readonly conflicts: number;
  readonly comparison: Comparison;
}

export interface PlayedPhase extends Pick<Phase, 'link'> {
  /** By which it sent, at the beginning and at the end; none without a link. */
  readonly plans: ReadonlySet<NodeStatus['plan']['strategy']>;
  readonly fromMs: number;
  readonly toMs: number;
  readonly writes: number;
  readonly traffic: Traffic;
}

/** How long a phase takes at most, so that there is something to see; with few hours it takes less. */
const PHASE_MS = 1_500;
const MAX_PAUSE_MS = 100;
const POLL_MS = 10;
const DEADLINE_MS = 60_000;

/** Plays the whole story against a server. The nodes of `stage` have to be new there, and its types unused. */
export async function playStory(
  api: ApiClient,
  narrator: Narrator,
  stage: Stage<Names>,
  hours: readonly Reading[],
): Promise<Ending> {
  return await new Story(api, narrator, stage).play(makePhases(hours));
}

class Story {
  readonly #api: ApiClient;
  readonly #narrator: Narrator;
  readonly #stage: Stage<Names>;
  readonly #ledger = new Ledger();
  readonly #meter: TrafficMeter;

  constructor(api: ApiClient, narrator: Narrator, stage: Stage<Names>) {
    this.#api = api;
    this.#narrator = narrator;
    this.#stage = stage;
    this.#meter = new TrafficMeter(api, [stage.cast.station, stage.cast.twin]);
  }

  async play(phases: readonly Phase[]): Promise<Ending> {
    const { station, twin, reader } = this.#stage.cast;
    const narrator = this.#narrator;
    const measured = await this.#meter.during(async () => {
      const played: PlayedPhase[] = [];
      const samples = await narrator.chapter(`${station} measures every hour, whatever its link is like`, async () => {
        await this.#begin(station);
        return await watchQueue(this.#api, station, async () => {
          for (const phase of phases) played.push(await this.#playPhase(phase));
        });
      });
      const atOnce = await narrator.chapter(`${twin} writes the same over 4g, and sends each write at once`, () =>
        this.#sendEachAtOnce(phases),
      );
      await narrator.chapter(`${reader} has never written, and gets everything`, () => this.#shareAll());
      return { phases: played, samples, atOnce };
    });
    const traffic = new Map([station, twin].map((node) => [node, this.#meter.totalOf(node)]));
    const seen = await narrator.chapter('The replicas are read and compared', () => this.#lookAround());
    return { stage: this.#stage, ledger: this.#ledger, ...measured, traffic, ...seen };
  }

  /** Connects a node that is new, and fetches what the space already holds: none of that is what is compared. */
  async #begin(node: string): Promise<void> {
    await this.#api.setNetwork(node, networkOf('4g'));
    await this.#api.sync(node);
    await this.#meter.read();
  }

  async #playPhase({ link, hours }: Phase): Promise<PlayedPhase> {
    const { cast, types } = this.#stage;
    const station = new Station(cast.station, this.#api, this.#ledger);
    const before = { writes: this.#ledger.countOf(cast.station), traffic: this.#meter.totalOf(cast.station) };
    const fromMs = performance.now();
    const begun = await this.#api.setNetwork(cast.station, networkOf(link));
    for (const hour of hours) {
      await station.write(writesOf(cast.station, types, hour));
      await sleep(Math.min(MAX_PAUSE_MS, PHASE_MS / hours.length));
    }
    const ended = await this.#waitUntil(cast.station, isAtRest);
    const toMs = performance.now();
    await this.#meter.read();
    const writes = this.#ledger.countOf(cast.station) - before.writes;
    const traffic = minus(this.#meter.totalOf(cast.station), before.traffic);
    const { critical, high, normal } = ended.queue.byPriority;
    this.#narrator.say(
      `${link.padEnd(4)}  ${formatCount(writes)} writes, ${formatCount(traffic.uploaded)} changes sent; ` +
        `now wait: ${critical} critical, ${high} high, ${normal} normal`,
    );
    const plans = new Set(link === 'none' ? [] : [begun.plan.strategy, ended.plan.strategy]);
    return { link, plans, fromMs, toMs, writes, traffic };
  }

  async #sendEachAtOnce(phases: readonly Phase[]): Promise<Traffic> {
    const { cast, types } = this.#stage;
    const twin = new Station(cast.twin, this.#api, this.#ledger);
    await this.#begin(cast.twin);
    const before = this.#meter.totalOf(cast.twin);
    const writes = phases.flatMap(({ hours }) => hours).flatMap((hour) => writesOf(cast.twin, types, hour));
    await this.#narrator.progress('Writes, each in the cloud before the next', writes.length, async ({ advance }) => {
      for (const write of writes) {
        await twin.write([write]);
        await this.#waitUntil(cast.twin, ({ queue }) => queue.total === 0);
        advance();
      }
    });
    await this.#waitUntil(cast.twin, isAtRest);
    await this.#meter.read();
    return minus(this.#meter.totalOf(cast.twin), before);
  }

  async #shareAll(): Promise<void> {
    const { cast, types } = this.#stage;
    const nodes = Object.values(cast);
    await settle(this.#api, this.#narrator, nodes, await countQueued(this.#api, nodes));
    const now = { entityType: types.current, entityId: cast.station };
    const { data } = await this.#api.read(cast.reader, now, 'eventual');
    this.#narrator.say(`It reads the weather that is now at ${cast.station}: ${data['temperature']} °C.`);
  }

  async #lookAround(): Promise<Pick<Ending, 'waiting' | 'dead' | 'conflicts' | 'comparison'>> {
    const { cast, scope } = this.#stage;
    const nodes = Object.values(cast);
    const types = Object.values(this.#stage.types);
    await waitForD1(this.#api, this.#stage.types.hours);
    const comparison = await this.#narrator.progress('Replicas read', nodes.length + 2, ({ advance }) =>
      compareReplicas(this.#api, nodes, scope, types, advance),
    );
    const states = await Promise.all(nodes.map((node) => this.#api.status(node)));
    const conflicts = await Promise.all(types.map((type) => this.#api.conflicts(type)));
    return {
      comparison,
      waiting: states.reduce((sum, { queue }) => sum + queue.total, 0),
      dead: states.reduce((sum, { queue }) => sum + queue.dead, 0),
      conflicts: conflicts.flat().length,
    };
  }

  async #waitUntil(node: string, isSo: (status: NodeStatus) => boolean): Promise<NodeStatus> {
    const startedAtMs = performance.now();
    for (;;) {
      const status = await this.#api.status(node);
      if (isSo(status)) return status;
      if (performance.now() - startedAtMs > DEADLINE_MS) {
        throw new Error(`${node} does not come to rest: ${JSON.stringify(status)}`);
      }
      await sleep(POLL_MS);
    }
  }
}

/** Whether all that may go by the plan of now has gone. */
function isAtRest({ online, state, plan, queue }: NodeStatus): boolean {
  if (!online) return state === 'offline';
  const { critical, high, normal } = queue.byPriority;
  const mayGo = plan.strategy === 'critical' ? critical : critical + high + normal;
  return state === 'idle' && mayGo === 0;
}
