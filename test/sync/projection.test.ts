import fc from 'fast-check';
import { expect, test } from 'vitest';
import { formatStamp } from '../../src/core/hlc.ts';
import { entityKey, toNodeId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { writeAtCloud } from '../../src/sync/cloud-write.ts';
import { resolveConflict } from '../../src/sync/inbox.ts';
import { takeBatch } from '../../src/sync/judge.ts';
import type { ProjectionPage, ProjectionSink } from '../../src/sync/ports.ts';
import { Projection } from '../../src/sync/projection.ts';
import { entityId, made, Node, TYPE, World } from './world.ts';

const nodeId = made(toNodeId('a'));

/** A copy in memory. A page that isn't answered may have been applied or not. */
class Copy implements ProjectionSink {
  epoch: string | null = null;
  seq = 0;
  conflictRevision = 0;
  entities = new Map<string, ProjectionPage['entities'][number]>();
  conflicts = new Map<string, ProjectionPage['conflicts'][number]>();
  readonly pages: ProjectionPage[] = [];
  fault: 'none' | 'refused' | 'unanswered' = 'none';

  async position() {
    const { epoch, seq, conflictRevision } = this;
    return { epoch, seq, conflictRevision };
  }

  async apply(page: ProjectionPage) {
    const { fault } = this;
    this.fault = 'none';
    if (fault === 'refused') throw new Error('the copy is away');
    if (page.epoch !== this.epoch) {
      this.entities.clear();
      this.conflicts.clear();
    }
    this.pages.push(page);
    for (const entity of page.entities) this.entities.set(entityKey(entity), entity);
    for (const conflict of page.conflicts) this.conflicts.set(conflict.id, conflict);
    ({ epoch: this.epoch, seq: this.seq, conflictRevision: this.conflictRevision } = page);
    if (fault === 'unanswered') throw new Error('the answer is lost');
  }
}

/** A change of a node that has seen nothing: in conflict with whatever is there. */
function meet(world: World, counter: number, id: string, data: JsonObject): void {
  const stamp = formatStamp({ wallMs: world.nowMs - 50 + (counter % 100), counter: 0, node: nodeId });
  const header = { id: `a:${counter}`, nodeId, entityType: TYPE, entityId: id, operation: 'update', base: {} };
  const change = { ...header, data, stamp, timestamp: 1 };
  world.sequencer.commit((commit) =>
    takeBatch(commit, [change], { nodeId, cursor: 0, relay: false, canResolve: true, isOrdered: true }),
  );
}

function expectCopied(world: World, copy: Copy): void {
  const bySeq = [...copy.entities.values()].sort((a, b) => a.seq - b.seq);
  const byRevision = [...copy.conflicts.values()].sort((a, b) => a.revision - b.revision);
  expect(bySeq).toEqual(world.cloudStore.readAfter(0, 1_000));
  expect(byRevision).toEqual(world.cloudStore.readConflictsAfter(0, 1_000));
}

test('[I3] the copy ends with all entities and conflicts, whatever failed on the way and whenever', async () => {
  const step = fc.oneof(
    fc.record({ do: fc.constantFrom('write', 'meet', 'meet'), entity: fc.nat(2), n: fc.nat(5) }),
    fc.record({ do: fc.constant('decide'), pick: fc.nat(9), n: fc.nat(5) }),
    fc.record({ do: fc.constant('project'), fault: fc.constantFrom('none', 'refused', 'unanswered') }),
    fc.record({ do: fc.constant('restart-cloud') }),
  );
  const story = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40, size: 'max' }), async (steps) => {
    const world = new World();
    const copy = new Copy();
    const projection = () => new Projection(world.cloudStore, world.sequencer, copy, world.clock);
    let counter = 0;
    for (const one of steps) {
      world.nowMs += 10;
      if (one.do === 'restart-cloud') world.restartCloud();
      if ('entity' in one) {
        counter += 1;
        const write = {
          entityType: TYPE,
          entityId: entityId(`e${one.entity}`),
          kind: 'put',
          data: { n: one.n },
        } as const;
        if (one.do === 'meet') meet(world, counter, write.entityId, write.data);
        else world.sequencer.commit((commit) => writeAtCloud(commit, write));
      }
      if ('pick' in one) {
        const conflicts = world.cloudStore.listConflicts({ status: 'all', after: '', limit: 100 });
        const found = conflicts[one.pick % conflicts.length];
        if (found === undefined) continue;
        world.sequencer.commit((commit) => resolveConflict(commit, found.id, { data: { n: one.n } }, 'ada'));
      }
      if ('fault' in one) {
        const { isBehind } = projection();
        copy.fault = one.fault;
        const run = projection().catchUp(10);
        if (one.fault !== 'none' && isBehind) {
          await expect(run).rejects.toThrow();
          expect(projection().isBehind).toBe(true);
        } else {
          await run;
          expect(projection().isBehind).toBe(false);
          expectCopied(world, copy);
        }
        copy.fault = 'none';
      }
    }
    await projection().catchUp(10);
    expect(projection().isBehind).toBe(false);
    expectCopied(world, copy);
  });
  await fc.assert(story, { numRuns: 200 });
});

