import { expect, test } from 'vitest';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policy } from '../../src/core/policy.ts';
import type { Resolver } from '../../src/core/resolver.ts';
import type { WriteContent } from '../../src/sync/write.ts';
import { Node, World } from './world.ts';

/*
 * Every pair of writes, in either order of their stamps and in either order of arrival, on every kind of beginning, under
 * every rule: small enough to try them all (the small scope hypothesis, Jackson 2006).
 */

const BASE: JsonObject = { a: { p: 1, q: 1 }, n: 10, list: [1, 2], text: 'as it was at the beginning' };

const patch = (...operations: object[]): WriteContent => ({ kind: 'patch', operations }) as WriteContent;
const WRITES = {
  put: (by: string): WriteContent => ({ kind: 'put', data: { ...BASE, text: by, [by]: 1 } }),
  field: (by: string) => patch({ op: 'set', path: 'text', value: by }),
  'other field': (by: string) => patch({ op: 'set', path: by, value: true }),
  'nested field': (by: string) => patch({ op: 'set', path: `a.${by}`, value: 2 }),
  'field above': () => patch({ op: 'set', path: 'a', value: { r: 3 } }),
  unset: () => patch({ op: 'unset', path: 'a.p' }),
  increment: () => patch({ op: 'increment', path: 'n', value: 1 }),
  push: (by: string) => patch({ op: 'push', path: 'list', value: by }),
  pull: () => patch({ op: 'pull', path: 'list', value: 1 }),
  element: (by: string) => patch({ op: 'set', path: 'list.0', value: by }),
  delete: (): WriteContent => ({ kind: 'delete' }),
} as const satisfies Record<string, (by: string) => WriteContent>;
type WriteName = keyof typeof WRITES;
const NAMES = Object.keys(WRITES) as WriteName[];

const keepBoth: Resolver = ({ local, remote }) => ({
  winner: 'merged',
  resolvedData: { ...local.data, ...remote.data, both: true },
});

const RULES: Record<string, Partial<Policy>> = {
  lww: { conflict: 'lww' },
  merge: { conflict: 'merge' },
  manual: { conflict: 'manual' },
  custom: { conflict: 'custom', custom: keepBoth },
  node: { conflict: 'custom', custom: 'node' },
  'delete-wins': { conflict: 'merge', onDelete: 'delete-wins' },
  'update-wins': { conflict: 'merge', onDelete: 'update-wins' },
  rename: { conflict: 'merge', onCreate: 'rename' },
  'create lww': { conflict: 'merge', onCreate: 'lww' },
};

/** By these rules the record ends the same whichever write arrives first. */
const isSymmetric = (rule: string) => !['manual', 'custom', 'node', 'rename'].includes(rule);
/** Elements stand in the order in which they came, and a pull takes what is there when it comes. */
const isOfElements = (name: WriteName) => name === 'push' || name === 'pull';

/** Both want the same: whichever is dropped, its effect is there. */
const isAgreement = (one: WriteName, other: WriteName) =>
  one === other && ['field above', 'unset', 'pull', 'delete'].includes(one);

type Beginning = 'nothing' | 'a record' | 'a deleted record';
const BEGINNINGS: readonly Beginning[] = ['nothing', 'a record', 'a deleted record'];

interface Story {
  readonly rule: string;
  readonly beginning: Beginning;
  /** The earlier write, by `p`, and the later one, by `q`. */
  readonly earlier: WriteName;
  readonly later: WriteName;
  /** Whose write reaches the cloud first. */
  readonly arrivesFirst: 'p' | 'q';
}

/** Plays a story, checks what has to hold at its end, and returns the records there. */
async function play({ rule, beginning, earlier, later, arrivesFirst }: Story): Promise<Record<string, JsonObject>> {
  const world = new World({ policy: RULES[rule] ?? {} });
  const [p, q, c] = [new Node(world, 'p'), new Node(world, 'q'), new Node(world, 'c')];
  p.resolve = keepBoth;
  q.resolve = keepBoth;
  if (beginning !== 'nothing') c.put('x', BASE);
  if (beginning === 'a deleted record') c.write('x', { kind: 'delete' });
  for (const node of [c, p, q]) await node.link.sync();

  world.nowMs += 10;
  p.write('x', WRITES[earlier]('by-p'));
  world.nowMs += 10;
  q.write('x', WRITES[later]('by-q'));
  const acknowledged = [p, q].flatMap((node) => [...node.replica.queued()].map(({ change }) => change));
  const order = arrivesFirst === 'p' ? [p, q, c] : [q, p, c];
  for (let round = 0; round < 2; round += 1) for (const node of order) await node.link.sync();

  const conflicts = world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10 });
  const records = c.list();
  for (const node of order) {
    expect(node.list()).toEqual(records);
    expect(node.replica.queueStats().total).toBe(0);
    expect(node.replica.meta.digestMismatches).toBe(0);
    expect(node.replica.meta.cursor).toBe(world.sequencer.meta.seq);
  }
  // Nobody's write is gone without a trace: it is what the record says, or a conflict tells of it.
  for (const change of acknowledged) {
    const isTold = conflicts.some(({ local, remote }) => [local.version, remote.version].includes(change.id));
    const isThere = Object.values(records).some((record) => JSON.stringify(record).includes(`by-${change.nodeId}`));
    const isKept = isThere || isTold || world.cloudStore.readAfter(0, 10).some(({ version }) => version === change.id);
    expect(isKept || isAgreement(earlier, later), `${change.id} left no trace`).toBe(true);
  }
  return records;
}

function* stories(): Generator<Omit<Story, 'arrivesFirst'>> {
  for (const rule of Object.keys(RULES)) {
    for (const beginning of BEGINNINGS) {
      // On nothing there is nothing to patch or delete.
      const names = beginning === 'a record' ? NAMES : (['put'] as const);
      for (const earlier of names) for (const later of names) yield { rule, beginning, earlier, later };
    }
  }
}

test('[I1] [I3] every pair of writes, in every order, on every beginning, under every rule', {
  timeout: 120_000,
}, async () => {
  let played = 0;
  for (const story of stories()) {
    const ends: Record<string, JsonObject>[] = [];
    for (const arrivesFirst of ['p', 'q'] as const) {
      const title = JSON.stringify({ ...story, arrivesFirst });
      ends.push(
        await play({ ...story, arrivesFirst }).catch((error: Error) => {
          throw new Error(`${title}: ${error.message}`, { cause: error });
        }),
      );
      played += 1;
    }
    const { rule, earlier, later } = story;
    if (isSymmetric(rule) && !(isOfElements(earlier) && isOfElements(later))) {
      expect(ends[0], JSON.stringify(story)).toEqual(ends[1]);
    }
  }
  expect(played).toBe(2 * Object.keys(RULES).length * (NAMES.length ** 2 + 2));
});
