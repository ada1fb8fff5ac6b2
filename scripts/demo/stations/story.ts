import { setTimeout as sleep } from 'node:timers/promises';
import type { JsonObject } from '../../../src/core/json.ts';
import { type ApiClient, ApiError } from '../api-client.ts';
import type { Dataset, Reading } from '../dataset.ts';
import { formatBytes, formatCount } from '../format.ts';
import { Ledger } from '../ledger.ts';
import type { Narrator } from '../narrator.ts';
import { type Comparison, compareReplicas } from '../replica-report.ts';
import { countQueued, settle, waitForD1 } from '../settle.ts';
import type { Stage } from '../stage.ts';
import { Station } from '../station.ts';
import { TrafficMeter } from '../traffic-meter.ts';
import { type DecidedConflict, decided } from './conflict-report.ts';
import type { Cast, Names } from './names.ts';
import { corrected, makePlan, type Plan } from './plan.ts';

/** What the story left behind, to be shown and judged. */
export interface Ending {
  readonly cast: Cast;
  readonly plan: Plan;
  readonly ledger: Ledger;
  readonly traffic: TrafficMeter;
  /** The code that a strong read at the cut-off station was refused with; undefined: it was served. */
  readonly strongReadRefusal: string | undefined;
  /** Changes that still wait in queues. */
  readonly waiting: number;
  /** Those about this run's records. */
  readonly conflicts: readonly DecidedConflict[];
  readonly comparison: Comparison;
}

/** Time between two edits of a record at two stations: well beyond what two clocks may differ by. */
const EDIT_PAUSE_MS = 300;
/** How far off the stations find a thermometer to be, in degrees; each has its own opinion. */
const SEATTLE_OFFSET = 0.3;
const NEW_YORK_OFFSET = -0.2;

/** Plays the whole story against a server. The nodes of `stage` have to be new there, and its types unused. */
export async function playStory(
  api: ApiClient,
  narrator: Narrator,
  stage: Stage<Names>,
  dataset: Dataset,
): Promise<Ending> {
  const story = new Story(api, narrator, stage, makePlan(dataset));
  return await story.play();
}

class Story {
  readonly #api: ApiClient;
  readonly #narrator: Narrator;
  readonly #stage: Stage<Names>;
  readonly #cast: Cast;
  readonly #nodes: readonly string[];
  readonly #plan: Plan;
  readonly #ledger = new Ledger();
  readonly #seattle: Station;
  readonly #newYork: Station;

  constructor(api: ApiClient, narrator: Narrator, stage: Stage<Names>, plan: Plan) {
    const { cast } = stage;
    this.#api = api;
    this.#narrator = narrator;
    this.#stage = stage;
    this.#cast = cast;
    this.#nodes = [cast.seattle, cast.newYork, cast.reader];
    this.#plan = plan;
    this.#seattle = new Station(cast.seattle, api, this.#ledger);
    this.#newYork = new Station(cast.newYork, api, this.#ledger);
  }

