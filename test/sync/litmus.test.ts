import { describe, expect, test } from 'vitest';
import type { ConsistencyLevel } from '../../src/core/consistency.ts';
import { outcomesOf, type Track } from './litmus.ts';

/**
 * Small programs whose outcomes tell one consistency level from another, each run in every order of its steps. An outcome is
 * what the reads of each client show, in their order, with a space between clients.
 */
async function outcomes(level: ConsistencyLevel, ...tracks: readonly Track[]) {
  const shown = await outcomesOf(tracks, level);
  // Where only one thing can happen, what does not happen proves nothing.
  expect(shown.size).toBeGreaterThan(1);
  return shown;
}

describe('[I5] forbidden, in whatever order things happen', () => {
  test('message passing: who sees the second write sees the first', async () => {
    const writer = ['w x a', 'sync a', 'w y a', 'sync a'];
    expect(await outcomes('causal', writer, ['sync b'], ['r y b', 'r x b'])).not.toContain('10');
    // The reader goes to another node in between.
    expect(await outcomes('causal', writer, ['sync b'], ['r y b', 'r x c'])).not.toContain('10');
  });

  test('message passing over two writers and three nodes', async () => {
    const second = ['sync b', 'r x b', 'w y b', 'sync b'];
    const shown = await outcomes('causal', ['w x a', 'sync a'], second, ['sync c', 'r y c', 'r x c']);
    expect(shown).toContain('1 11');
    expect(shown).not.toContain('1 10');
  });

  test('load buffering: both see what the other writes later', async () => {
    const shown = await outcomes('causal', ['r y a', 'w x a'], ['r x b', 'w y b'], ['sync a'], ['sync b']);
    expect(shown).toContain('0 1');
    expect(shown).not.toContain('1 1');
  });
});

/** Two who write at their own nodes, and then look for what the other has written. */
const STORE_BUFFERING = [
  ['w x a', 'r y a'],
  ['w y b', 'r x b'],
];
/** Two who only read, each at the node of one of two writers. */
const INDEPENDENT_READS = [['w x a'], ['w y b'], ['r x a', 'r y a'], ['r y b', 'r x b']];
const SNAPSHOTS = [['w x a'], ['w y b'], ['list a'], ['list b']];

describe('allowed, since nodes go on without the cloud: it really happens, and is promised to nobody', () => {
  test('store buffering: neither sees the other’s write', async () => {
    expect(await outcomes('causal', ...STORE_BUFFERING, ['sync a'], ['sync b'])).toContain('0 0');
  });

  test('independent reads of independent writes: two readers see two writes in two orders', async () => {
    expect(await outcomes('causal', ...INDEPENDENT_READS)).toContain('10 10');
  });

  test('long fork: of two snapshots each has a write that the other lacks', async () => {
    expect(await outcomes('causal', ...SNAPSHOTS, ['sync a'], ['sync b'])).toContain('10 01');
  });

  test('who writes at a node that is cut off, and then at another, sees both in order or nothing; others may see the second', async () => {
    // Node a never syncs: what was written there can't be had, and what carries its token goes on without it.
    const shown = await outcomes('causal', ['w x a', 'w y b', 'r x c'], ['sync b'], ['sync c', 'r y c', 'r x c']);
    expect([...shown].filter((each) => !each.startsWith('-'))).toEqual([]);
    expect(shown).toContain('- 10');
  });
});

test('[I7] none of it happens where all is strong', async () => {
  expect(await outcomes('strong', ...STORE_BUFFERING)).not.toContain('0 0');
  expect(await outcomes('strong', ...INDEPENDENT_READS)).not.toContain('10 10');
});
