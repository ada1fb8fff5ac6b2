import { describe, expect, test } from 'vitest';
import { freshCaller } from './caller.ts';

const nested = (depth: number) => `${'{"a":'.repeat(depth - 1)}{}${'}'.repeat(depth - 1)}`;
const MERGE_PATCH = { 'Content-Type': 'application/merge-patch+json' };
const PLACES = ['edge/a/data/note/x', 'data/note/x'];

describe.each(PLACES)('at %s', (path) => {
  test.each([
    ['half of a surrogate pair', 'PUT', String.raw`{"n":"\ud800"}`, 'invalid_data', 'n'],
    ['half of a surrogate pair in a name', 'PUT', String.raw`{"a":{"\udc00":1}}`, 'invalid_data', 'a.\ufffd'],
    ['a number that is infinite', 'PUT', '{"n":[1e400]}', 'invalid_data', 'n.0'],
    [
      'half of a surrogate pair in an operation',
      'PATCH',
      String.raw`{"operations":[{"op":"pull","path":"l","value":"\ud800"}]}`,
      'invalid_data',
      'operations.0.value',
    ],
    [
      'half of a surrogate pair in a path',
      'PATCH',
      String.raw`{"operations":[{"op":"unset","path":"\ud800"}]}`,
      'invalid_data',
      'operations.0.path',
    ],
    [
      'an infinite increment',
      'PATCH',
      '{"operations":[{"op":"increment","path":"n","value":-1e999}]}',
      'invalid_data',
      'operations.0.value',
    ],
    ['half of a surrogate pair in a merge patch', 'MERGE', String.raw`{"a":"\udfff"}`, 'invalid_data', 'a'],
    ['a record that is too deep', 'PUT', nested(33), 'too_deep', undefined],
    ['5,000 levels', 'PUT', nested(5_000), 'too_deep', undefined],
    ['100,000 levels', 'PUT', nested(100_000), 'too_deep', undefined],
    ['5,000 levels in a merge patch', 'MERGE', nested(5_000), 'too_deep', undefined],
    [
      '100,000 levels in an operation',
      'PATCH',
      `{"operations":[{"op":"set","path":"a","value":${nested(100_000)}}]}`,
      'too_deep',
      undefined,
    ],
    [
      'a value that is too deep for where it goes',
      'PATCH',
      `{"operations":[{"op":"set","path":"a.b","value":${nested(31)}}]}`,
      'too_deep',
      undefined,
    ],
  ])('%s is refused, and nothing is blocked by it', async (_, method, body, code, where) => {
    const { call } = freshCaller();
    await call('PUT', path, { body: { l: [] } });
    const refused = await call(method === 'MERGE' ? 'PATCH' : method, path, {
      body,
      headers: method === 'MERGE' ? MERGE_PATCH : {},
    });
    expect(refused).toMatchObject({
      status: 422,
      code,
      json: where === undefined ? {} : { issues: [{ path: where }] },
    });
    expect((await call('GET', path)).json).toMatchObject({ data: { l: [] } });
    expect((await call('POST', 'edge/a/sync')).json).toMatchObject({ success: true, rejected: 0 });
  });
});

test('[I11] in a batch each of them is refused alone', async () => {
  const { call } = freshCaller();
  const claims = { role: 'node', node: 'a' };
  const { json } = await call('POST', 'sync/connect', { claims, body: { nodeId: 'a', protocol: 1 } });
  const headers = { 'X-Session-Id': String(json['sessionId']) };
  const change = (counter: number, data: string) => {
    const header = {
      id: `a:${counter}`,
      nodeId: 'a',
      entityType: 'note',
      entityId: `e${counter}`,
      operation: 'create',
    };
    return `${JSON.stringify({ ...header, base: {}, stamp: '0000000000ff-0000-a', timestamp: 1 }).slice(0, -1)},"data":${data}}`;
  };
  const data = ['{"n":1}', String.raw`{"n":"\ud800"}`, '{"n":1e400}', nested(33), nested(50_000), '{"n":2}'];
  const changes = data.map((text, index) => change(index + 1, text));
  const body = `{"batchId":"b1","sourceNodeId":"a","targetNodeId":"cloud","cursor":0,"changes":[${changes.join()}]}`;
  const answer = await call('POST', 'sync', { claims, headers, body });
  expect(answer.json['results']).toMatchObject([
    { status: 'applied' },
    { status: 'rejected', code: 'invalid_data' },
    { status: 'rejected', code: 'invalid_data' },
    { status: 'rejected', code: 'too_deep' },
    { status: 'rejected', code: 'too_deep' },
    { status: 'applied' },
  ]);
  expect((await call('POST', 'sync', { claims, headers, body })).json).toEqual(answer.json);
});

test('a decision of a conflict is a body like any other', async () => {
  const { call } = freshCaller();
  for (const body of [String.raw`{"data":{"n":"\ud800"}}`, `{"data":${nested(9_000)}}`]) {
    expect((await call('POST', 'conflicts/c1/resolve', { body })).status).toBe(422);
  }
});
