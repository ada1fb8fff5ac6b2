import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import { MAX_ISSUE_CHARS, MAX_ISSUES, type RecordSchema, schemaIssues } from '../../src/core/record-schema.ts';

/** Checks as `validate` does, whatever that answers. */
const schemaOf = (validate: (value: unknown) => unknown) =>
  ({ '~standard': { version: 1, vendor: 'test', validate } }) as unknown as RecordSchema;
const NOT_AT_ONCE = 'the schema failed: it did not answer at once: a check of it is asynchronous, or throws';

describe('a schema', () => {
  test('tells where a record is wrong, by the paths that operations have', () => {
    const schema = z.object({ a: z.object({ 'b.c': z.number() }), list: z.array(z.string()) });
    expect(schemaIssues(schema, { a: { 'b.c': 1 }, list: [] })).toEqual([]);
    expect(schemaIssues(schema, { a: { 'b.c': 'x' }, list: ['x', 1] }).map(({ path }) => path)).toEqual([
      '/a/b.c',
      'list.1',
    ]);
    expect(
      schemaIssues(
        schemaOf(() => ({ issues: [{ message: 'no', path: ['a', { key: 'b' }] }] })),
        {},
      ),
    ).toEqual([{ path: 'a.b', message: 'no' }]);
  });

  test('[I10] says so much and no more', () => {
    const wrong = Object.fromEntries(Array.from({ length: 1_000 }, (_, index) => [`${'k'.repeat(999)}${index}`, 1]));
    const issues = schemaIssues(z.record(z.string(), z.string()), wrong);
    expect(issues).toHaveLength(MAX_ISSUES);
    for (const { path, message } of issues) expect(path.length + message.length).toBeLessThan(2 * MAX_ISSUE_CHARS);
  });
});

describe('a schema that can not tell lets nothing pass, and throws nothing', () => {
  test.each<[string, unknown, string]>([
    ['throws', schemaOf(() => fail('a bug')), 'the schema failed: a bug'],
    ['throws what is no text', schemaOf(() => fail(Object.create(null))), 'the schema failed: it does not say why'],
    ['throws no error', schemaOf(() => fail(undefined)), 'the schema failed: undefined'],
    ['answers nothing', schemaOf(() => undefined), 'the schema failed: its answer is no result of a Standard Schema'],
    [
      'has no issues',
      schemaOf(() => ({ issues: [] })),
      'the schema failed: its answer is no result of a Standard Schema',
    ],
    [
      'has bad issues',
      schemaOf(() => ({ issues: [1] })),
      'the schema failed: its answer is no result of a Standard Schema',
    ],
    ['answers later', z.object({ n: z.number().refine(async () => true) }), NOT_AT_ONCE],
    ['throws within zod', z.object({ n: z.number().refine(() => fail('a bug')) }), NOT_AT_ONCE],
    ['fails later', schemaOf(() => Promise.reject(new Error('later'))), NOT_AT_ONCE],
  ])('%s', (_, schema, message) => {
    expect(schemaIssues(schema as RecordSchema, { n: 1 })).toEqual([{ path: '', message }]);
  });

  test('whatever it answers or throws', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(
          schemaIssues(
            schemaOf(() => fail(value)),
            {},
          ),
        ).toHaveLength(1);
        for (const { path, message } of schemaIssues(
          schemaOf(() => ({ issues: [value] })),
          {},
        )) {
          expect(typeof path + typeof message).toBe('stringstring');
        }
      }),
    );
  });
});

function fail(value: unknown): never {
  throw typeof value === 'string' ? new Error(value) : value;
}
