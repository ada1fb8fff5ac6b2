import fc from 'fast-check';
import { describe, expect, expectTypeOf, test } from 'vitest';
import * as z from 'zod';
import { definePolicies, PolicyError } from '../../src/core/define-policies.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policies, RecordOf } from '../../src/core/policy.ts';
import type { ResolverInput } from '../../src/core/resolver.ts';

/** Not checked by tsc, as nothing is at run time. */
function problemsOf(given: unknown): readonly string[] {
  try {
    definePolicies(given as never);
    return [];
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    for (const problem of error.problems) expect(error.message).toContain(problem);
    return error.problems;
  }
}

const problemsOfEntry = (entry: unknown) => problemsOf({ types: { note: entry } });
const decide = () => ({ winner: 'local', resolvedData: null }) as const;

describe('what an author leaves open', () => {
  test('is filled in, in each entry and in the default, and an entry takes nothing from the default', () => {
    const { types, default: fallback } = definePolicies({
      types: { note: { conflict: 'merge', priority: undefined } },
      default: { consistency: 'session', coalesce: false },
    });
    const open = {
      consistency: 'eventual',
      conflict: 'lww',
      onDelete: 'latest',
      onCreate: 'merge',
      priority: 'normal',
      coalesce: true,
    };
    expect(types).toEqual({ note: { ...open, entry: 'note', conflict: 'merge' } });
    expect(fallback).toEqual({ ...open, entry: '(default)', consistency: 'session', coalesce: false });
    expect(definePolicies({ types: {} }).default).toEqual({ ...open, entry: '(default)' });
  });

  test('and nothing else changes: every combination that is allowed comes out as it went in', () => {
    const entry = fc
      .record(
        {
          consistency: fc.constantFrom('strong', 'eventual', 'causal', 'session'),
          conflict: fc.constantFrom('lww', 'merge', 'custom', 'manual'),
          onDelete: fc.constantFrom('latest', 'delete-wins', 'update-wins'),
          onCreate: fc.constantFrom('merge', 'rename', 'lww'),
          priority: fc.constantFrom('critical', 'high', 'normal'),
          coalesce: fc.boolean(),
          schema: fc.constant(z.object({})),
        },
        { requiredKeys: ['consistency', 'conflict'] },
      )
      .chain((fields) =>
        fc.record({
          ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, fc.constant(value)])),
          ...(fields.conflict === 'custom' ? { custom: fc.constantFrom<typeof decide | 'node'>(decide, 'node') } : {}),
          ...(fields.consistency === 'eventual' ? { maxStalenessMs: fc.integer({ min: 1 }) } : {}),
        }),
      );
    fc.assert(
      fc.property(entry, (fields) => {
        expect(definePolicies({ types: { note: fields }, default: fields })).toMatchObject({
          types: { note: fields },
          default: fields,
        });
      }),
    );
  });
});

describe('a mistake fails at the start, by a message with the entry and what is allowed', () => {
  test.each([
    [{ consistency: 'evntual' }, "note: consistency is 'evntual'; it may be 'strong', 'causal', 'session', 'eventual'"],
    [{ conflict: 'latest' }, "note: conflict is 'latest'; it may be 'lww', 'merge', 'custom', 'manual'"],
    [{ onDelete: 'lww' }, "note: onDelete is 'lww'; it may be 'latest', 'delete-wins', 'update-wins'"],
    [{ onCreate: 'custom' }, "note: onCreate is 'custom'; it may be 'merge', 'rename', 'lww'"],
    [{ priority: 1 }, "note: priority is 1; it may be 'critical', 'high', 'normal'"],
    [{ coalesce: 'no' }, "note: coalesce is 'no'; it may be true or false"],
    [{ conflict: 'custom', custom: 'cloud' }, "note: custom is 'cloud'; it may be a function or 'node'"],
    [{ conflict: 'custom' }, "note: conflict 'custom' needs custom, a function or 'node'"],
    [{ custom: decide }, "note: custom needs conflict 'custom', and that is 'lww'"],
    [{ conflict: 'merge', custom: 'node' }, "note: custom needs conflict 'custom', and that is 'merge'"],
    [
      { consistency: 'session', maxStalenessMs: 5 },
      "note: maxStalenessMs needs consistency 'eventual', and that is 'session'",
    ],
    [
      { schema: { type: 'object' } },
      'note: schema is an object; it may be a Standard Schema of version 1, such as zod makes',
    ],
    ['lww', 'note is '],
    [null, 'note is null; an entry must be an object'],
    [[], 'note is an array; an entry must be an object'],
  ])('[S1] %j', (entry, problem) => {
    const problems = problemsOfEntry(entry);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(problem);
  });

  test.each([0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '60000', null])(
    'maxStalenessMs: %s',
    (maxStalenessMs) => {
      expect(problemsOfEntry({ maxStalenessMs })).toEqual([
        expect.stringMatching(/^note: maxStalenessMs is .*; it may be a whole number of milliseconds from 1$/),
      ]);
    },
  );

  test.each([
    undefined,
    {},
    () => ({}),
    { '~standard': {} },
    { '~standard': { version: 2, validate: () => ({ value: 1 }) } },
    { '~standard': { version: 1, validate: 'no' } },
  ])('no schema: %o', (schema) => {
    expect(problemsOfEntry({ schema })).toHaveLength(schema === undefined ? 0 : 1);
    const callable = Object.assign(() => undefined, { '~standard': z.object({})['~standard'] });
    expect(problemsOfEntry({ schema: callable })).toEqual([]);
  });

  test('a field that there is not is told, with those that there are', () => {
    const fields =
      'consistency, maxStalenessMs, writeQuorum, readQuorum, conflict, custom, onNode, onDelete, onCreate, priority, coalesce, schema';
    expect(problemsOfEntry({ conflit: 'merge' })).toEqual([
      `note: there is no field 'conflit'; the fields are ${fields}`,
    ]);
    for (const name of ['entry', 'toString', 'constructor', '']) {
      expect(problemsOfEntry({ [name]: 'x' })).toEqual([`note: there is no field '${name}'; the fields are ${fields}`]);
    }
  });

  test('so is a name that no entity type can have', () => {
    for (const name of ['a/b', '', '-a', 'a b', 'x'.repeat(129)]) {
      expect(problemsOf({ types: { [name]: {} } })).toEqual([expect.stringContaining(`'${name}' can not name`)]);
    }
    expect(problemsOf({ types: { constructor: {}, 'a.b:c@d~e-1_': {} } })).toEqual([]);
  });

  test('the default is checked as the entries are, and so is what is around them', () => {
    expect(problemsOf({ types: {}, default: { conflict: 'x' } })).toEqual([
      expect.stringMatching(/^\(default\): conf/),
    ]);
    expect(problemsOf({ types: {}, default: null })).toEqual([expect.stringMatching(/^\(default\) is null/)]);
    expect(problemsOf({ default: {} })).toEqual(['types is undefined; it must be an object of entries by entity type']);
    expect(problemsOf({ types: {}, defaults: {} })).toEqual([
      "there is no part 'defaults'; the parts are types and default",
    ]);
    expect(problemsOf(undefined)).toEqual([
      'the policies are undefined; they must be an object with types and default',
    ]);
  });

  test('all of them at once', () => {
    const problems = problemsOf({
      types: { 'a/b': { conflict: 'x', prio: 1 }, ok: {}, note: { custom: decide, maxStalenessMs: 0 } },
      default: { onCreate: 'x' },
    });
    expect(problems.map((problem) => problem.slice(0, 14))).toEqual([
      "'a/b' can not ",
      'a/b: conflict ',
      'a/b: there is ',
      'note: maxStale',
      'note: custom n',
      '(default): onC',
    ]);
  });

  test('whatever is given, it fails by a PolicyError or not at all', () => {
    const value = fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true });
    const field = fc.constantFrom('consistency', 'maxStalenessMs', 'conflict', 'custom', 'schema', 'coalesce', 'x');
    const entry = fc.oneof(value, fc.dictionary(field, value));
    fc.assert(fc.property(value, (given) => void problemsOf(given)));
    fc.assert(
      fc.property(
        fc.dictionary(fc.string(), entry),
        entry,
        (types, other) => void problemsOf({ types, default: other }),
      ),
    );
  });
});

