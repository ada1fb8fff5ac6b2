import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf, digestTotal, digestWithin, EMPTY_DIGEST, replaceInDigest } from '../../src/core/digest.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp } from '../../src/core/hlc.ts';
import { toEntityId, toEntityType, toNodeId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const stamp = formatStamp({ wallMs: 1, counter: 0, node: made(toNodeId('a')) });

function versionOf(type: string, id: string, version: string, data: JsonObject | null): EntityVersion {
  return { entityType: made(toEntityType(type)), entityId: made(toEntityId(id)), version, data, seq: 1, stamp };
}

const TYPES = ['note', 'task', 'photo'];
const json = fc.dictionary(fc.string(), fc.jsonValue(), { maxKeys: 3 }).map((data): JsonObject => {
  return JSON.parse(JSON.stringify(data));
});
const entity = fc
  .tuple(
    fc.constantFrom(...TYPES),
    fc.constantFrom('x', 'y', 'z'),
    fc.constantFrom('a:1', 'b:2', 'cloud:3'),
    fc.option(json, { freq: 4 }),
  )
  .map((all) => versionOf(...all));
/** Each entity once. */
const state = fc.uniqueArray(entity, { selector: keyOf, maxLength: 9 });

function keyOf({ entityType, entityId }: EntityVersion): string {
  return `${entityType}/${entityId}`;
}

describe('[I3] [S22] a digest', () => {
  const x = versionOf('note', 'x', 'a:1', { n: 1 });
  const y = versionOf('note', 'y', 'b:2', {});
  const task = versionOf('task', 'x', 'a:3', { t: 'ü' });

  test('is the sum of halves of SHA-256, of type, id, version and data, for each type: the same everywhere, for ever', () => {
    expect(digestOf([x])).toEqual({ note: '80f139432b688ea6870792e2893d8d16' });
    expect(digestOf([x, y, task])).toEqual({
      note: '88773fecb68de85adf072896c7f54c1b',
      task: '0357ac94dc118df7f3672fe71cffd978',
    });
    expect(digestTotal(digestOf([x, y, task]))).toBe('8bceec81929f7652d26e587de4f52593');
  });

  test('of nothing is 0, with or without tombstones', () => {
    expect(digestOf([])).toEqual(EMPTY_DIGEST);
    expect(digestOf([{ ...x, data: null }])).toEqual(EMPTY_DIGEST);
    expect(digestTotal(EMPTY_DIGEST)).toBe('0'.repeat(32));
  });

  test('kept step by step is that of the whole, and ends at nothing where all is gone', () => {
    fc.assert(
      fc.property(fc.array(entity, { maxLength: 20 }), (writes) => {
        const states = new Map<string, EntityVersion>();
        let digest = EMPTY_DIGEST;
        for (const next of writes) {
          digest = replaceInDigest(digest, states.get(keyOf(next)), next);
          states.set(keyOf(next), next);
          expect(digest).toEqual(digestOf(states.values()));
        }
        for (const last of states.values()) digest = replaceInDigest(digest, last, undefined);
        expect(digest).toEqual(EMPTY_DIGEST);
      }),
    );
  });

  test('does not depend on order', () => {
    const shuffled = state.chain((all) =>
      fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length })),
    );
    fc.assert(
      fc.property(shuffled, ([one, other]) => {
        expect(digestOf(other)).toEqual(digestOf(one));
      }),
    );
  });

  test('within a filter is that of what passes the filter', () => {
    const filter = fc.option(fc.subarray(TYPES), { nil: undefined });
    fc.assert(
      fc.property(state, filter, (all, types) => {
        const within = all.filter(({ entityType }) => types === undefined || types.includes(entityType));
        expect(digestWithin(digestOf(all), types)).toEqual(digestOf(within));
        expect(digestTotal(digestOf(all), types)).toBe(digestTotal(digestOf(within)));
        expect(digestTotal(digestOf(all), types)).toMatch(/^[0-9a-f]{32}$/);
      }),
    );
  });

  test.each<[string, Partial<EntityVersion>]>([
    ['id', { entityId: made(toEntityId('other')) }],
    ['type', { entityType: made(toEntityType('other')) }],
    ['version', { version: 'other:1' }],
    ['datum', { data: { other: true } }],
    ['life', { data: null }],
  ])('is another one for another %s', (_, change) => {
    fc.assert(
      fc.property(state, json, (others, data) => {
        const mine = versionOf('note', 'mine', 'a:1', data);
        expect(digestOf([...others, { ...mine, ...change }])).not.toEqual(digestOf([...others, mine]));
        const total = (one: EntityVersion) => digestTotal(digestOf([...others, one]));
        expect(total({ ...mine, ...change })).not.toBe(total(mine));
      }),
    );
  });

  test('knows nothing of when, where and by which marks', () => {
    const elsewhere: EntityVersion = {
      ...x,
      seq: 9,
      stamp: formatStamp({ wallMs: 2, counter: 0, node: made(toNodeId('b')) }),
    };
    expect(digestOf([elsewhere])).toEqual(digestOf([x]));
  });
});
