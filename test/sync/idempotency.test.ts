import { describe, expect, test } from 'vitest';
import { SyncError } from '../../src/protocol/errors.ts';
import type { Write } from '../../src/sync/write.ts';
import { entityId, Node, TYPE, World } from './world.ts';

function added(id: string, value: number): Write {
  const operations = [{ op: 'increment', path: 'n', value }] as const;
  return { entityType: TYPE, entityId: entityId(id), kind: 'patch', operations };
}

const ONCE = { key: 'k', hash: 'h' };
const SECOND = { key: 'second', hash: 'h' };

async function began() {
  const world = new World({ policy: { conflict: 'merge' } });
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const id of ['x', 'y']) a.put(id, { n: 10 });
  for (const node of [a, b]) await node.link.sync();
  return { world, a, b };
}

describe('a strong write that is repeated by its key', () => {
  test('[I4] [S37] changes nothing of what its node has, whatever came in between', async () => {
    const { a, b } = await began();
    await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    b.put('x', { n: 50 });
    for (const node of [b, a]) await node.link.sync();
    const again = await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    expect(again).toMatchObject({ changeId: 'a:3', data: { n: 11 } });
    expect([a.read('x'), a.replica.meta.digestMismatches]).toEqual([{ n: 50 }, 0]);
  });

  test('[I6] [S37] is not seen by its own node before that has what it did', async () => {
    const { world, a, b } = await began();
    await a.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    for (const id of ['p', 'q']) a.put(id, {});
    await a.link.sync();
    world.pageLimit = 1;
    let calls = 0;
    b.beforeCall = () => {
      calls += 1;
      if (calls > 1) throw new SyncError('cloud_unavailable', 'gone');
    };
    const again = await b.access.writeStrong(added('x', 1), {}, 1_000, ONCE);
    expect(again).toMatchObject({ changeId: 'a:3', data: { n: 11 } });
    expect(b.read('x')).toEqual({ n: 10 });
    expect(b.replica.covers(b.replica.causalContext())).toBe(false);
  });
});

describe('a write here that is repeated by its key', () => {
  test('[I2] [S37] happens once, also where both wait for what their writer has seen', async () => {
    const { a, b } = await began();
    b.put('q', {});
    await b.link.sync();
    const after = b.replica.causalContext();
    const one = () => a.access.write(added('x', 1), after, 1_000, ONCE);
    const [first, again] = await Promise.all([one(), one()]);
    expect(again).toEqual(first);
    b.put('q', {});
    await b.link.sync();
    const all = () => a.access.transact([added('x', 1), added('y', 1)], b.replica.causalContext(), 1_000, SECOND);
    const [firsts, agains] = await Promise.all([all(), all()]);
    expect(agains).toEqual(firsts);
    expect([a.read('x'), a.read('y')]).toEqual([{ n: 12 }, { n: 11 }]);
  });
});