describe('types, checked by tsc', () => {
  const policies = definePolicies({
    types: {
      config: {
        schema: z.object({ theme: z.enum(['dark', 'light']), size: z.number().optional() }),
        conflict: 'custom',
        custom: ({ local, remote, base }) => {
          expectTypeOf(local.data.theme).toEqualTypeOf<'dark' | 'light'>();
          expectTypeOf(base).toEqualTypeOf<{ theme: 'dark' | 'light'; size?: number | undefined } | null>();
          return { winner: 'merged', resolvedData: { ...remote.data, theme: local.data.theme } };
        },
      },
      free: {
        conflict: 'custom',
        custom: async (conflict) => {
          expectTypeOf(conflict).toEqualTypeOf<ResolverInput>();
          return { winner: 'local', resolvedData: conflict.local.data, metadata: { reason: 'x', tries: 1 } };
        },
      },
      plain: {},
    },
    default: { schema: z.object({ n: z.number() }) },
  });

  test('the record type of each entity type is that of its schema', () => {
    expectTypeOf<RecordOf<typeof policies, 'config'>>().toEqualTypeOf<{
      theme: 'dark' | 'light';
      size?: number | undefined;
    }>();
    expectTypeOf<RecordOf<typeof policies, 'free'>>().toEqualTypeOf<JsonObject>();
    expectTypeOf<RecordOf<typeof policies, 'plain'>>().toEqualTypeOf<JsonObject>();
    expectTypeOf<RecordOf<typeof policies, 'any other'>>().toEqualTypeOf<{ n: number }>();
    const bare = definePolicies({ types: { plain: {} } });
    expectTypeOf<RecordOf<typeof bare, 'any other'>>().toEqualTypeOf<JsonObject>();
    expectTypeOf(policies).toExtend<Policies>();
  });

  test('a resolver must answer with such a record, and rules and fields must be those that there are', () => {
    definePolicies({
      types: {
        config: {
          schema: z.object({ theme: z.string() }),
          conflict: 'custom',
          // @ts-expect-error: `theme` is a text
          custom: () => ({ winner: 'merged', resolvedData: { theme: 5 } }),
        },
        other: {
          conflict: 'custom',
          // @ts-expect-error: nobody else can win
          custom: () => ({ winner: 'both', resolvedData: null }),
        },
      },
    });
    // @ts-expect-error: there is no such rule
    expect(() => definePolicies({ types: { note: { conflict: 'last' } } })).toThrow(PolicyError);
    // @ts-expect-error: there is no such field
    expect(() => definePolicies({ types: { note: { conflit: 'lww' } } })).toThrow(PolicyError);
  });

  test('a record is kept as it was written, so its type knows of no defaults and transformations', () => {
    const schema = z.object({ n: z.number().default(0), at: z.string().transform(Number) });
    const changing = definePolicies({ types: { note: { schema } } });
    expectTypeOf<RecordOf<typeof changing, 'note'>>().toEqualTypeOf<{ n?: number | undefined; at: string }>();
  });
});
