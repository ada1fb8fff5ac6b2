import type { Operation } from '../history/operation.ts';
import { type Step, withTransactions, writeScript } from './actions.ts';
import { checkAgreement, holdUp, unrest } from './checkers/agreement.ts';
import { chooseOptions, FAULTS, type Options, withoutFault } from './options.ts';
import { perform } from './perform.ts';
import { Random } from './random.ts';
import type { Space } from './space.ts';
import { Violation } from './violation.ts';
import { type Settings, SPACES, Stream, World } from './world.ts';

/** All that decides a run: the same plan, the same trace, byte for byte. */
export interface Plan {
  readonly seed: number;
  readonly options: Options;
  readonly script: readonly Step[];
}

export interface Outcome {
  readonly failure: Violation | undefined;
  /** The id of the step in which it failed; undefined: after the last one. */
  readonly failedAt: number | undefined;
  readonly trace: readonly string[];
  /** How often what happened. */
  readonly counts: ReadonlyMap<string, number>;
  /** What clients were told at the level strong, in each space since its cloud was last lost. */
  readonly strong: readonly (readonly Operation[])[];
}

/** @param transacts whether there are transactions in it; if it isn't said, in half of the runs. */
export function planFor(seed: number, steps: number, transacts?: boolean): Plan {
  const options = chooseOptions(new Random(seed, Stream.options));
  const script = writeScript(new Random(seed, Stream.script), options, SPACES, steps);
  const random = new Random(seed, Stream.transactions);
  const isChosen = random.chance(0.5);
  if (!(transacts ?? isChosen)) return { seed, options, script };
  return { seed, options, script: withTransactions(random, script, options, SPACES) };
}

/** The same plan with all nodes directly below the cloud, nodes that sync when the script says so, and a cloud that doesn't fail. */
export function flat(plan: Plan): Plan {
  const cloudFailures = { ...plan.options.cloudFailures, every: undefined };
  return { ...plan, options: { ...plan.options, above: [], cloudFailures, wakes: false } };
}

/** What is left of a plan that was shrunk: some of its steps, without some of its faults. */
export function planOf(plan: Plan, kept: readonly number[], without: readonly string[]): Plan {
  const options = FAULTS.filter((fault) => without.includes(fault)).reduce(withoutFault, plan.options);
  return { ...plan, options, script: plan.script.filter(({ id }) => kept.includes(id)) };
}

/** Phase 1: the script, with all its faults. Phase 2: everything is healed, nobody calls, and all come to agree. */
export async function run({ seed, options, script }: Plan, settings: Settings = {}): Promise<Outcome> {
  const repair = settings.plant?.engine?.();
  const world = new World(seed, options, settings);
  let failedAt: number | undefined;
  const outcome = (failure: Violation | undefined): Outcome => {
    const { lines, counts } = world.trace;
    return { failure, failedAt, trace: lines, counts, strong: world.checks.map(({ strong }) => strong.operations) };
  };
  try {
    for (const step of script) {
      failedAt = step.id;
      world.enterStep(step.id);
      perform(world, step);
      await world.pass(step.pauseMs);
    }
    failedAt = undefined;
    await heal(world);
    for (const checks of world.checks) checks.ended();
    return outcome(undefined);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    world.trace.note(`${error.rule} is broken: ${error.message}`);
    return outcome(error);
  } finally {
    repair?.();
  }
}

async function heal(world: World): Promise<void> {
  world.enterStep(HEALING);
  world.network.heal();
  for (const { cloud, nodes, d1 } of world.spaces) {
    d1.heal();
    cloud.life?.spare();
    cloud.failures.heal();
    for (const node of nodes) {
      node.process?.life.spare();
      if (!node.isOnline) node.setOnline(true);
      node.wakeByItself();
    }
  }
  // Nobody is there: what waits goes by the nodes' own alarms, and by nothing else.
  await rest(world, holdUp);
  // News is for who wants it.
  for (const { nodes } of world.spaces) for (const node of nodes) node.watch();
  await rest(world, unrest);
  for (const space of world.spaces) checkAgreement(space);
}

async function rest(world: World, reasonOf: (space: Space) => string | undefined): Promise<void> {
  for (let round = 0; round < ROUNDS; round += 1) {
    await world.pass(ROUND_MS);
    if (world.spaces.some((space) => reasonOf(space) !== undefined)) continue;
    world.trace.note(`all are at rest after ${round} rounds`);
    return;
  }
  for (const space of world.spaces) {
    const reason = reasonOf(space);
    if (reason !== undefined) throw new Violation('I11', `${space.name} does not come to rest: ${reason}`);
  }
}

/** The step that everything after the script belongs to. */
const HEALING = -1;
const ROUNDS = 12;
/** Longer than what is late is late. */
const ROUND_MS = 120_000;
