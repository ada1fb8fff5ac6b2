import { describe, expect, test } from 'vitest';
import { CREATE_RULES, DELETE_RULES } from '../../src/core/policy.ts';
import {
  begin,
  CONFLICT_NAMES,
  CREATIONS,
  isDeletion,
  type Kinds,
  playAll,
  ruleOf,
  STRONG,
  UPDATES,
} from './small-scope.ts';
import { Node, World } from './world.ts';

/*
 * Every pair of writes, in either order of their stamps and in either order of arrival, on every kind of beginning, under
 * every rule: small enough to try them all (the small scope hypothesis, Jackson 2006). A model of the rules says what must
 * come of each.
 */

const TIMEOUT = { timeout: 120_000 };

describe('two writers, in either order', () => {
  const kinds: Kinds = { ...UPDATES, ...STRONG };
  const all = Object.keys(kinds).length;
  const deletions = Object.keys(kinds).filter(isDeletion).length;

  test.each(CONFLICT_NAMES)('[I1] [I3] [S2] [S20] who update a record: %s', TIMEOUT, async (name) => {
    const { played, open } = await playAll(kinds, 2, 'a record', ruleOf(name), (names) => !names.some(isDeletion));
    expect({ played, open }).toEqual({ played: 2 * (all - deletions) ** 2, open: 0 });
  });

  test.each(CONFLICT_NAMES.flatMap((name) => DELETE_RULES.map((onDelete) => [name, onDelete] as const)))(
    '[I1] [I3] [I12] [S2] [S20] of whom one deletes: %s, %s',
    TIMEOUT,
    async (name, onDelete) => {
      const rule = ruleOf(name, { onDelete });
      const { played, open } = await playAll(kinds, 2, 'a record', rule, (names) => names.some(isDeletion));
      expect({ played, open }).toEqual({ played: 2 * (all ** 2 - (all - deletions) ** 2), open: 0 });
    },
  );

  test.each(['nothing', 'a deleted record'] as const)(
    '[S11] on %s there is nothing to patch or delete, and what is made and deleted is nothing',
    async (beginning) => {
      const node = new Node(new World(), 'p');
      await begin([node], beginning);
      const ofNothing = Object.entries(UPDATES).filter(([name]) => !name.startsWith('put'));
      const others = ofNothing.map(([, kind]) => kind);
      for (const kind of [...others, STRONG['strong increment'], STRONG['strong merge patch']]) {
        for (const content of kind('by-p').contents) {
          expect(() => node.write('x', content)).toThrow(expect.objectContaining({ code: 'not_found' }));
        }
      }
      for (const content of [...UPDATES.put('by-p').contents, ...UPDATES.delete().contents]) node.write('x', content);
      expect(node.list()).toEqual({});
      expect(node.replica.queueStats().total).toBe(0);
    },
  );

  const creating: Kinds = { ...CREATIONS, ...STRONG };

  const ofCreating = 2 * Object.keys(creating).length ** 2;

  test.each(CONFLICT_NAMES.flatMap((name) => CREATE_RULES.map((onCreate) => [name, onCreate] as const)))(
    '[I1] [I3] [S2] [S20] who create: %s, %s',
    TIMEOUT,
    async (name, onCreate) => {
      const { played, open } = await playAll(creating, 2, 'nothing', ruleOf(name, { onCreate }));
      expect({ played, open }).toEqual({ played: ofCreating, open: 0 });
    },
  );

  test.each(CREATE_RULES)('[I1] [I3] [I12] [S2] [S20] who create what was deleted: %s', TIMEOUT, async (onCreate) => {
    const { played, open } = await playAll(creating, 2, 'a deleted record', ruleOf('lww', { onCreate }));
    expect({ played, open }).toEqual({ played: ofCreating, open: 0 });
  });
});
