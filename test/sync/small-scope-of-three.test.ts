import { describe, expect, test } from 'vitest';
import { CREATE_RULES, DELETE_RULES } from '../../src/core/policy.ts';
import { CONFLICT_NAMES, CREATIONS, isDeletion, type Kinds, playAll, ruleOf, UPDATES } from './small-scope.ts';

/*
 * As small-scope.test.ts, with three writers, and so with less that each of them may do. Of a merge of three the order of
 * arrival may decide in some cases (docs/decisions/0005-marks.md): there all must still agree, and nothing be lost.
 */

const ORDERS = 6;
const TIMEOUT = { timeout: 120_000 };

const { put, increment, push, pull, value, element, unset, delete: deletion } = UPDATES;
const mergePatch = UPDATES['merge patch'];
const FEW: Kinds = { put, increment, 'merge patch': mergePatch };
const IN_ONE_FIELD: Kinds = {
  unset,
  'merge patch': mergePatch,
  'nested field': UPDATES['nested field'],
  'field above': UPDATES['field above'],
  'text above': UPDATES['text above'],
  'unset above': UPDATES['unset above'],
};
const COUNTS: Kinds = { put, increment, value };
const ELEMENTS: Kinds = { push, pull, element, 'put with an element': UPDATES['put with an element'] };

describe('three writers, in every order', () => {
  test.each(CONFLICT_NAMES)('[I1] [I3] [S2] who update a record: %s', TIMEOUT, async (name) => {
    const { played, open } = await playAll(FEW, 3, 'a record', ruleOf(name));
    expect({ played, open }).toEqual({ played: ORDERS * Object.keys(FEW).length ** 3, open: 0 });
  });

  test('[I1] [I3] [S2] who write in and above one field: merge', TIMEOUT, async () => {
    const { played, open } = await playAll(IN_ONE_FIELD, 3, 'a record', ruleOf('merge'));
    expect({ played, open }).toEqual({ played: ORDERS * Object.keys(IN_ONE_FIELD).length ** 3, open: 0 });
  });

  test.each([COUNTS, ELEMENTS])('[I1] [S2] who set and add to one path: merge', TIMEOUT, async (kinds) => {
    const { open, differing } = await playAll(kinds, 3, 'a record', ruleOf('merge'));
    expect(open).toBeGreaterThan(0);
    expect(differing).toBe(open);
  });

  test.each(CONFLICT_NAMES.flatMap((name) => DELETE_RULES.map((onDelete) => [name, onDelete] as const)))(
    '[I1] [I3] [I12] [S2] of whom some delete: %s, %s',
    TIMEOUT,
    async (name, onDelete) => {
      const kinds: Kinds = { ...(name === 'merge' ? FEW : { put, increment }), delete: deletion };
      const all = Object.keys(kinds).length;
      const rule = ruleOf(name, { onDelete });
      const { played, open, differing } = await playAll(kinds, 3, 'a record', rule, (names) => names.some(isDeletion));
      expect(played).toBe(ORDERS * (all ** 3 - (all - 1) ** 3));
      const isOpen = name === 'merge' && onDelete !== 'delete-wins';
      expect([open > 0, differing > 0]).toEqual([isOpen, isOpen]);
    },
  );

  test.each(CREATE_RULES)('[I1] [I3] [S2] who create: %s', TIMEOUT, async (onCreate) => {
    const { played, open, differing } = await playAll(CREATIONS, 3, 'nothing', ruleOf('lww', { onCreate }));
    expect(played).toBe(ORDERS * Object.keys(CREATIONS).length ** 3);
    expect(open > 0).toBe(onCreate === 'merge');
    expect(differing).toBe(open);
  });
});
