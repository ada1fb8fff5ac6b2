import { expect } from 'vitest';
import { canonicalText } from '../../src/core/canonical.ts';
import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import { CONFLICT_RULES, type Policy } from '../../src/core/policy.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import {
  applied,
  type Effect,
  expectedConflict,
  expectedRecords,
  keptBoth,
  type Records,
  type Rule,
  type Side,
  shows,
} from './conflict-model.ts';
import { entityId, Node, TYPE, World } from './world.ts';

/** Worlds of three nodes and one record, small enough to try all that can happen in them. */

const BASE: JsonObject = { a: { p: 1, q: 1 }, n: 10, list: [1, 2], text: 'as it was at the beginning' };

export type Beginning = 'nothing' | 'a record' | 'a deleted record';

interface Kind {
  /** What a writer does, one after the other. */
  readonly contents: readonly WriteContent[];
  /** What that changes of {@link BASE}; undefined: it deletes. */
  readonly effects: readonly Effect[] | undefined;
  readonly strong?: Side['strong'];
}

const set = (path: string, value: JsonValue | undefined): Effect => ({ how: 'set', path, value });
const add = (path: string, value: number): Effect => ({ how: 'add', path, value });
const push = (path: string, value: JsonValue): Effect => ({ how: 'push', path, value });
const pull = (path: string, value: JsonValue): Effect => ({ how: 'pull', path, value });
const put = (...effects: Effect[]): Kind => ({ contents: [{ kind: 'put', data: applied(BASE, effects) }], effects });
const patch = (...operations: object[]): WriteContent => ({ kind: 'patch', operations }) as WriteContent;
const deletion: WriteContent = { kind: 'delete' };

const increment = patch({ op: 'increment', path: 'n', value: 1 });
const mergePatch = (by: string): WriteContent => ({ kind: 'merge-patch', patch: { text: by, a: { q: null } } });

/** On a record. */
export const UPDATES = {
  put: (by: string) => put(set('text', by), set(by, 1)),
  'put the same': () => put(set('text', 'the same')),
  'put with an element': (by: string) => put(push('list', by)),
  'put unchanged': () => put(),
  'put twice': (by: string) => {
    const { contents, effects } = put(set('text', by), set(by, 1));
    return { contents: [...contents, ...contents], effects };
  },
  field: (by: string) => ({ contents: [patch({ op: 'set', path: 'text', value: by })], effects: [set('text', by)] }),
  'other field': (by: string) => ({
    contents: [patch({ op: 'set', path: by, value: true })],
    effects: [set(by, true)],
  }),
  'nested field': (by: string) => {
    return { contents: [patch({ op: 'set', path: `a.${by}`, value: 2 })], effects: [set(`a.${by}`, 2)] };
  },
  'field above': () => {
    return { contents: [patch({ op: 'set', path: 'a', value: { r: 3 } })], effects: [set('a', { r: 3 })] };
  },
  'text above': () => ({ contents: [patch({ op: 'set', path: 'a', value: 'text' })], effects: [set('a', 'text')] }),
  'unset above': () => ({ contents: [patch({ op: 'unset', path: 'a' })], effects: [set('a', undefined)] }),
  value: () => ({ contents: [patch({ op: 'set', path: 'n', value: 5 })], effects: [set('n', 5)] }),
  unset: () => ({ contents: [patch({ op: 'unset', path: 'a.p' })], effects: [set('a.p', undefined)] }),
  increment: () => ({ contents: [increment], effects: [add('n', 1)] }),
  push: (by: string) => ({ contents: [patch({ op: 'push', path: 'list', value: by })], effects: [push('list', by)] }),
  pull: () => ({ contents: [patch({ op: 'pull', path: 'list', value: 1 })], effects: [pull('list', 1)] }),
  element: (by: string) => {
    return { contents: [patch({ op: 'set', path: 'list.0', value: by })], effects: [set('list', [by, 2])] };
  },
  'merge patch': (by: string) => ({ contents: [mergePatch(by)], effects: [set('text', by), set('a.q', undefined)] }),
  'empty merge patch': () => ({ contents: [{ kind: 'merge-patch', patch: {} }], effects: [] }),
  delete: () => ({ contents: [deletion], effects: undefined }),
} as const satisfies Record<string, (by: string) => Kind>;

