import { env } from 'cloudflare:workers';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { freshCaller, seen } from './caller.ts';

afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

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
    // The token of what is refused has seen no less.
    expect((await call('GET', PATH, { headers: { ...atOnce, ...seen(refused) } })).status).toBe(504);
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

describe('[S57] a query at the cloud is of the level that is asked for, and says which one that is', () => {
  const atOnce = { 'X-Wait-Ms': '0' };

  /** A record that D1 has not got yet, and what its writer has seen. */
  async function behind() {
    const { call } = freshCaller();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 24 * 3600_000 });
    const written = await call('PUT', PATH, { body: { n: 1 } });
    const query = (headers: Record<string, string>) => call('GET', 'data/note?where=n:eq:1', { headers });
    return { query, token: seen(written) };
  }

  test.each(['causal', 'session', 'strong', 'eventual'])('%s, with the token of a write', async (level) => {
    const { query, token } = await behind();
    const answer = await query({ 'X-Consistency': level, ...token });
    const served = { consistency: level, source: 'cloud', stalenessMs: 0, lagMs: 0 };
    expect(answer.json).toMatchObject({ items: [{ data: { n: 1 } }], ...served });
    expect(seen(answer)).toMatchObject({ 'X-Causal-Token': expect.stringContaining('.') });
  });

  test('strong, shows what anybody was told of', async () => {
    const { query } = await behind();
    expect((await query({ 'X-Consistency': 'strong' })).json).toMatchObject({ items: [{ data: { n: 1 } }] });
  });

  test.each([
    ['causal', 504, 'causality_timeout'],
    ['session', 504, 'causality_timeout'],
    ['strong', 503, 'cloud_unavailable'],
  ])('%s, is not answered where D1 does not come that far in time', async (level, status, code) => {
    const { query, token } = await behind();
    vi.spyOn(console, 'info').mockReturnValue(undefined);
    const headers = { 'X-Consistency': level, ...token };
    expect(await query({ ...headers, ...atOnce })).toMatchObject({ status, code });
    vi.spyOn(Object.getPrototypeOf(env.DB), 'batch').mockRejectedValue(new Error('D1 is away'));
    const refused = await query(headers);
    expect(refused).toMatchObject({ status, code, json: { retryAfterMs: 1_000 } });
    vi.restoreAllMocks();
    // What is refused has seen no less.
    expect((await query({ 'X-Consistency': 'causal', ...atOnce, ...seen(refused) })).status).toBe(504);
    expect((await query({ 'X-Consistency': 'causal', ...seen(refused) })).json).toMatchObject({ items: [{}] });
  });

  test('eventual, shows what D1 has, and no less than a bound asks for', async () => {
    const { query } = await behind();
    const stale = await query({ 'X-Consistency': 'eventual' });
    expect(stale.json).toMatchObject({ items: [], consistency: 'eventual', source: 'cloud' });
    vi.setSystemTime(Date.now() + 5_000);
    expect((await query({})).json).toMatchObject({ items: [], stalenessMs: 5_000, lagMs: 5_000 });
    expect((await query({ 'X-Max-Staleness-Ms': '5000' })).json).toMatchObject({ items: [] });
    expect((await query({ 'X-Max-Staleness-Ms': '4999' })).json).toMatchObject({ items: [{}], stalenessMs: 0 });
  });

  test('what a node wrote is waited for, wherever it arrived', async () => {
    const { call, token, arrive } = await waiting();
    const query = (headers: Record<string, string>) =>
      call('GET', 'data/note', { headers: { 'X-Consistency': 'causal', ...headers, ...token } });
    expect((await query(atOnce)).code).toBe('causality_timeout');
    const read = query({ 'X-Wait-Ms': '30000' });
    await arrive();
    expect((await read).json).toMatchObject({ items: [{ data: { by: 'edge' } }] });
  });

  test('[S7] a query is of one replica', async () => {
    const { call } = freshCaller();
    const answer = await call('GET', 'data/note', { headers: { 'X-Read-Quorum': '2' } });
    expect(answer).toMatchObject({ status: 400, code: 'bad_request' });
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
