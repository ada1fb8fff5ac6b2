import { describe, expect, test } from 'vitest';
import { freshCaller, seen } from './caller.ts';

const PATH = 'data/note/x';
const EDGE = `edge/a/${PATH}`;

/** A write that waits at a node which is cut off, and what its writer has seen. */
async function waiting() {
  const { call } = freshCaller();
  await call('PUT', 'edge/a/network', { body: { online: false } });
  const token = seen(await call('PUT', EDGE, { body: { by: 'edge' } }));
  const arrive = async () => {
    await call('PUT', 'edge/a/network', { body: { online: true } });
    await call('POST', 'edge/a/sync');
  };
  return { call, token, arrive };
}

describe('[I6] a caller who has seen what waits at another node', () => {
  const atOnce = { 'X-Wait-Ms': '0' };

  test('is not served without it by the cloud', async () => {
    const { call, token, arrive } = await waiting();
    expect((await call('GET', PATH, { headers: atOnce })).status).toBe(404);
    const refused = await call('GET', PATH, { headers: { ...atOnce, ...token } });
    expect(refused).toMatchObject({ status: 504, code: 'causality_timeout', json: { retryAfterMs: 1_000 } });
    await arrive();
    const answer = await call('GET', PATH, { headers: { ...atOnce, ...seen(refused) } });
    expect(answer.json).toMatchObject({ data: { by: 'edge' }, vectorClock: { cloud: 1 } });
  });

  test.each([PATH, `edge/b/${PATH}`, 'edge/b/data/note'])('gets it by a strong read that waits: %s', async (path) => {
    const { call, token, arrive } = await waiting();
    const headers = { 'X-Consistency': 'strong', 'X-Wait-Ms': '30000', ...token };
    const read = call('GET', path, { headers });
    // It has nothing to answer with before that.
    await arrive();
    const answer = await read;
    expect(answer.status).toBe(200);
    expect(JSON.stringify(answer.json)).toContain('"by":"edge"');
  });

  test.each([
    ['PUT', { by: 'cloud' }, 201],
    ['DELETE', undefined, 404],
  ])('still has when the cloud has answered: %s', async (method, body, status) => {
    const { call, token } = await waiting();
    const answer = await call(method, PATH, { body, headers: token });
    expect(answer.status).toBe(status);
    const read = (headers: Record<string, string>) => call('GET', PATH, { headers: { ...atOnce, ...headers } });
    expect((await read({})).status).not.toBe(504);
    expect((await read(seen(answer))).status).toBe(504);
    if (status === 201) expect(answer.json).toMatchObject({ vectorClock: { cloud: 1, a: 1 } });
  });

  test('has a small token again once the cloud has it all', async () => {
    const { call, token, arrive } = await waiting();
    await arrive();
    const answer = await call('PUT', PATH, { body: { by: 'cloud' }, headers: token });
    expect(answer.json).toMatchObject({ vectorClock: { cloud: 2 } });
    expect(answer.json['vectorClock']).not.toHaveProperty('a');
  });
});

describe('where the cloud is elsewhere', () => {
  const bindings = { CLOUD_URL: 'https://cloud.example/v1' };

  test.each([
    ['GET', 'data/note/x'],
    ['PUT', 'data/note/x'],
    ['GET', 'data/note'],
    ['GET', 'conflicts'],
    ['POST', 'conflicts/c1/resolve'],
    ['GET', 'export'],
    ['GET', 'nodes'],
    ['GET', 'metrics'],
    ['POST', 'sync/connect'],
    ['POST', 'sync'],
  ])('there is none here: %s %s says where it is', async (method, path) => {
    const { call } = freshCaller();
    const body = method === 'GET' ? undefined : {};
    const refused = await call(method, path, { body, bindings });
    expect(refused).toMatchObject({ status: 503, code: 'cloud_unavailable' });
    expect(refused.json['detail']).toContain(bindings.CLOUD_URL);
    expect((await call('GET', 'edge/a/status', { bindings })).status).toBe(200);
  });
});

test('a path that there is not is none for every role, and those of the cloud are for admins', async () => {
  const { call } = freshCaller();
  for (const claims of [{ role: 'client' }, { role: 'node', node: 'a' }, { role: 'admin' }]) {
    expect(await call('GET', 'nowhere', { claims })).toMatchObject({ status: 404, code: 'not_found' });
    const isAdmin = claims.role === 'admin';
    for (const path of ['data/note/x', 'data/note', 'conflicts', 'conflicts/c1', 'nodes']) {
      expect((await call('GET', path, { claims })).code === 'forbidden', path).toBe(!isAdmin);
    }
    if (!isAdmin) expect((await call('GET', 'export', { claims })).code).toBe('forbidden');
  }
});
