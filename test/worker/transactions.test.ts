import { expect, test } from 'vitest';
import { freshSpace, seen } from './space.ts';

const money = (value: number) => ({ operations: [{ op: 'increment', path: 'n', value }] });
const at = (entityId: string, operation: string, rest: object = {}) => {
  return { operation, entityType: 'note', entityId, ...rest };
};

async function began() {
  const space = freshSpace();
  const transact = (changes: unknown, headers = {}, claims = {}) =>
    space.call('POST', 'edge/a/transactions', { body: { changes }, headers, claims });
  const dataOf = async (node: string, id: string) => {
    const { status, json } = await space.call('GET', `edge/${node}/data/note/${id}`);
    return status === 404 ? null : json['data'];
  };
  for (const id of ['x', 'y']) await space.call('PUT', `edge/a/data/note/${id}`, { body: { n: 10 } });
  return { ...space, transact, dataOf };
}

test('[I8] a transaction is visible whole, at its node and at others, and answers for each change', async () => {
  const { call, transact, dataOf } = await began();
  const answer = await transact([
    at('x', 'update', money(-3)),
    at('y', 'update', money(3)),
    at('log', 'create', { data: { moved: 3 } }),
    at('log', 'update', { data: { moved: 3, done: true } }),
  ]);
  expect(answer).toMatchObject({
    status: 200,
    json: {
      success: true,
      synced: false,
      changes: [
        { operation: 'update', entityId: 'x', data: { n: 7 } },
        { operation: 'update', entityId: 'y', data: { n: 13 } },
        { operation: 'create', entityId: 'log', changeId: 'a:5', version: 'a:5' },
        { operation: 'update', entityId: 'log', data: { moved: 3, done: true } },
      ],
    },
  });
  expect(await dataOf('a', 'x')).toEqual({ n: 7 });
  const headers = { ...seen(answer), 'X-Consistency': 'causal' };
  expect(await call('GET', 'edge/b/data/note/y', { headers })).toMatchObject({ json: { data: { n: 13 } } });
  expect([await dataOf('b', 'x'), await dataOf('b', 'log')]).toEqual([{ n: 7 }, { moved: 3, done: true }]);
});

test('[I8] of a transaction that is refused nothing happens, and the answer says which change it was', async () => {
  const { transact, dataOf } = await began();
  const cases: [unknown, number, string][] = [
    [at('none', 'update', money(1)), 404, 'not_found'],
    [at('none', 'delete'), 404, 'not_found'],
    [at('y', 'create', { data: {} }), 412, 'precondition_failed'],
    [at('y', 'update', { operations: [{ op: 'push', path: 'n', value: 1 }] }), 422, 'invalid_operation'],
  ];
  for (const level of ['eventual', 'strong']) {
    for (const [wrong, status, code] of cases) {
      const answer = await transact([at('x', 'update', money(1)), wrong], { 'X-Consistency': level });
      expect(answer, `${level} ${code}`).toMatchObject({ status, code });
      expect(answer.json['index'], `${level} ${code}`).toBe(1);
    }
  }
  expect([await dataOf('a', 'x'), await dataOf('a', 'none')]).toEqual([{ n: 10 }, null]);
});

test('[I7] [I8] a strong transaction is in the cloud when it is answered', async () => {
  const { call, transact } = await began();
  const changes = [at('x', 'update', money(-4)), at('y', 'update', money(4))];
  const answer = await transact(changes, { 'X-Consistency': 'strong' });
  expect(answer).toMatchObject({
    status: 200,
    json: { synced: true, changes: [{ data: { n: 6 } }, { data: { n: 14 } }] },
  });
  for (const [id, n] of [
    ['x', 6],
    ['y', 14],
  ]) {
    expect((await call('GET', `data/note/${id}`)).json['data']).toEqual({ n });
  }
  await call('PUT', 'edge/a/network', { body: { online: false } });
  expect(await transact(changes, { 'X-Consistency': 'strong' })).toMatchObject({ code: 'cloud_unavailable' });
  expect(await transact(changes)).toMatchObject({ status: 200 });
});

test('[I9] [I10] what is no transaction is refused before anything happens', async () => {
  const { call, transact, dataOf } = await began();
  const good = at('x', 'update', money(1));
  const many = Array.from({ length: 501 }, () => good);
  for (const changes of [
    [],
    {},
    many,
    [{ ...good, entityType: undefined }],
    [{ ...good, more: 1 }],
    [at('x', 'put')],
  ]) {
    expect(await transact(changes)).toMatchObject({ status: 400, code: 'bad_request' });
  }
  expect(await transact([good, at('..', 'delete')])).toMatchObject({ code: 'bad_name' });
  const foreign = [good, { ...good, entityType: 'secret' }];
  expect(await transact(foreign, {}, { types: { write: ['note'] } })).toMatchObject({ code: 'forbidden' });
  for (const name of ['If-Match', 'If-None-Match']) {
    expect(await transact([good], { [name]: '*' })).toMatchObject({ status: 400, code: 'bad_request' });
  }
  expect(await transact([good], {}, { role: 'node', node: 'b' })).toMatchObject({ code: 'forbidden' });
  expect(await dataOf('a', 'x')).toEqual({ n: 10 });
  expect((await transact(many.slice(1))).status).toBe(200);
  await call('POST', 'edge/a/sync');
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 510 });
});

test('[I7] [I8] where the policy of one record wants it in the cloud, the whole transaction is written there', async () => {
  const { call, transact } = await began();
  const changes = [
    { operation: 'create', entityType: 'transactions', entityId: 't', data: { status: 'open' } },
    at('x', 'update', money(1)),
  ];
  const answer = await transact(changes);
  expect(answer).toMatchObject({ status: 200, json: { synced: true } });
  expect(answer.json['changes']).toMatchObject([{ synced: true }, { synced: true, entityType: 'note' }]);
  expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 11 });
  await call('PUT', 'edge/a/network', { body: { online: false } });
  expect(await transact([{ ...changes[0], entityId: 'u' }, changes[1]])).toMatchObject({ status: 503 });
});
