import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { type LocalServer, startServer } from '../../scripts/local-server.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const folder = mkdtempSync(path.join(tmpdir(), 'causeway-live-'));
let cloud: LocalServer;
/** Deployments of edge nodes only: the cloud of this one is the other server, and of that one a node there, as a relay. */
let far: LocalServer;
let below: LocalServer;
let token: string;

beforeAll(async () => {
  token = await signAccessToken({ space: 'test', role: 'admin', sub: 'test' }, { secret: SECRET, ttlSeconds: 3_600 });
  cloud = await startServer({ port: 0, persistTo: path.join(folder, 'cloud'), secret: SECRET });
  const nodesOf = (name: string, url: string) =>
    startServer({ port: 0, persistTo: path.join(folder, name), secret: SECRET, vars: { CLOUD_URL: url } });
  far = await nodesOf('far', `${cloud.url}/v1`);
  below = await nodesOf('below', `${cloud.url}/v1/edge/relay`);
});

afterAll(async () => {
  await below?.stop();
  await far?.stop();
  await cloud?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** Subscribes as a browser does, and answers once the node has. */
async function subscribe(server: LocalServer, node: string) {
  const url = `${server.url.replace(/^http/, 'ws')}/v1/edge/${node}/live`;
  const socket = new WebSocket(url, ['causeway.v1', `causeway.bearer.${token}`]);
  onTestFinished(() => socket.close());
  const messages: Record<string, unknown>[] = [];
  let wake = () => {};
  socket.addEventListener('message', ({ data }) => {
    messages.push(JSON.parse(String(data)));
    wake();
  });
  await new Promise((resolve, reject) => {
    socket.addEventListener('open', resolve);
    socket.addEventListener('error', reject);
  });
  expect(socket.protocol).toBe('causeway.v1');
  const next = async (isWanted: (message: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> => {
    for (;;) {
      const message = messages.shift();
      if (message !== undefined && isWanted(message)) return message;
      if (message === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  };
  socket.send(JSON.stringify({ type: 'subscribe', entityTypes: ['note'] }));
  await next(({ type }) => type === 'status');
  return { next, change: () => next(({ type }) => type === 'change') };
}

async function put(server: LocalServer, target: string, data: Record<string, unknown>) {
  const response = await fetch(`${server.url}/v1/${target}`, {
    method: 'PUT',
    headers: { Authorization: `Bearer ${token}` },
    body: JSON.stringify(data),
  });
  expect(response.status).toBe(201);
}

test('what is written at one node arrives at the socket of another, and nobody asks for it', async () => {
  const reader = await subscribe(cloud, 'b');
  await put(cloud, 'edge/a/data/other/x', {});
  await put(cloud, 'edge/a/data/note/x', { n: 1 });
  expect(await reader.change()).toEqual({
    type: 'change',
    entityType: 'note',
    entityId: 'x',
    operation: 'create',
    data: { n: 1 },
    version: 'a:2',
  });
});

test.each([
  ['of another deployment', () => far, 'y'],
  ['below a relay', () => below, 'z'],
])('it arrives at nodes %s too, and from there', async (_, server, id) => {
  const here = await subscribe(cloud, 'here');
  const there = await subscribe(server(), 'there');
  // Once it has everything, it hears of the rest by being poked.
  await there.next(({ type, asOf }) => type === 'status' && asOf !== null);
  await put(cloud, `edge/a/data/note/${id}`, { from: 'here' });
  expect(await there.next(({ entityId }) => entityId === id)).toMatchObject({ data: { from: 'here' } });
  await put(server(), `edge/writer-of-${id}/data/note/from-${id}`, { from: 'there' });
  for (const reader of [here, there]) {
    expect(await reader.next(({ entityId }) => entityId === `from-${id}`)).toMatchObject({ data: { from: 'there' } });
  }
});

test('a socket without a token is refused', async () => {
  const url = `${cloud.url.replace(/^http/, 'ws')}/v1/edge/b/live`;
  const socket = new WebSocket(url, ['causeway.v1']);
  await new Promise((resolve) => socket.addEventListener('error', resolve));
  expect(socket.readyState).toBe(WebSocket.CLOSED);
});

test('[S31] a node whose cloud is elsewhere tells what came and went, and what it was before compression', async () => {
  for (let id = 0; id < 20; id += 1) await put(cloud, `data/packed/${id}`, { text: 'the same again '.repeat(20) });
  const response = await fetch(`${far.url}/v1/edge/packed/sync`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${token}` },
  });
  const summary = (await response.json()) as { downloaded: number; bytesDown: number; plainBytesDown: number };
  expect(summary.downloaded).toBeGreaterThanOrEqual(20);
  expect(summary.plainBytesDown).toBeGreaterThan(6_000);
  expect(summary.bytesDown).toBeLessThan(summary.plainBytesDown / 4);
  const status = await fetch(`${far.url}/v1/edge/packed/status`, { headers: { Authorization: `Bearer ${token}` } });
  expect(await status.json()).toMatchObject({ plan: { compression: true } });
});

test.each(['edge/closing/live', 'edge/closing/sync/live?node=below', 'sync/live?node=below'])(
  '[S25] a close is answered: %s',
  async (target) => {
    const url = `${cloud.url.replace(/^http/, 'ws')}/v1/${target}`;
    // Of a space where nothing happens: no news is on its way.
    const quiet = await signAccessToken(
      { space: 'quiet', role: 'admin', sub: 'test' },
      { secret: SECRET, ttlSeconds: 3_600 },
    );
    const socket = new WebSocket(url, ['causeway.v1', `causeway.bearer.${quiet}`]);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener('close', resolve));
    socket.close(3_001, 'seen enough');
    expect(await closed).toMatchObject({ wasClean: true, code: 3_001 });
  },
);
