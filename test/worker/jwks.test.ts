import { env } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { afterEach, expect, test, vi } from 'vitest';
import { app } from '../../src/api/app.ts';

afterEach(() => vi.restoreAllMocks());

async function keyPair(kid: string) {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' };
  const keys = (await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as CryptoKeyPair;
  const [own, known] = await Promise.all([
    crypto.subtle.exportKey('jwk', keys.privateKey),
    crypto.subtle.exportKey('jwk', keys.publicKey),
  ]);
  return { own: { ...(own as JsonWebKey), kid, alg: 'ES256' }, known: { ...(known as JsonWebKey), kid, alg: 'ES256' } };
}

test('[I9] tokens of the published keys are let in, others and those of the public key as a secret are not', async () => {
  const published = await keyPair('k1');
  const stranger = await keyPair('k1');
  vi.spyOn(globalThis, 'fetch').mockImplementation(async () => Response.json({ keys: [published.known] }));
  const bindings = { ...env, CAUSEWAY_JWKS_URL: 'https://keys.example/jwks.json' };
  const claims = { space: `s${crypto.randomUUID()}`, role: 'client' };
  const statusWith = async (bearer: string) => {
    const headers = { Authorization: `Bearer ${bearer}` };
    const response = await app.fetch(
      new Request('http://localhost/v1/edge/a/data/note/x', { headers }),
      bindings as never,
    );
    return response.status;
  };
  expect(await statusWith(await sign(claims, published.own, 'ES256'))).toBe(404);
  expect(await statusWith(await sign(claims, env.CAUSEWAY_SECRET, 'HS256'))).toBe(404);
  expect(await statusWith(await sign(claims, stranger.own, 'ES256'))).toBe(401);
  expect(await statusWith(await sign({ ...claims, exp: 1 }, published.own, 'ES256'))).toBe(401);
  expect(await statusWith(await sign(claims, JSON.stringify(published.known), 'HS256'))).toBe(401);
});

test('the key server is asked only for what its keys could have signed, and is not asked again for each request', async () => {
  const published = await keyPair('k1');
  const fetched = vi
    .spyOn(globalThis, 'fetch')
    .mockImplementation(async () => Response.json({ keys: [published.known] }));
  const get = caller('https://other-keys.example/jwks.json');
  const claims = { space: `s${crypto.randomUUID()}`, role: 'client' };
  const { kid: _, ...unnamed } = published.own;
  expect((await get(await sign(claims, unnamed, 'ES256'))).status).toBe(401);
  expect((await get(await sign(claims, env.CAUSEWAY_SECRET, 'HS512'))).status).toBe(401);
  expect((await get('no.token.atall')).status).toBe(401);
  expect(fetched).not.toHaveBeenCalled();
  for (const key of [published.own, { ...published.own, kid: 'k2' }, published.own]) {
    expect((await get(await sign(claims, key, 'ES256'))).status).toBe(key.kid === 'k1' ? 404 : 401);
  }
  expect(fetched).toHaveBeenCalledTimes(1);
});

test('without keys nobody can tell whether a token is good, and the answer says when to ask again', async () => {
  const { own } = await keyPair('k1');
  vi.spyOn(globalThis, 'fetch').mockRejectedValue(new TypeError('connection refused'));
  const get = caller('https://keys-that-are-away.example/jwks.json');
  const response = await get(await sign({ space: 's', role: 'client' }, own, 'ES256'));
  expect(response.status).toBe(503);
  expect(response.headers.get('Retry-After')).toBe('30');
  expect(await response.json()).toMatchObject({ code: 'cloud_unavailable' });
  expect((await get(await sign({ space: 's', role: 'client' }, env.CAUSEWAY_SECRET, 'HS256'))).status).toBe(404);
});

function caller(url: string) {
  return (bearer: string) =>
    app.request('http://localhost/v1/edge/a/data/note/x', { headers: { Authorization: `Bearer ${bearer}` } }, {
      ...env,
      CAUSEWAY_JWKS_URL: url,
    } as never);
}
