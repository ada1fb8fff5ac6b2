import { expect, test } from 'vitest';
import { type News, PokeBoard } from '../../src/cloud/poke-board.ts';
import type { NodeId } from '../../src/core/ids.ts';

const [A, B] = ['a' as NodeId, 'b' as NodeId];

/** A board, what it pokes, and its store; a poke is answered when the test says so. */
function world(stored: NodeId[] = []) {
  const rows = new Set(stored);
  const writes: string[] = [];
  const poked: (News & { nodeId: NodeId })[] = [];
  const answers: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const waits: number[] = [];
  let giveUp = () => {};
  const impatience = new Promise<void>((resolve) => {
    giveUp = resolve;
  });
  const board = new PokeBoard(
    (nodeId, news) => {
      poked.push({ nodeId, ...news });
      return new Promise<void>((resolve, reject) => answers.push({ resolve, reject }));
    },
    {
      load: () => rows,
      save: (nodeId) => void writes.push(`+${nodeId}`),
      remove: (nodeId) => void writes.push(`-${nodeId}`),
    },
    {
      nowMs: () => 0,
      sleep: (ms, signal) => {
        // Of a wait for an answer the end is that of the answer, or `impatience` is.
        if (signal !== undefined) return impatience;
        waits.push(ms);
        return Promise.resolve();
      },
    },
  );
  const turns = () => new Promise((resolve) => setTimeout(resolve, 0));
  return { board, poked, answers, waits, writes, turns, giveUp };
}

test('[S26] who is live is known after a restart, and a row is written only when that changes', async () => {
  const { board, poked, writes } = world([A]);
  board.see(A, true);
  board.see(B, true);
  board.see(B, true);
  void board.pokeAll({ head: 1, source: undefined });
  expect(poked.map(({ nodeId }) => nodeId)).toEqual([A, B]);
  board.see(A, false);
  board.see(A, false);
  void board.pokeAll({ head: 2, source: B });
  expect(poked).toHaveLength(2);
  expect(writes).toEqual(['+b', '-a']);
});

test('[S26] what comes while a poke is under way is told in one poke behind it, and its source is one that knows it all', async () => {
  const { board, poked, answers, turns } = world([A]);
  const ends = [1, 2, 3].map((head) => board.pokeAll({ head, source: B }));
  expect(poked).toEqual([{ nodeId: A, head: 1, source: B }]);
  answers[0]?.resolve();
  await turns();
  expect(poked[1]).toEqual({ nodeId: A, head: 3, source: B });
  ends.push(board.pokeAll({ head: 4, source: B }), board.pokeAll({ head: 5, source: undefined }));
  answers[1]?.resolve();
  await turns();
  expect(poked.slice(2)).toEqual([{ nodeId: A, head: 5, source: undefined }]);
  answers[2]?.resolve();
  await Promise.all(ends);
});

test('[S26] [I11] a poke that fails is tried again, with what has come since; one that fails for ever ends', async () => {
  const { board, poked, answers, waits, writes, turns } = world([A]);
  const end = board.pokeAll({ head: 1, source: B });
  void board.pokeAll({ head: 2, source: undefined });
  answers[0]?.reject(new Error('it is moved'));
  await turns();
  expect(poked[1]).toEqual({ nodeId: A, head: 2, source: undefined });
  for (const index of [1, 2, 3]) {
    answers[index]?.reject(new Error('it is moved'));
    await turns();
  }
  await end;
  expect(waits).toEqual([1_000, 2_000, 3_000, 4_000]);
  expect(poked).toHaveLength(4);
  // It is told with the next news.
  expect(writes).toEqual([]);
  void board.pokeAll({ head: 3, source: undefined });
  expect(poked.at(-1)).toMatchObject({ nodeId: A, head: 3 });
});

test('[S26] [I10] a node that does not answer is taken for away, and does not keep the pokes behind waiting for ever', async () => {
  const { board, poked, giveUp } = world([A]);
  const end = board.pokeAll({ head: 1, source: undefined });
  giveUp();
  await end;
  expect(poked).toHaveLength(4);
});
