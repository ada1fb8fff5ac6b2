import { describe, expect, test } from 'vitest';
import type { SyncSummary } from '../../scripts/demo/answers.ts';
import { settle, waitForD1 } from '../../scripts/demo/settle.ts';
import { statusOf } from './node-status.ts';

const SYNCED: SyncSummary = { success: true, uploaded: 0, downloaded: 0, conflicts: 0, rejected: 0 };
const silent: Parameters<typeof settle>[1] = {
  progress: (_label, _total, body) => body({ advance: () => {}, reach: () => {} }),
};

/** Nodes that after each round of syncs stand as told; after the last one they stay. */
function nodesThat(...rounds: Record<string, [cursor: number, queued: number]>[]) {
  const syncs: string[] = [];
  const nodes = Object.keys(rounds[0] ?? {});
  const api: Parameters<typeof settle>[0] = {
    sync: async (node) => {
      syncs.push(node);
      return SYNCED;
    },
    status: async (node) => {
      const round = Math.max(0, Math.ceil(syncs.length / nodes.length) - 1);
      const [cursor, queued] = (rounds[round] ?? rounds.at(-1))?.[node] ?? [0, 0];
      return statusOf({ cursor }, queued);
    },
  };
  return { settle: () => settle(api, silent, nodes, 0), rounds: () => syncs.length / nodes.length };
}

describe('settle', () => {
  test('waits for a queue, and for a node behind what was in it', async () => {
    const story = nodesThat({ a: [3, 1], b: [3, 0] }, { a: [4, 0], b: [3, 0] }, { a: [4, 0], b: [4, 0] });
    await story.settle();
    expect(story.rounds()).toBe(3);
  });

  test('is done once all have passed the place where the queues were empty, wherever others have got the head', async () => {
    const story = nodesThat({ a: [4, 0], b: [3, 0] }, { a: [9, 0], b: [5, 0] });
    await story.settle();
    expect(story.rounds()).toBe(2);
  });
});

describe('waitForD1', () => {
  test('is done when D1 is as new as the call, though others keep it behind the cloud', async () => {
    const startedAtMs = performance.now();
    let asked = 0;
    const lagOfD1 = async () => {
      asked += 1;
      // Twice it shows what was before the call, then what was after it.
      return asked < 3 ? performance.now() - startedAtMs + 1_000 : 40;
    };
    await waitForD1({ lagOfD1 }, 'days');
    expect(asked).toBe(3);
  });
});
