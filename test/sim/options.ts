import type { EntityType } from '../../src/core/ids.ts';
import { FREE_TYPES } from './policies.ts';
import type { Random } from './random.ts';

/** What can go wrong with a message, each with its own probability. */
export const MESSAGE_FAULTS = ['lost-request', 'lost-answer', 'duplicated', 'reordered', 'late'] as const;
export type MessageFault = (typeof MESSAGE_FAULTS)[number];

/** What can go wrong with D1. */
export const D1_FAULTS = ['d1-refuses', 'd1-slow', 'd1-fails-after-commit'] as const;
export type D1Fault = (typeof D1_FAULTS)[number];

/** What the script of a run can do to the world. */
export const SCRIPTED_FAULTS = [
  'crash-node',
  'crash-cloud',
  'empty-node',
  'partition',
  'flap',
  'clock-node',
  'clock-cloud',
  'lose-cloud',
  'long-pause',
] as const;
export type ScriptedFault = (typeof SCRIPTED_FAULTS)[number];

/** What happens to messages and D1 by chance; what the script does is in the script. */
export const FAULTS = [...MESSAGE_FAULTS, ...D1_FAULTS] as const;

/** How one run's world is, chosen by its seed. */
export interface Options {
  readonly nodes: number;
  readonly clients: number;
  /** Those that are used, beside tallies: the fewer, the more often two meet. */
  readonly types: readonly [EntityType, ...EntityType[]];
  /** Entities of each type. */
  readonly entities: number;
  /** Entities in a page; undefined: as many as the cloud likes. */
  readonly pageLimit: number | undefined;
  readonly batchSize: number;
  /** Of a message on its way, ms. */
  readonly latencyMs: number;
  readonly messageFaults: Readonly<Record<MessageFault, number>>;
  readonly d1Faults: Readonly<Record<D1Fault, number>>;
  /** Weights beside those of the actions. */
  readonly scriptedFaults: Readonly<Record<ScriptedFault, number>>;
  /** Who stands above each node: the place of another one, before it, which relays, or null: the cloud. */
  readonly above: readonly (number | null)[];
  /** At which changes the cloud fails now and then, one of so many, and where; undefined: at none. */
  readonly cloudFailures: { readonly every: number | undefined; readonly at: 'change' | 'batch' };
  /** Whether nodes wake by themselves before all is healed; if not, they sync when the script says so. */
  readonly wakes: boolean;
}

/**
 * Swarm testing (Groce et al., ISSTA 2012): each run leaves about half of the faults out, so that no kind hides behind
 * another that always comes first.
 */
export function chooseOptions(random: Random): Options {
  const of = <Name extends string>(names: readonly Name[], most: number): Record<Name, number> => {
    const chosen = names.map((name) => [name, random.chance(0.5) ? random.fraction() * most : 0] as const);
    return Object.fromEntries(chosen) as Record<Name, number>;
  };
  const nodes = random.between(2, 8);
  return {
    nodes,
    clients: random.between(2, 5),
    types: [random.pick(FREE_TYPES), ...FREE_TYPES.filter(() => random.chance(0.4))],
    entities: random.between(1, 3),
    pageLimit: random.pick([undefined, 1, 2, 5]),
    batchSize: random.pick([1, 2, 3, 10, 100]),
    latencyMs: random.pick([5, 50, 400]),
    messageFaults: of(MESSAGE_FAULTS, 0.3),
    d1Faults: of(D1_FAULTS, 0.5),
    scriptedFaults: { ...of(SCRIPTED_FAULTS, 6), ...of(['lose-cloud', 'long-pause'], 1) },
    above: chooseTree(random, nodes),
    cloudFailures: { every: random.pick([undefined, undefined, 2, 5]), at: random.pick(['change', 'batch']) },
    wakes: random.chance(0.5),
  };
}

/** In half of the runs all nodes are below the cloud; in the others any may be below one that comes before it. */
function chooseTree(random: Random, nodes: number): (number | null)[] {
  const isFlat = random.chance(0.5);
  return Array.from({ length: nodes }, (_, place) =>
    isFlat || place === 0 || random.chance(0.5) ? null : random.between(0, place - 1),
  );
}

export function withoutFault(options: Options, fault: (typeof FAULTS)[number]): Options {
  return {
    ...options,
    messageFaults: { ...options.messageFaults, ...(fault in options.messageFaults ? { [fault]: 0 } : {}) },
    d1Faults: { ...options.d1Faults, ...(fault in options.d1Faults ? { [fault]: 0 } : {}) },
  };
}
