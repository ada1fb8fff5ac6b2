import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { inParallel } from '../../scripts/demo/in-parallel.ts';
import { startServer } from '../../scripts/local-server.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const COUNT = 10_000;
/** Where the server is killed: when so many have arrived. */
const KILLS = [1_000, 4_000, 7_000];

test('[I1] [I2] [I3] [I11] 10,000 changes that wait go in batches by the node’s alarm alone, over three kills of the server', {
  timeout: 240_000,
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const start = () => startServer({ port: 0, persistTo: folder, secret: SECRET });
  let server = await start();
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const token = await signAccessToken(
    { space: 'long', role: 'admin', sub: 'test' },
    { secret: SECRET, ttlSeconds: 3_600 },
  );
  const call = async (method: string, target: string, body?: object) => {
    const response = await fetch(`${server.url}/v1/${target}`, {
      method,
      headers: { Authorization: `Bearer ${token}` },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: response.status, text: await response.text() };
  };
  const statusOf = async (node: string) => JSON.parse((await call('GET', `edge/${node}/status`)).text);
  /** Asks the cloud, and not the node: that has to go on by itself. */
  const arrival = async (n: number) => {
    while ((await call('GET', `data/note/e${n}`)).status !== 200) await sleep(20);
  };

  await call('PUT', 'edge/a/network', { online: false });
  await inParallel(Array(COUNT).keys(), 32, async (n) => {
    expect((await call('PUT', `edge/a/data/note/e${n}`, { n })).status).toBe(201);
  });
  expect(await statusOf('a')).toMatchObject({ queue: { pending: COUNT, total: COUNT } });
  // In batches of 50.
  await call('PUT', 'edge/a/network', { online: true, effectiveType: '3g' });
  for (const n of KILLS) {
    await arrival(n);
    server.kill9();
    await server.exited;
    server = await start();
    // It was on the way.
    expect((await call('GET', `data/note/e${COUNT - 1}`)).status).toBe(404);
  }
  await arrival(COUNT - 1);

  expect(JSON.parse((await call('POST', 'edge/b/sync')).text)).toMatchObject({ success: true, downloaded: COUNT });
  const [a, b] = [await statusOf('a'), await statusOf('b')];
  // As many changes as were written, each of them once.
  expect(a).toMatchObject({ cursor: COUNT, queue: { total: 0 }, digest: b.digest, digestMismatches: 0 });
  const lines = (await call('GET', 'export')).text.trim().split('\n');
  const records = lines.map((line) => JSON.parse(line)).filter(({ entityType }) => entityType === 'note');
  const counts = records.map(({ entityId, data }) => [entityId, data.n]);
  expect(counts).toHaveLength(COUNT);
  expect(Object.fromEntries(counts)).toEqual(Object.fromEntries(Array.from({ length: COUNT }, (_, n) => [`e${n}`, n])));
});
