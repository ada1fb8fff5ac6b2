import { describe, expect, test } from 'vitest';
import type { Entity } from '../../scripts/demo/answers.ts';
import { compareReplicas } from '../../scripts/demo/replica-report.ts';
import type { Scope } from '../../scripts/demo/stage.ts';
import { namesWith } from '../../scripts/demo/stations/names.ts';
import { toEntityId, toEntityType } from '../../src/core/ids.ts';
import { statusOf } from './node-status.ts';

const { types } = namesWith('');
const own = [entityOf(types.days, 'one'), entityOf(types.hours, 'one')];
const foreign = entityOf('notes', 'one');

/** A cloud that also holds a record of somebody else, which node and D1 don't have yet. */
async function compare(scope: Scope, atNode: readonly Entity[]) {
  const list = (entities: readonly Entity[], type: string) => entities.filter(({ entityType }) => entityType === type);
  const api: Parameters<typeof compareReplicas>[0] = {
    exportCloud: async () => [foreign, ...own],
    headOfCloud: async () => 3,
    listAtNode: async (_, type) => list(atNode, type),
    status: async () => statusOf({ cursor: 2, digest: 'of all' }),
    listAtD1: async (type) => list(own, type),
    lagOfD1: async () => 0,
  };
  const { reports, state } = await compareReplicas(api, ['node'], scope, Object.values(types), () => {});
  return {
    names: [...state.keys()],
    entities: reports.map(({ entities }) => entities),
    digests: new Set(reports.map(({ digest }) => digest)).size,
    ownDigest: reports[0]?.ownDigest,
  };
}

describe('compareReplicas', () => {
  test('of the run: what others wrote is nowhere counted', async () => {
    expect(await compare('run', own)).toEqual({
      names: ['daily-weather/one', 'hourly-normal/one'],
      entities: [2, 2, 2],
      digests: 1,
      ownDigest: undefined,
    });
  });

  test('of the run: a record of its own that a node lacks makes a difference', async () => {
    expect(await compare('run', own.slice(1))).toMatchObject({ entities: [1, 2, 2], digests: 2 });
  });

  test('of the space: any record makes a difference, and the node is held to its own digest', async () => {
    expect(await compare('space', own)).toMatchObject({ entities: [2, 3, 2], digests: 2, ownDigest: 'of all' });
  });
});

function entityOf(type: string, id: string): Entity {
  const [entityType, entityId] = [toEntityType(type), toEntityId(id)];
  if (entityType === undefined || entityId === undefined) throw new Error('bad names');
  return { entityType, entityId, version: 'a:1', data: { type } };
}
