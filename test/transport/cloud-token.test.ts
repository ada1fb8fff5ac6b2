import { sign } from 'hono/jwt';
import { afterEach, expect, test, vi } from 'vitest';
import { toNodeId, toSpaceId } from '../../src/core/ids.ts';
import { carrierFor, upstreamFor } from '../../src/edge/upstream.ts';

const space = toSpaceId('mine') ?? expect.fail('a bad name');
const nodeId = toNodeId('a') ?? expect.fail('a bad name');
const request = { nodeId, protocol: 1 };
const never = () => expect.unreachable('the cloud is elsewhere');

const envWith = async (claims: Record<string, unknown>) => ({
  CLOUD: { getByName: never },
  CLOUD_URL: 'https://cloud.example/v1',
  CLOUD_TOKEN: await sign({ role: 'admin', ...claims }, 'not ours', 'HS256'),
  CAUSEWAY_SECRET: 'ours',
});

/** Nobody answers; what was sent is told. */
function sent(): Request[] {
  const requests: Request[] = [];
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    requests.push(new Request(url, init));
    throw new TypeError('no network');
  });
  return requests;
}

afterEach(() => {
  vi.unstubAllGlobals();
});

test('[I9] with a token of its own a node carries for nobody: they could do whatever that may', async () => {
  const requests = sent();
  const carrier = carrierFor(await envWith({ space }), space);
  const caller = { nodeId, relay: false };
  await expect(carrier.connect(JSON.stringify(request), caller)).rejects.toMatchObject({ code: 'forbidden' });
  await expect(carrier.exchange('a.1', '{}', caller)).rejects.toMatchObject({ code: 'forbidden' });
  expect(requests).toEqual([]);
});

test('[I9] a token of another space opens nothing for the nodes of this one', async () => {
  const requests = sent();
  const foreign = upstreamFor(await envWith({ space: 'theirs' }), space, nodeId);
  await expect(foreign.connect(request)).rejects.toMatchObject({ code: 'forbidden' });
  const nonsense = upstreamFor({ ...(await envWith({ space })), CLOUD_TOKEN: 'nonsense' }, space, nodeId);
  await expect(nonsense.connect(request)).rejects.toMatchObject({ code: 'forbidden' });
  expect(requests).toEqual([]);
  const own = upstreamFor(await envWith({ space }), space, nodeId);
  await expect(own.connect(request)).rejects.toMatchObject({ code: 'cloud_unavailable' });
  expect(requests.map(({ url }) => url)).toEqual(['https://cloud.example/v1/sync/connect']);
});
