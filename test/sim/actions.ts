import { PRIORITIES } from '../../src/core/change.ts';
import type { ConsistencyLevel } from '../../src/core/consistency.ts';
import type { Operation } from '../../src/core/delta.ts';
import { type EntityId, type EntityType, toEntityId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { NetworkReport } from '../../src/sync/plan.ts';
import type { WriteContent, WriteOptions } from '../../src/sync/write.ts';
import type { CrashPoint } from './life.ts';
import { named } from './names.ts';
import type { Options } from './options.ts';
import { TALLY } from './policies.ts';
import type { Random } from './random.ts';

/** Something that is done to a world, whole in itself: what it meets when it is done decides what comes of it. */
export type Action =
  | (Access & {
      readonly do: 'write';
      readonly level: 'eventual' | 'strong';
      readonly content: WriteContent;
      readonly options: Pick<WriteOptions, 'priority' | 'coalesce'>;
    })
  | (Access & {
      readonly do: 'transact';
      readonly level: 'eventual' | 'strong';
      /** Of both halves of a pair, and of the record that the access is to. */
      readonly data: JsonObject;
      readonly pair: EntityId;
      /** Whether the record that the access is to is written too. */
      readonly isWide: boolean;
    })
  | (Access & { readonly do: 'open-tally' })
  | (Access & { readonly do: 'increment'; readonly level: 'eventual' | 'strong' })
  | (Access & { readonly do: 'read'; readonly level: ConsistencyLevel; readonly maxStalenessMs: number | undefined })
  | { readonly do: 'sync'; readonly node: number }
  | { readonly do: 'retry-dead'; readonly node: number; readonly pick: number; readonly data: JsonObject | undefined }
  | { readonly do: 'discard-dead'; readonly node: number; readonly pick: number }
  | { readonly do: 'decide'; readonly pick: number; readonly winner: 'local' | 'remote' }
  | { readonly do: 'report'; readonly node: number; readonly report: NetworkReport; readonly online: boolean }
  | { readonly do: 'crash-node'; readonly node: number; readonly crash: Crash }
  | { readonly do: 'crash-cloud'; readonly crash: Crash }
  | { readonly do: 'empty-node'; readonly node: number }
  | {
      readonly do: 'partition';
      readonly node: number;
      readonly up: boolean;
      readonly down: boolean;
      readonly ms: number;
    }
  | { readonly do: 'flap'; readonly node: number; readonly times: number; readonly ms: number }
  | { readonly do: 'clock-node'; readonly node: number; readonly ms: number }
  | { readonly do: 'clock-cloud'; readonly ms: number }
  | { readonly do: 'lose-cloud' }
  | { readonly do: 'long-pause' };

/** One client's request for one entity at one node. */
export interface Access {
  readonly client: number;
  readonly node: number;
  readonly entityType: EntityType;
  readonly entityId: EntityId;
  readonly waitMs: number;
}

/** At once, or in the n-th transaction from now. */
export type Crash = { readonly point: 'now' } | { readonly point: CrashPoint; readonly transactions: number };

/** An action, in one of the spaces, and the time that passes after it. */
export interface Step {
  readonly id: number;
  readonly space: number;
  readonly action: Action;
  readonly pauseMs: number;
}

/** The script of a run. Pure: the same numbers, the same script. */
export function writeScript(random: Random, options: Options, spaces: readonly string[], steps: number): Step[] {
  return Array.from({ length: steps }, (_, id) => {
    const space = random.chance(0.75) ? 0 : random.between(0, spaces.length - 1);
    const action = new Author(random, options, spaces[space] ?? '', id).action();
    const isLong = action.do === 'long-pause';
    return { id, space, action, pauseMs: isLong ? random.between(HOUR_MS, 30 * HOUR_MS) : pauseMs(random) };
  });
}

/** The script, with transactions in the place of some of its syncs. Pure. */
export function withTransactions(
  random: Random,
  script: readonly Step[],
  options: Options,
  spaces: readonly string[],
): Step[] {
  return script.map((step) => {
    if (step.action.do !== 'sync' || !random.chance(0.3)) return step;
    return { ...step, action: new Author(random, options, spaces[step.space] ?? '', step.id).transaction() };
  });
}

/** Mostly short, so that things overlap; sometimes longer than anybody waits for an answer. */
function pauseMs(random: Random): number {
  const longestMs = random.weighted({ none: 3, short: 5, long: 3, veryLong: 1 });
  switch (longestMs) {
    case 'none':
      return 0;
    case 'short':
      return random.between(1, 100);
    case 'long':
      return random.between(100, 5_000);
    case 'veryLong':
      return random.between(5_000, 60_000);
    default:
      return longestMs satisfies never;
  }
}

/** Writes one action. */
class Author {
  readonly #random: Random;
  readonly #options: Options;
  readonly #space: string;
  /** A value that no other step writes. */
  readonly #value: number;

  constructor(random: Random, options: Options, space: string, value: number) {
    this.#random = random;
    this.#options = options;
    this.#space = space;
    this.#value = value;
  }

  action(): Action {
    const kind = this.#random.weighted({ ...ACTIONS, ...this.#options.scriptedFaults });
    const node = this.#node();
    switch (kind) {
      case 'write':
        return {
          do: kind,
          ...this.#access(),
          level: this.#chance(0.15) ? 'strong' : 'eventual',
          content: this.#content(),
          options: this.#writeOptions(),
        };
      case 'open-tally':
        return { do: kind, ...this.#access(), entityType: TALLY };
      case 'increment':
        return { do: kind, ...this.#access(), entityType: TALLY, level: this.#chance(0.5) ? 'strong' : 'eventual' };
      case 'decide':
        return { do: kind, pick: this.#random.fraction(), winner: this.#random.pick(['local', 'remote']) };
      case 'read':
        return { do: kind, ...this.#access(), ...this.#demand() };
      case 'sync':
      case 'empty-node':
        return { do: kind, node };
      case 'retry-dead':
        return { do: kind, node, pick: this.#random.fraction(), data: this.#chance(0.5) ? this.#record() : undefined };
      case 'discard-dead':
        return { do: kind, node, pick: this.#random.fraction() };
      case 'lose-cloud':
      case 'long-pause':
        return { do: kind };
      case 'report':
        return { do: kind, node, report: this.#report(), online: this.#chance(0.8) };
      case 'crash-node':
        return { do: kind, node, crash: this.#crash() };
      case 'crash-cloud':
        return { do: kind, crash: this.#crash() };
      case 'partition':
        return { do: kind, node, ...this.#cut(), ms: this.#random.between(1, 90_000) };
      case 'flap':
        return { do: kind, node, times: this.#random.between(2, 10), ms: this.#random.between(1, 3_000) };
      case 'clock-node':
        return { do: kind, node, ms: jumpMs(this.#random) };
      case 'clock-cloud':
        return { do: kind, ms: this.#random.between(-HOUR_MS, HOUR_MS) };
      default:
        return kind satisfies never;
    }
  }

  transaction(): Action {
    return {
      do: 'transact',
      ...this.#access(),
      level: this.#chance(0.2) ? 'strong' : 'eventual',
      data: this.#record(),
      pair: named(toEntityId(`p${this.#random.between(1, 2)}`)),
      isWide: this.#chance(0.5),
    };
  }

  #access(): Access {
    return {
      client: this.#random.between(0, this.#options.clients - 1),
      node: this.#node(),
      entityType: this.#random.pick(this.#options.types),
      entityId: named(toEntityId(`e${this.#random.between(1, this.#options.entities)}`)),
      waitMs: this.#random.between(0, 5_000),
    };
  }

  #content(): WriteContent {
    const kind = this.#random.weighted({ put: 5, patch: 5, 'merge-patch': 2, delete: 2 });
    switch (kind) {
      case 'put':
        return { kind, data: this.#record() };
      case 'patch':
        return { kind, operations: Array.from({ length: this.#random.between(1, 3) }, () => this.#operation()) };
      case 'merge-patch':
        return { kind, patch: { nested: { merged: this.#value, gone: null } } };
      case 'delete':
        return { kind };
      default:
        return kind satisfies never;
    }
  }

  #writeOptions(): Pick<WriteOptions, 'priority' | 'coalesce'> {
    const priority = this.#chance(0.15) ? this.#random.pick([...PRIORITIES]) : undefined;
    return { priority, coalesce: this.#chance(0.15) ? false : undefined };
  }

  #record(): JsonObject {
    return {
      space: this.#space,
      value: this.#value,
      count: 0,
      list: [this.#value % 3],
      nested: { a: this.#value, gone: 1 },
    };
  }

  #operation(): Operation {
    const value = this.#value;
    const op = this.#random.weighted({ set: 3, unset: 1, increment: 2, push: 2, pull: 1 });
    switch (op) {
      case 'set':
        return { op, path: this.#random.pick(['value', 'nested.a', 'nested.b', 'nested.deep.er']), value };
      case 'unset':
        return { op, path: this.#random.pick(['nested.a', 'nested.b', 'value']) };
      case 'increment':
        return { op, path: this.#random.pick(['count', 'nested.count']), value: this.#random.between(-3, 9) };
      case 'push':
        return { op, path: 'list', value: value % 5 };
      case 'pull':
        return { op, path: 'list', value: value % 3 };
      default:
        return op satisfies never;
    }
  }

  #demand() {
    const level = this.#random.weighted({ eventual: 2, causal: 3, session: 3, strong: 3 });
    return { level, maxStalenessMs: this.#chance(0.5) ? this.#random.between(0, 10_000) : undefined };
  }

  #report(): NetworkReport {
    const report = { effectiveType: this.#random.pick(['4g', '3g', '2g'] as const) };
    return this.#chance(0.2) ? { ...report, saveData: true } : report;
  }

  #crash(): Crash {
    const point = this.#random.pick(['now', 'before-commit', 'after-commit'] as const);
    return point === 'now' ? { point } : { point, transactions: this.#random.between(1, 3) };
  }

  #cut() {
    return this.#random.pick([
      { up: true, down: true },
      { up: true, down: false },
      { up: false, down: true },
    ]);
  }

  /** The last node is a slow reader: it seldom does anything. */
  #node(): number {
    const last = this.#options.nodes - 1;
    const node = this.#random.between(0, last);
    return node === last && this.#chance(0.8) ? this.#random.between(0, last) : node;
  }

  #chance(probability: number): boolean {
    return this.#random.chance(probability);
  }
}

function jumpMs(random: Random): number {
  const widest = random.pick([5_000, HOUR_MS, 10 * YEAR_MS]);
  return random.between(-widest, widest);
}

const ACTIONS = {
  write: 30,
  'open-tally': 2,
  increment: 8,
  read: 20,
  sync: 25,
  decide: 3,
  report: 2,
  'retry-dead': 3,
  'discard-dead': 1,
};
const HOUR_MS = 3_600_000;
const YEAR_MS = 365 * 24 * HOUR_MS;
