import { expect, test } from 'vitest';
import { parseStamp } from '../../src/core/hlc.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { Node, World } from './world.ts';

test('[S19] a write with a clock that is a year ahead does not win for ever: the cloud puts it at now, and says so', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', 365 * 24 * 3600_000);
  const honest = new Node(world, 'honest');
  // Before it could ask for the time.
  fast.put('x', { by: 'fast' });
  await fast.link.sync();
  const [result] = fast.exchanges.flatMap(({ answer }) => answer.results);
  expect(result).toMatchObject({ status: 'applied', stamp: expect.any(String) });
  expect(parseStamp(result?.stamp ?? '')).toMatchObject({ wallMs: world.nowMs, node: 'fast' });
  world.nowMs += 1;
  // The other has not seen it: the two are concurrent, and it is later.
  honest.put('x', { by: 'honest' });
  for (const node of [honest, fast]) await node.link.sync();
  expect(world.sequencer.meta.conflicts).toBe(1);
  for (const node of [honest, fast]) expect(node.list()).toEqual({ x: { by: 'honest' } });
  expect(fast.replica.meta.digestMismatches).toBe(0);
});

test('[S19] a stamp a little ahead, within a minute, is left as it is', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', LIMITS.maxClockDriftMs);
  fast.put('x', { by: 'fast' });
  await fast.link.sync();
  const [exchange] = fast.exchanges;
  expect(exchange?.answer.results).toMatchObject([{ status: 'applied' }]);
  expect(exchange?.answer.results[0]).not.toHaveProperty('stamp');
  expect(world.cloudStore.readAfter(0, 1)[0]?.stamp).toBe(exchange?.batch.changes[0]?.stamp);
});
