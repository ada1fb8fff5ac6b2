import { expect, test } from 'vitest';
import { signToken, verifyToken } from '../../src/api/causal-token.ts';
import type { CausalContext } from '../../src/core/causal-context.ts';
import { stampOf } from '../../src/core/hlc.ts';
import { type NodeId, toSpaceId } from '../../src/core/ids.ts';
import { batch } from '../../src/protocol/messages.ts';
import { entityId, made, Node, nodeId, TYPE, World } from '../sync/world.ts';

const NODES = 10_000;
const SPACE = made(toSpaceId('wide'));
const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const MAX_CHARS = 200;

test('[I6] a token is as short in a space of 10,000 nodes as in one of two, wherever it has been', {
  timeout: 120_000,
}, async () => {
  const world = new World();
  for (let count = 0; count < NODES; count += 1) writeFrom(nodeId(`station-${count}`), world);
  expect(world.sequencer.meta.seq).toBe(NODES);

  // From node to node: each pulls all that the others wrote, and takes a write.
  let seen: CausalContext = {};
  for (const name of ['oslo', 'lima', 'quito', 'bergen']) {
    const node = new Node(world, name);
    await node.access.satisfy(TYPE, { level: 'causal', after: seen, waitMs: 1_000 });
    seen = await carried(node.replica.causalContext(seen));
    expect(Object.keys(seen.clock ?? {})).toEqual(['cloud']);
    const write = { entityType: TYPE, entityId: entityId(name), kind: 'put', data: {} } as const;
    await node.access.write(write, seen, 1_000);
    seen = await carried(node.replica.causalContext(seen));
    // What waits here is named until it has arrived.
    expect(new Set(Object.keys(seen.clock ?? {}))).toEqual(new Set(['cloud', name]));
    await node.link.sync();
  }
});

/** A node that writes once, and doesn't ask for what others wrote. */
function writeFrom(station: NodeId, { responder, sequencer, nowMs }: World): void {
  const { sessionId } = responder.connect({ nodeId: station, protocol: 1 });
  const stamp = stampOf({ wallMs: nowMs, counter: 0 }, station);
  const change = {
    id: `${station}:1`,
    nodeId: station,
    entityType: TYPE,
    entityId: station,
    operation: 'create',
    data: {},
    base: {},
    stamp,
    timestamp: nowMs,
  } as const;
  const { seq: cursor } = sequencer.meta;
  const sent = batch.parse({ batchId: 'b1', sourceNodeId: station, targetNodeId: 'cloud', cursor, changes: [change] });
  responder.exchange(sessionId, sent, { nodeId: station, relay: false });
}

/** As it comes back with the next request. */
async function carried(seen: CausalContext): Promise<CausalContext> {
  const token = await signToken(seen, SPACE, SECRET);
  expect(token.length).toBeLessThan(MAX_CHARS);
  return await verifyToken(token, SPACE, SECRET);
}
