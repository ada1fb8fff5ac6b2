import { describe, expect, test } from 'vitest';
import type { CausalContext } from '../../src/core/causal-context.ts';
import { parseStamp } from '../../src/core/hlc.ts';
import { entityKey } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { importRecords, writeAtCloud } from '../../src/sync/cloud-write.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const x = { entityType: TYPE, entityId: entityId('x') };
const put = { ...x, kind: 'put', data: { by: 'cloud' } } as const;

/** The ways to write at the cloud. */
const WAYS: Record<string, (world: World, after: CausalContext) => void> = {
  'a write': (world, after) => void world.sequencer.commit((commit) => writeAtCloud(commit, put, { after })),
  'an import': (world, after) => void world.sequencer.commit((commit) => importRecords(commit, [put], after)),
  'a decision': (world, after) => {
    const [{ id }] = conflictsOf(world);
    world.sequencer.commit((commit) => resolveConflict(commit, id, { data: put.data }, 'ada', {}, after));
  },
};

function conflictsOf(world: World) {
  const filter = { status: 'all', entityTypes: undefined, after: '', limit: 10 } as const;
  const [first, ...more] = world.cloudStore.listConflicts(filter);
  return [made(first), ...more] as const;
}

/** Two nodes that have written, of which one's clock is ahead, and that have met in a conflict. */
async function met(skewMs: number) {
  const world = new World();
  const [ahead, other] = [new Node(world, 'ahead', skewMs), new Node(world, 'other')];
  other.put('x', { by: 'other' });
  await other.link.sync();
  world.nowMs += 1;
  ahead.put('x', { by: 'ahead' });
  await ahead.link.sync();
  // By its own clock until it meets the cloud's again.
  ahead.restart();
  return { world, ahead, other };
}

describe('[I6] what is written at the cloud follows what its writer has seen, whatever the clocks were', () => {
  test.each(Object.entries(WAYS))('%s', async (_, write) => {
    const { world, ahead, other } = await met(30_000);
    ahead.put('x', { by: 'ahead, again' });
    write(world, ahead.replica.causalContext());
    for (const node of [ahead, other]) await node.link.sync();
    for (const node of [ahead, other]) expect(node.read('x')).toEqual({ by: 'cloud' });
  });

  test.each(Object.entries(WAYS))('%s goes after no clock that is further ahead than one may be', async (_, write) => {
    const { world } = await met(0);
    write(world, { atMs: world.nowMs + 24 * 3600_000 });
    const { stamp } = made(world.cloudStore.readEntity(entityKey(x)));
    expect(parseStamp(stamp)?.wallMs).toBe(world.nowMs + LIMITS.maxClockDriftMs);
  });
});
