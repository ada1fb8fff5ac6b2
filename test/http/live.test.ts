import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { type LocalServer, startServer } from '../../scripts/local-server.ts';

const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const folder = mkdtempSync(path.join(tmpdir(), 'causeway-live-'));
let cloud: LocalServer;
/** A deployment of edge nodes only, whose cloud is the other server. */
let far: LocalServer;
let token: string;

beforeAll(async () => {
  token = await signAccessToken({ space: 'test', role: 'admin', sub: 'test' }, { secret: SECRET, ttlSeconds: 3_600 });
  cloud = await startServer({ port: 0, persistTo: path.join(folder, 'cloud'), secret: SECRET });
  const vars = { CLOUD_URL: `${cloud.url}/v1` };
  far = await startServer({ port: 0, persistTo: path.join(folder, 'far'), secret: SECRET, vars });
});

afterAll(async () => {
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

test('it arrives at nodes of another deployment too, and from there', async () => {
  const here = await subscribe(cloud, 'here');
  const there = await subscribe(far, 'there');
  // Once it has everything, it hears of the rest by being poked.
  await there.next(({ type, asOf }) => type === 'status' && asOf !== null);
  await put(cloud, 'edge/a/data/note/y', { from: 'here' });
  expect(await there.next(({ entityId }) => entityId === 'y')).toMatchObject({ data: { from: 'here' } });
  await put(far, 'edge/elsewhere/data/note/z', { from: 'there' });
  for (const reader of [here, there]) {
    expect(await reader.next(({ entityId }) => entityId === 'z')).toMatchObject({ data: { from: 'there' } });
  }
});

test('a socket without a token is refused', async () => {
  const url = `${cloud.url.replace(/^http/, 'ws')}/v1/edge/b/live`;
  const socket = new WebSocket(url, ['causeway.v1']);
  await new Promise((resolve) => socket.addEventListener('error', resolve));
  expect(socket.readyState).toBe(WebSocket.CLOSED);
});
