import { expect, test } from 'vitest';
import { afterOf, type Query, type QueryRow, querySql } from '../../src/api/query.ts';
import { toEntityType, toSpaceId } from '../../src/core/ids.ts';

const space = toSpaceId('s');
const entityType = toEntityType('t');
if (space === undefined || entityType === undefined) throw new Error('a bad name in a test');
const query: Query = { space, entityType, where: [], order: undefined, after: undefined, limit: 10 };

test('what the caller wrote goes in as parameters, never as text', () => {
  const hostile = `x' OR 1=1 --`;
  const { sql, params } = querySql({ ...query, where: [`${hostile}:eq:${hostile}`], order: `-${hostile}` });
  expect(sql).not.toContain('1=1');
  expect(params.filter((param) => String(param).includes('1=1'))).toHaveLength(3);
});

test('a value is a number, true, false, null or a text', () => {
  const where = ['a:eq:23.5', 'b:ne:true', 'c:eq:null', 'd:gt:1:2', 'e:eq:"7"', 'f:like:1%'];
  expect(querySql({ ...query, where }).params).toEqual(
    expect.arrayContaining([23.5, 1, null, '1:2', '7', '1%', '$."a"', '$."f"']),
  );
});

test('a condition, a field or a cursor that makes no sense is refused', () => {
  const bad = ['a', 'a:eq', 'a:is:1', ':eq:1', 'a"b:eq:1', 'a\\b:eq:1', 'a\u0000b:eq:1', 'a..b:eq:1', 'a.0.1.2:eq:1'];
  for (const where of [...bad, 'a:eq:1e400', `a:eq:${'x'.repeat(2_000)}`, `a:like:${'ä'.repeat(26)}`]) {
    expect(() => querySql({ ...query, where: [where] }), where).toThrow(
      expect.objectContaining({ code: 'bad_request' }),
    );
  }
  for (const order of ['', '-', 'a\\b', 'x'.repeat(2_000)]) {
    expect(() => querySql({ ...query, order }), order).toThrow(expect.objectContaining({ code: 'bad_request' }));
  }
  for (const after of ['x', '[]', '{}', '[{},"a"]', '[1]', 'null']) {
    expect(() => querySql({ ...query, after }), after).toThrow(expect.objectContaining({ code: 'bad_request' }));
  }
});

test('the cursor of a row is understood by the next query', () => {
  const row: QueryRow = { entity_id: 'x', data: '{}', version: 'a:1', seq: 1, stamp: '', sort_key: 2.5, found: 1 };
  expect(querySql({ ...query, order: 'n', after: afterOf(row) }).params).toEqual(expect.arrayContaining([2.5, 'x']));
});