/** Somebody waits for these. */
export const STRONG = {
  'strong put': (by: string) => ({ ...UPDATES.put(by), strong: 'record' }),
  'strong increment': () => ({ ...UPDATES.increment(), strong: 'steps' }),
  'strong merge patch': (by: string) => {
    const content: WriteContent = { kind: 'merge-patch', patch: { text: by, a: { s: 1 } } };
    return { contents: [content], effects: [set('text', by), set('a.s', 1)], strong: 'steps' };
  },
  'strong delete': () => ({ ...UPDATES.delete(), strong: 'record' }),
} as const satisfies Record<string, (by: string) => Kind>;

/** Where nothing is. */
export const CREATIONS = {
  put: UPDATES.put,
  'put the same': UPDATES['put the same'],
  'put, and count': (by: string) => and(UPDATES.put(by), increment, add('n', 1)),
  'put, and patch': (by: string) => and(UPDATES.put(by), mergePatch(by), set('a.q', undefined)),
} as const satisfies Record<string, (by: string) => Kind>;

function and({ contents, effects = [] }: Kind, content: WriteContent, effect: Effect): Kind {
  return { contents: [...contents, content], effects: [...effects, effect] };
}

export type Kinds = Readonly<Record<string, (by: string) => Kind>>;

const keepBoth: Resolver = ({ local, remote }) => ({
  winner: 'merged',
  resolvedData: keptBoth(local.data, remote.data),
});

export type FullRule = Rule & Partial<Pick<Policy, 'custom'>>;

/** Every way to decide between two updates. */
const CONFLICTS: Readonly<Record<string, Pick<FullRule, 'conflict' | 'custom'>>> = {
  ...Object.fromEntries(CONFLICT_RULES.filter((one) => one !== 'custom').map((conflict) => [conflict, { conflict }])),
  'custom in the cloud': { conflict: 'custom', custom: keepBoth },
  'custom at the node': { conflict: 'custom', custom: 'node' },
};
export const CONFLICT_NAMES = Object.keys(CONFLICTS);

export const ruleOf = (name: string, other: Partial<Rule> = {}): FullRule => {
  return { conflict: 'lww', onDelete: 'latest', onCreate: 'merge', ...CONFLICTS[name], ...other };
};

export const isDeletion = (name: string): boolean => name.endsWith('delete');

interface Story {
  readonly rule: FullRule;
  readonly beginning: Beginning;
  /** Two or three, in the order in which they are written, by `p`, `q` and `r`. */
  readonly kinds: readonly ((by: string) => Kind)[];
  /** The same by their places, in the order in which they reach the cloud. */
  readonly arrival: readonly number[];
}

/** Plays a story, and checks what comes of it. @returns that, and whether the rules leave it open. */
async function play({ rule, beginning, kinds, arrival }: Story): Promise<{ end: string; isOpen: boolean }> {
  const world = new World({ policy: rule });
  const nodes = ['p', 'q', 'r'].map((name) => new Node(world, name));
  for (const node of nodes) node.resolve = keepBoth;
  await begin(nodes, beginning);

  const began = beginning === 'a record' ? BASE : undefined;
  const written = kinds.map((kind, index): Written => {
    const node = nodes[index];
    if (node === undefined) throw new Error('there are three nodes');
    const { contents, effects, strong } = kind(`by-${node.nodeId}`);
    world.nowMs += 10;
    if (strong === undefined) for (const content of contents) node.write('x', content);
    const record = effects === undefined ? null : applied(BASE, effects);
    const side = { by: node.nodeId, at: strong ? STRONG_AT : index, record, effects: effects ?? [], strong };
    return { node, contents, side, change: [...node.replica.queued()].at(-1)?.change.id };
  });
  world.nowMs += 10;
  const arrived = arrival.flatMap((index) => written[index] ?? []);
  for (const { node, contents, side } of arrived) {
    if (side.strong === undefined) await node.link.sync();
    else for (const content of contents) await writeStrong(node, content);
  }
  for (const node of [...nodes, ...nodes]) {
    if (node.replica.meta.cursor !== world.sequencer.meta.seq) await node.link.sync();
  }

  const records = nodes[0]?.list() ?? {};
  for (const node of nodes) {
    expect(node.list()).toEqual(records);
    expect(node.replica.queueStats().total).toBe(0);
    expect(node.replica.meta.digestMismatches).toBe(0);
    expect(node.replica.meta.cursor).toBe(world.sequencer.meta.seq);
  }
  const sides = arrived.map(({ side }) => side);
  const expected = expectedRecords(sides, rule, began);
  if (expected !== undefined) expect(records).toEqual(expected);
  if (sides.length === 2) expectConflict(world, sides, rule, began);
  else expectTraces(world, arrived, records);
  return { end: canonicalText(records), isOpen: expected === undefined };
}

