import { env, exports } from 'cloudflare:workers';
import { hc } from 'hono/client';
import { sign } from 'hono/jwt';
import { expect, expectTypeOf, test } from 'vitest';
import type { AppType } from '../../src/api/app.ts';
import { freshSpace } from './space.ts';

async function typedClient() {
  const { space } = freshSpace();
  const token = await sign({ space, role: 'admin', sub: 'ann' }, env.CAUSEWAY_SECRET, 'HS256');
  return hc<AppType>('http://localhost', {
    headers: { Authorization: `Bearer ${token}` },
    fetch: (input: RequestInfo | URL, init?: RequestInit) => exports.default.fetch(new Request(input, init)),
  }).v1;
}

test("[S50] Hono's typed client knows the paths, bodies and answers of the API", async () => {
  const api = await typedClient();
  const record = api.edge[':node'].data[':type'][':id'];
  const param = { node: 'oslo', type: 'note', id: 'x' };
  const put = await record.$put({ param, json: { n: 1 } });
  const written = await put.json();
  expectTypeOf(written.success).toEqualTypeOf<boolean>();
  expectTypeOf(written.changeId).toEqualTypeOf<string>();
  expect([put.status, written.changeId]).toEqual([201, 'oslo:1']);
  await record.$patch({ param, json: { operations: [{ op: 'increment', path: 'n', value: 1 }] } });

  const got = await record.$get({ param });
  if (got.status !== 200) throw new Error(`answered ${got.status}`);
  const read = await got.json();
  expectTypeOf(read.synced).toEqualTypeOf<boolean>();
  expectTypeOf(read.version).toEqualTypeOf<string>();
  expect(read).toMatchObject({ entityType: 'note', data: { n: 2 } });

  const status = await (await api.edge[':node'].status.$get({ param })).json();
  expectTypeOf(status.queue.pending).toEqualTypeOf<number>();
  expect(status.nodeId).toBe('oslo');

  await api.edge[':node'].sync.$post({ param });
  const atCloud = await api.data[':type'][':id'].$get({ param });
  expect(atCloud.status).toBe(200);
});

test('[S50] what is no path, body or answer of the API is refused by tsc', async () => {
  const api = await typedClient();
  const record = api.edge[':node'].data[':type'][':id'];
  const calls = async () => {
    // @ts-expect-error: a record needs its id
    await record.$put({ param: { node: 'oslo', type: 'note' }, json: {} });
    // @ts-expect-error: there is no such operation
    await record.$patch({ param: { node: 'oslo', type: 'n', id: 'x' }, json: { operations: [{ op: 'add' }] } });
    // @ts-expect-error: there is no such path
    await api.edges;
  };
  expect(calls).toBeTypeOf('function');
});
