import { expect, test } from 'vitest';
import { makeStage } from '../../scripts/demo/stage.ts';
import { namesWith } from '../../scripts/demo/stations/names.ts';
import { toEntityType, toNodeId } from '../../src/core/ids.ts';

test('on a shared server no two runs have a name in common', () => {
  const [one, other] = [makeStage('shared', namesWith), makeStage('shared', namesWith)];
  const nodes = [one, other].flatMap(({ cast }) => Object.values(cast));
  const types = [one, other].flatMap((stage) => Object.values(stage.types));
  expect([new Set(nodes).size, new Set(types).size]).toEqual([6, 4]);
  expect([...nodes.map(toNodeId), ...types.map(toEntityType)]).not.toContain(undefined);
  expect(one.scope).toBe('run');
});

test('on a server of its own a run has plain names, and all of the space is compared', () => {
  expect(makeStage('own', namesWith)).toEqual({
    scope: 'space',
    cast: { seattle: 'station-seattle', newYork: 'station-newyork', reader: 'reader' },
    types: { days: 'daily-weather', hours: 'hourly-normal' },
  });
});