test('pages are bounded in bytes, end for both feeds together, and another epoch starts both from 0', async () => {
  const world = new World();
  const copy = new Copy();
  const text = 'x'.repeat(100_000);
  const projection = new Projection(world.cloudStore, world.sequencer, copy, world.clock);
  for (let n = 0; n < 5; n += 1) {
    const write = { entityType: TYPE, entityId: entityId(`e${n}`), kind: 'put', data: { text } } as const;
    world.sequencer.commit((commit) => writeAtCloud(commit, write));
    meet(world, n + 1, `e${n}`, { text: `${text}!` });
  }
  await projection.catchUp(1);
  expect(projection.isBehind).toBe(true);
  expect(copy.pages.map(({ entities, conflicts }) => [entities.length, conflicts.length])).toEqual([[2, 1]]);
  await projection.catchUp(10);
  expect(projection.isBehind).toBe(false);
  expectCopied(world, copy);
  expect(copy.pages.map(({ asOfMs }) => asOfMs !== undefined)).toEqual([false, true]);
  expect(copy.pages.map(({ conflicts }) => conflicts.length)).toEqual([1, 4]);

  // A cloud that lost all begins another history. The copy's cursors are beyond its heads, and mean nothing.
  const other = new World();
  other.entropy.id();
  other.restartCloud();
  const write = { entityType: TYPE, entityId: entityId('e9'), kind: 'put', data: { n: 1 } } as const;
  other.sequencer.commit((commit) => writeAtCloud(commit, write));
  meet(other, 1, 'e9', { n: 2 });
  expect(other.sequencer.meta.epoch).not.toBe(copy.epoch);
  await new Projection(other.cloudStore, other.sequencer, copy, other.clock).catchUp(10);
  expectCopied(other, copy);
});

test('[I8] [S9] what takes effect together comes in one step, though it is more than a page', async () => {
  const world = new World();
  const copy = new Copy();
  const a = new Node(world, 'a');
  const text = 'x'.repeat(100 * 1024);
  const ids = ['p', 'q', 'r', 's', 't', 'u', 'v', 'w'];
  a.replica.transact(
    ids.map((id) => ({ entityType: TYPE, entityId: entityId(id), kind: 'put', data: { text } })),
    {},
  );
  await a.link.sync();
  await new Projection(world.cloudStore, world.sequencer, copy, world.clock).catchUp(50);
  expect(copy.pages.map(({ entities }) => entities.length)).toEqual([ids.length]);
  for (let round = 0; round < 4; round += 1) {
    for (const id of ids) a.put(id, { text, round });
    await a.link.sync();
  }
  for (let index = 0; index < 40; index += 1) a.put(`more${index}`, { text });
  await a.link.sync();
  await new Projection(world.cloudStore, world.sequencer, copy, world.clock).catchUp(50);
  expect(copy.pages.length).toBeGreaterThan(2);
  expectCopied(world, copy);
});