  async play(): Promise<Ending> {
    const narrator = this.#narrator;
    const { seattle } = this.#cast;
    const traffic = new TrafficMeter(this.#api, this.#nodes);
    const strongReadRefusal = await traffic.during(async () => {
      for (const node of this.#nodes) {
        // A token that may not do this later is better refused before anything is written.
        await this.#api.setNetwork(node, { online: true });
        // What the space already holds comes now, so that no chapter has to wait for it.
        await this.#api.sync(node);
      }
      await narrator.chapter('The stations take their readings', () => this.#takeReadings());
      await narrator.chapter('Every node gets everything', () => this.#shareReadings());
      const refusal = await narrator.chapter(`${seattle} loses its link`, () => this.#loseLink());
      await narrator.chapter('Both stations go on, and change the same records', () => this.#workApart());
      await narrator.chapter(`${seattle} is back`, () => this.#reunite());
      return refusal;
    });
    const seen = await narrator.chapter('The replicas are read and compared', () => this.#lookAround());
    return { cast: this.#cast, plan: this.#plan, ledger: this.#ledger, traffic, strongReadRefusal, ...seen };
  }

  async #takeReadings(): Promise<void> {
    const { seattleBefore, newYorkBefore } = this.#plan;
    const { seattle, newYork } = this.#cast;
    this.#narrator.say(
      `${seattle} writes ${formatCount(seattleBefore.length)} readings, days and hours of Seattle; ` +
        `${newYork} writes ${formatCount(newYorkBefore.length)}, days of New York.`,
    );
    const total = seattleBefore.length + newYorkBefore.length;
    await this.#narrator.progress('Readings written', total, async ({ advance }) => {
      await Promise.all([this.#seattle.write(seattleBefore, advance), this.#newYork.write(newYorkBefore, advance)]);
    });
  }

  async #shareReadings(): Promise<void> {
    const { reader, seattle } = this.#cast;
    await settle(this.#api, this.#narrator, this.#nodes, await countQueued(this.#api, this.#nodes));
    const [day] = this.#plan.seattleBefore;
    if (day === undefined) return;
    const { data } = await this.#api.read(reader, day, 'eventual');
    this.#narrator.say(`${reader} has never written, and reads ${day.entityId} of ${seattle}: ${inBrief(data)}.`);
  }

  async #loseLink(): Promise<string | undefined> {
    const { seattle } = this.#cast;
    await this.#api.setNetwork(seattle, { online: false });
    this.#narrator.say('From now on it can neither send nor receive.');
    const [day] = this.#plan.seattleBefore;
    if (day === undefined) return undefined;
    const { data } = await this.#api.read(seattle, day, 'eventual');
    this.#narrator.say(`An eventual read there is served from its own copy: ${day.entityId}, ${inBrief(data)}.`);
    try {
      await this.#api.read(seattle, day, 'strong');
    } catch (error) {
      if (!(error instanceof ApiError) || error.code === undefined) throw error;
      this.#narrator.say(
        `A strong read there is refused rather than answered with what may be old: ${error.status} ${error.code}.`,
      );
      return error.code;
    }
    this.#narrator.say('A strong read there is served, though the cloud is out of reach!');
    return undefined;
  }

  async #workApart(): Promise<void> {
    const { newYorkLast, seattleLast, seattleAway, seattleNotes, seattleDeletes, newYorkDeletes, mistakes } =
      this.#plan;
    const { seattle, newYork } = this.#cast;
    const bySeattle = (day: Reading) => corrected(day, SEATTLE_OFFSET, seattle);
    const byNewYork = (day: Reading) => corrected(day, NEW_YORK_OFFSET, newYork);

    this.#narrator.say(`${seattle} corrects the temperatures of ${newYorkLast.length} days, of both cities.`);
    await this.#seattle.change(newYorkLast, 'operations', bySeattle);
    await sleep(EDIT_PAUSE_MS);

    const contested = [...newYorkLast, ...seattleLast];
    this.#narrator.say(`${newYork} corrects ${contested.length} days, these among them, and finds other values.`);
    await this.#newYork.change(contested, 'merge-patch', byNewYork);
    await this.#newYork.delete(newYorkDeletes);
    this.#narrator.say(`${newYork} also deletes ${newYorkDeletes.length} records of its own.`);

    const total = seattleAway.length;
    this.#narrator.say(`${seattle}, still without a link, writes ${formatCount(total)} more hours.`);
    await this.#narrator.progress('Readings written offline', total, ({ advance }) =>
      this.#seattle.write(seattleAway, advance),
    );
    await this.#seattle.change(seattleNotes, 'merge-patch', () => ({ note: 'written without a link' }));
    await this.#seattle.delete(seattleDeletes);
    await this.#seattle.write(mistakes);
    await this.#seattle.delete(mistakes);
    this.#narrator.say(
      `It adds a note to ${seattleNotes.length} days, deletes ${seattleDeletes.length} hours, ` +
        `and takes back ${mistakes.length} records that it wrote by mistake.`,
    );

    await sleep(EDIT_PAUSE_MS);
    this.#narrator.say(`Then it corrects the other ${seattleLast.length} days that ${newYork} has already corrected.`);
    await this.#seattle.change(seattleLast, 'operations', bySeattle);

    const { queue } = await this.#api.status(seattle);
    this.#narrator.say(
      `${formatCount(queue.total)} changes (${formatBytes(queue.bytes)}) wait at ${seattle} for its link.`,
    );
    await this.#tellDisagreement();
  }

  async #tellDisagreement(): Promise<void> {
    const { seattle, newYork } = this.#cast;
    const [day] = this.#plan.seattleLast;
    if (day === undefined) return;
    const here = await this.#api.read(seattle, day, 'eventual');
    const there = await this.#api.read(newYork, day, 'eventual');
    this.#narrator.say(
      `Until then they disagree about ${day.entityId}: temp_max is ${here.data['temp_max']} at ${seattle}, ` +
        `${there.data['temp_max']} at ${newYork}.`,
    );
  }

  async #reunite(): Promise<void> {
    const waiting = await countQueued(this.#api, this.#nodes);
    await this.#api.setNetwork(this.#cast.seattle, { online: true });
    this.#narrator.say('It sends what has waited, and learns what it has missed.');
    await settle(this.#api, this.#narrator, this.#nodes, waiting);
    this.#narrator.say('No queue holds anything any more, and every node has what the others have written.');
  }

  async #lookAround(): Promise<Pick<Ending, 'waiting' | 'conflicts' | 'comparison'>> {
    const types = Object.values(this.#stage.types);
    await waitForD1(this.#api, this.#stage.types.days);
    const comparison = await this.#narrator.progress('Replicas read', this.#nodes.length + 2, ({ advance }) =>
      compareReplicas(this.#api, this.#nodes, this.#stage.scope, types, advance),
    );
    const states = await Promise.all(this.#nodes.map((node) => this.#api.status(node)));
    const conflicts = await Promise.all(types.map((type) => this.#api.conflicts(type)));
    return {
      comparison,
      waiting: states.reduce((sum, { queue }) => sum + queue.total, 0),
      conflicts: conflicts.flat().map(decided),
    };
  }
}

function inBrief(data: JsonObject): string {
  const { temp_min: low, temp_max: high, weather } = data;
  return `${low} to ${high} °C, ${weather}`;
}