interface Written {
  readonly node: Node;
  readonly contents: readonly WriteContent[];
  readonly side: Side;
  readonly change: string | undefined;
}

/** Later than what waits. */
const STRONG_AT = 1_000;

export async function begin(nodes: readonly Node[], beginning: Beginning): Promise<void> {
  const [first, ...others] = nodes;
  if (beginning !== 'nothing') first?.put('x', BASE);
  if (beginning === 'a deleted record') {
    await first?.link.sync();
    first?.write('x', { kind: 'delete' });
  }
  await first?.link.sync();
  for (const node of others) await node.link.sync();
}

/** What it is meant for may not be there. */
async function writeStrong(node: Node, content: WriteContent): Promise<void> {
  const write = { entityType: TYPE, entityId: entityId('x'), ...content };
  await node.access.writeStrong(write, {}, 1_000).catch((error: { code?: string }) => {
    if (error.code !== 'not_found') throw error;
  });
}

const conflictsOf = ({ cloudStore }: World) => cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });

/** Of two there is one conflict, with both sides, or none. */
function expectConflict(world: World, sides: readonly Side[], rule: Rule, began: JsonObject | undefined): void {
  const conflicts = conflictsOf(world);
  const expected = expectedConflict(sides, rule, began);
  const found = conflicts.map(({ status, local, remote }) => ({ status, local: local.data, remote: remote.data }));
  expect(found).toEqual(expected === undefined ? [] : [expected]);
  for (const { resolution, local, remote } of conflicts) {
    if (resolution.winner !== 'merged') {
      expect(resolution.resolvedData).toEqual((resolution.winner === 'local' ? local : remote).data);
    }
  }
}

/** Nobody's write is gone without a trace: a record shows it, or a conflict does. */
function expectTraces(world: World, arrived: readonly Written[], records: Records): void {
  const conflicts = conflictsOf(world);
  const told = conflicts.flatMap(({ local, remote }) => [local, remote]);
  const states = [records['x'] ?? null, ...Object.values(records), ...told.map(({ data }) => data)];
  for (const { side, change } of arrived) {
    const isTold = told.some(({ version }) => version === change) || states.some((data) => shows(data, side));
    expect(isTold, `${change} left no trace`).toBe(true);
  }
}

function* tuples<T>(items: readonly T[], length: number): Generator<T[]> {
  if (length === 0) yield [];
  else for (const item of items) for (const rest of tuples(items, length - 1)) yield [item, ...rest];
}

function permutations(items: readonly number[]): number[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, index) => permutations(items.toSpliced(index, 1)).map((rest) => [item, ...rest]));
}

/** Plays all stories of so many writers, in every order of arrival. */
export async function playAll(
  kinds: Kinds,
  length: number,
  beginning: Beginning,
  rule: FullRule,
  isWanted: (names: readonly string[]) => boolean = () => true,
) {
  let [played, open, differing] = [0, 0, 0];
  for (const names of tuples(Object.keys(kinds), length)) {
    if (!isWanted(names)) continue;
    const ends = await playOrders(names, { rule, beginning, kinds: names.flatMap((name) => kinds[name] ?? []) });
    played += ends.length;
    if (!ends.some(({ isOpen }) => isOpen)) continue;
    open += 1;
    if (new Set(ends.map(({ end }) => end)).size > 1) differing += 1;
  }
  return { played, open, differing };
}

async function playOrders(names: readonly string[], story: Omit<Story, 'arrival'>) {
  const ends: Awaited<ReturnType<typeof play>>[] = [];
  for (const arrival of permutations(names.map((_, index) => index))) {
    const end = await play({ ...story, arrival }).catch((error: Error) => {
      const { rule, beginning } = story;
      throw new Error(`${JSON.stringify({ rule, beginning, names, arrival })}: ${error.message}`, { cause: error });
    });
    ends.push(end);
  }
  return ends;
}
