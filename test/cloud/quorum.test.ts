import { expect, test } from 'vitest';
import { askNodes } from '../../src/cloud/quorum.ts';
import type { NodeId } from '../../src/core/ids.ts';
import type { Clock } from '../../src/sync/ports.ts';
import { nodeId } from '../sync/world.ts';

const NODES = ['a', 'b', 'c', 'd'].map(nodeId);

/** Nodes of which some fail, some answer nothing, and some never answer; `isSlow`: that is noticed. */
function asking(failing: string, silent: string, hanging: string, isSlow = false) {
  const asked: NodeId[] = [];
  const clock: Clock = {
    nowMs: () => 0,
    sleep: (ms) => (isSlow && ms < 1_000 ? Promise.resolve() : new Promise(() => undefined)),
  };
  const ask = (node: NodeId): Promise<NodeId | null> => {
    asked.push(node);
    if (hanging.includes(node)) return new Promise(() => undefined);
    if (failing.includes(node)) return Promise.reject(new Error('reset'));
    return Promise.resolve(silent.includes(node) ? null : node);
  };
  return { asked, of: (wanted: number) => askNodes(NODES, ask, wanted, 1_000, clock) };
}

test('[S39] no more nodes are asked than have to answer', async () => {
  const { asked, of } = asking('', '', '');
  expect(await of(0)).toEqual([]);
  expect(await of(2)).toEqual(NODES.slice(0, 2));
  expect(asked).toEqual(NODES.slice(0, 2));
});

test('[S39] for a node that fails or answers nothing another one is asked, as long as there are any', async () => {
  const { asked, of } = asking('a', 'b', '');
  expect(await of(2)).toEqual(NODES.slice(2));
  expect(asked).toEqual(NODES);
  expect(await asking('a', 'b', '').of(3)).toEqual(NODES.slice(2));
});

test('[S39] for a node that is slow another one is asked', async () => {
  const { of } = asking('', '', 'a', true);
  expect(await of(1)).toEqual(NODES.slice(1, 2));
});

test('[S39] no more answers are given than were asked for, though one comes that was given up as slow', async () => {
  const { of } = asking('', '', '', true);
  const slow = Promise.withResolvers<NodeId>();
  const all = askNodes(
    NODES,
    async (node) => {
      if (node === NODES[0]) return await slow.promise;
      slow.resolve(nodeId('a'));
      return node;
    },
    1,
    1_000,
    { nowMs: () => 0, sleep: (ms) => (ms < 1_000 ? Promise.resolve() : new Promise(() => undefined)) },
  );
  expect(await all).toHaveLength(1);
  expect(await of(1)).toHaveLength(1);
});
