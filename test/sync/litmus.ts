import type { CausalContext } from '../../src/core/causal-context.ts';
import type { ConsistencyLevel } from '../../src/core/consistency.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { entityId, Node, TYPE, World } from './world.ts';

/** What is done at a node: `w x a`, `r x a`, `list a` (reads `x` and `y` at one moment), `sync a`. */
type Instruction = string;

/** What somebody does, in this order: a client, with the token of its last answer, or a node that syncs by itself. */
export type Track = readonly Instruction[];

/**
 * All that the reads of some clients may show: every order of their steps is played. Shape: for each that reads, `1` for what
 * is there, `0` for what isn't, `-` for a read that was refused, as in `10 -1`.
 */
export async function outcomesOf(tracks: readonly Track[], level: ConsistencyLevel): Promise<ReadonlySet<string>> {
  const outcomes = new Set<string>();
  for (const order of ordersOf(tracks.map(({ length }) => length))) {
    outcomes.add(await play(tracks, order, level));
  }
  return outcomes;
}

/** Every order of so many steps of each track: the place of the track that goes on, step by step. */
function* ordersOf(left: readonly number[]): Generator<readonly number[]> {
  if (left.every((steps) => steps === 0)) yield [];
  for (const [track, steps] of left.entries()) {
    if (steps === 0) continue;
    for (const rest of ordersOf(left.with(track, steps - 1))) yield [track, ...rest];
  }
}

interface Session {
  readonly rest: Instruction[];
  token: CausalContext;
  shown: string;
}

async function play(tracks: readonly Track[], order: readonly number[], level: ConsistencyLevel): Promise<string> {
  const world = new HastyWorld();
  const names = new Set(tracks.flat().map((instruction) => instruction.split(' ').at(-1) ?? ''));
  const nodes = new Map([...names].map((name) => [name, new Node(world, name)]));
  for (const node of nodes.values()) await node.link.sync();
  const sessions = tracks.map((track): Session => ({ rest: [...track], token: {}, shown: '' }));
  for (const place of order) {
    const session = sessions[place];
    const instruction = session?.rest.shift()?.split(' ') ?? [];
    const node = nodes.get(instruction.at(-1) ?? '');
    if (session === undefined || node === undefined) throw new Error('invariant broken: a step is at a node');
    session.shown += await step(instruction, node, session.token, level);
    session.token = node.replica.causalContext(session.token);
  }
  return sessions
    .map(({ shown }) => shown)
    .filter((shown) => shown !== '')
    .join(' ');
}

/** @returns what is shown. */
async function step(
  [what, id = '']: Instruction[],
  node: Node,
  after: CausalContext,
  level: ConsistencyLevel,
): Promise<string> {
  const { access, link } = node;
  switch (what) {
    case 'sync':
      await link.sync();
      return '';
    case 'w': {
      const write = { entityType: TYPE, entityId: entityId(id), kind: 'put', data: { n: 1 } } as const;
      await (level === 'strong' ? access.writeStrong(write, after, WAIT_MS) : access.write(write, after, WAIT_MS));
      return '';
    }
    default: {
      const ids = what === 'list' ? ['x', 'y'] : [id];
      const isServed = await isAllowed(() => access.satisfy(TYPE, { level, after, waitMs: WAIT_MS }));
      return ids.map((each) => (!isServed ? '-' : node.read(each) === undefined ? '0' : '1')).join('');
    }
  }
}

async function isAllowed(satisfy: () => Promise<unknown>): Promise<boolean> {
  try {
    await satisfy();
    return true;
  } catch (error) {
    if (error instanceof SyncError && error.code === 'causality_timeout') return false;
    throw error;
  }
}

/** Time passes when nothing else can happen. */
class HastyWorld extends World {
  override readonly sleep = (ms: number): Promise<void> => {
    return new Promise((resolve) => {
      setImmediate(() => {
        this.nowMs += ms;
        resolve();
      });
    });
  };
}

const WAIT_MS = 100;
