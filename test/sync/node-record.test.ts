import { expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { batch, batchAnswer, change as changeSchema } from '../../src/protocol/messages.ts';
import { freshNode, isForked, withAnswer, withChange } from '../../src/sync/node-record.ts';
import { made, Node, World } from './world.ts';

const NODE = freshNode(made(toNodeId('a')));

function change(counter: number, n: number) {
  return changeSchema.parse({
    id: `a:${counter}`,
    nodeId: 'a',
    entityType: 'note',
    entityId: 'x',
    operation: 'update',
    data: { n },
    base: {},
    stamp: '0000000000ff-0000-a',
    timestamp: 1,
  });
}

test('[S17] [I10] the contents of the last dots are remembered, and of no more', () => {
  let node = NODE;
  for (let counter = 1; counter <= LIMITS.dotHashes + 1; counter += 1) node = withChange(node, change(counter, 1));
  expect(node.hashes).toHaveLength(LIMITS.dotHashes);
  expect(isForked(node, change(2, 1))).toBe(false);
  expect(isForked(node, change(2, 2))).toBe(true);
  expect(isForked(node, change(1, 2))).toBeUndefined();
});

test('[S24] [I10] of a node eight answers are kept, the older within their bytes, and none that is too large', () => {
  const answer = (characters: number) => {
    const head = { batchId: 'b', results: [], cursor: 1, more: false, vectorClock: { cloud: 1 }, serverTime: 1 };
    const at = { entityType: 'note', entityId: 'x', seq: 1, version: 'b:1', stamp: '0000000000ff-0000-b', origin: 'b' };
    return batchAnswer.parse({
      ...head,
      changes: [{ ...at, operation: 'update', data: { text: 'x'.repeat(characters) } }],
    });
  };
  const kept = (sizes: readonly number[]) => {
    const node = sizes.reduce((all, size, index) => withAnswer(all, `${index}`, '', answer(size)), NODE);
    return node.answers.map(({ batchId }) => batchId);
  };
  expect(kept(Array.from({ length: 10 }, () => 1))).toEqual(['9', '8', '7', '6', '5', '4', '3', '2']);
  const half = LIMITS.answersBytes / 2;
  expect(kept([half, half, half, 10 * half])).toEqual(['3', '2']);
  expect(kept([1, LIMITS.answerBytes])).toEqual(['0']);
});

test('[S24] [I10] of batches that only read the last answer is kept, of the last nodes', async () => {
  const world = new World();
  const ask = (node: Node, batchId: string) => {
    const sent = { batchId, sourceNodeId: node.nodeId, targetNodeId: 'cloud', cursor: 0, changes: [] };
    const session = node.replica.meta.session?.id ?? '';
    return world.responder.exchange(session, batch.parse(sent), { nodeId: node.nodeId, relay: false });
  };
  const nodes: Node[] = [];
  for (let each = 0; each <= LIMITS.readOnlyAnswers; each += 1) {
    const node = new Node(world, `n${each}`);
    await node.link.sync();
    nodes.push(node);
  }
  for (const node of nodes) ask(node, 'mine');
  world.nowMs += 1_000;
  const [first, second] = [made(nodes[0]), made(nodes[1])];
  expect(ask(second, 'mine').serverTime).toBe(world.nowMs - 1_000);
  expect(ask(first, 'mine').serverTime).toBe(world.nowMs);
  ask(second, 'another');
  expect(ask(second, 'mine').serverTime).toBe(world.nowMs);
});
