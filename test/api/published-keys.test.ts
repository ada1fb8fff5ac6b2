import { afterEach, expect, test, vi } from 'vitest';
import { PublishedKeys } from '../../src/api/published-keys.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

const UNAVAILABLE = expect.objectContaining({ code: 'cloud_unavailable', details: { retryAfterMs: 30_000 } });
const MINUTE = 60_000;
const START = 1_000_000_000_000;

/** A key server, and the ids of the keys that were had from it at a time. */
function server(...published: string[]) {
  vi.spyOn(console, 'info').mockReturnValue();
  const state = { published, isDown: false, status: 200 };
  const fetched = vi.spyOn(globalThis, 'fetch').mockImplementation(async () => {
    if (state.isDown) throw new TypeError('connection refused');
    return Response.json({ keys: state.published.map((kid) => ({ kty: 'EC', kid })) }, { status: state.status });
  });
  const keys = new PublishedKeys('https://keys.example/jwks.json');
  const ids = async (kid: string, afterMs: number) => (await keys.withKey(kid, START + afterMs)).map((key) => key.kid);
  return { state, fetched, ids };
}

test('keys are fetched once, and again when they are old', async () => {
  const { state, fetched, ids } = server('k1');
  for (const afterMs of [0, 1, MINUTE, 10 * MINUTE - 1]) expect(await ids('k1', afterMs)).toEqual(['k1']);
  expect(fetched).toHaveBeenCalledTimes(1);
  state.published = ['k1', 'k2'];
  expect(await ids('k1', 10 * MINUTE)).toEqual(['k1', 'k2']);
  expect(fetched).toHaveBeenCalledTimes(2);
});

test('[I10] for a key that is not among them they are fetched again, but not for each who asks', async () => {
  const { state, fetched, ids } = server('k1');
  for (let afterMs = 0; afterMs < 30_000; afterMs += 1_000) expect(await ids('k2', afterMs)).toEqual(['k1']);
  expect(fetched).toHaveBeenCalledTimes(1);
  state.published = ['k2'];
  expect(await ids('k2', 30_000)).toEqual(['k2']);
  expect(fetched).toHaveBeenCalledTimes(2);
});

test('a key server that is away is asked once in a while, and the keys that are there stay good', async () => {
  const { state, fetched, ids } = server('k1');
  state.isDown = true;
  for (const afterMs of [0, 1_000, 29_999]) await expect(ids('k1', afterMs)).rejects.toThrow(UNAVAILABLE);
  expect(fetched).toHaveBeenCalledTimes(1);
  state.isDown = false;
  state.status = 500;
  await expect(ids('k1', 30_000)).rejects.toThrow(UNAVAILABLE);
  state.status = 200;
  expect(await ids('k1', MINUTE)).toEqual(['k1']);
  state.isDown = true;
  for (const afterMs of [12, 12.1, 13]) expect(await ids('k1', afterMs * MINUTE)).toEqual(['k1']);
  expect(fetched).toHaveBeenCalledTimes(5);
});

test('what is no key set is none', async () => {
  const { ids } = server();
  vi.spyOn(globalThis, 'fetch').mockImplementation(async () => Response.json({ keys: 'all' }));
  await expect(ids('k1', 0)).rejects.toThrow(UNAVAILABLE);
});
