import { expect, test } from 'vitest';
import { parseStamp } from '../../src/core/hlc.ts';
import { entityKey } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

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

test('[S19] what is put at now is not before what its writer had seen, though the clock of the cloud was put back', async () => {
  const world = new World({ policy: { onCreate: 'lww' } });
  const seer = new Node(world, 'seer');
  const other = new Node(world, 'other');
  seer.put('x', { by: 'seer' });
  await seer.link.sync();
  world.nowMs -= 3600_000;
  // Its writer had seen a version of an hour later, and by that its stamp is too far ahead.
  seer.put('x', { by: 'seer', again: true });
  await seer.link.sync();
  expect(seer.exchanges.at(-1)?.answer.results).toMatchObject([{ status: 'applied', stamp: expect.any(String) }]);
  world.nowMs += 10;
  other.put('x', { by: 'other' });
  for (const node of [other, seer]) await node.link.sync();
  for (const node of [other, seer]) expect(node.list()).toEqual({ x: { by: 'seer', again: true } });
});

test('[S19] of two that are put at the same now the one that had seen the other is later', async () => {
  const world = new World({ policy: { coalesce: false } });
  const fast = new Node(world, 'fast', 365 * 24 * 3600_000);
  fast.put('x', { n: 1 });
  fast.put('x', { n: 2 });
  await fast.link.sync();
  const [first, second] = fast.exchanges.flatMap(({ answer }) => answer.results).map(({ stamp }) => stamp ?? '');
  expect(parseStamp(first ?? '')).toMatchObject({ wallMs: world.nowMs, counter: 0 });
  expect(parseStamp(second ?? '')).toMatchObject({ wallMs: world.nowMs, counter: 1 });
});

test('[I3] [S19] a node holds its record with the stamp that the cloud put it at', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', 365 * 24 * 3600_000);
  fast.put('x', { by: 'fast' });
  await fast.link.sync();
  const key = entityKey({ entityType: TYPE, entityId: entityId('x') });
  const { stamp } = made(world.cloudStore.readEntity(key));
  expect(parseStamp(stamp)).toMatchObject({ wallMs: world.nowMs });
  expect(fast.replica.confirmed(key)?.stamp).toBe(stamp);
  expect(fast.replica.read(key)?.stamp).toBe(stamp);
});

test('[S45] what a node serves is as old as it says, also where its clock was a minute ahead until it first asked', async () => {
  const world = new World();
  const fast = new Node(world, 'fast', 60_000);
  await fast.link.sync();
  expect(fast.replica.stalenessMs()).toBe(0);
  world.nowMs += 30_000;
  expect(fast.replica.stalenessMs()).toBe(30_000);
  const other = new Node(world, 'other');
  other.put('x', { n: 1 });
  await other.link.sync();
  const bounded = { level: 'eventual', after: {}, waitMs: 1_000, maxStalenessMs: 20_000 } as const;
  expect(await fast.access.satisfy(TYPE, bounded)).toEqual({ source: 'edge', stalenessMs: 0 });
  expect(fast.read('x')).toEqual({ n: 1 });
});
