import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { LiveSocket } from '../../src/transport/live-socket.ts';
import { made } from './space.ts';

/** A cloud that opens sockets as long as it is up, a node's live socket to it, and a time that stands still. */
function world() {
  const servers: WebSocket[] = [];
  const clients: WebSocket[] = [];
  const asked: Request[] = [];
  const heard: (number | string)[] = [];
  const cloud = { isUp: true };
  const clock = { atMs: 1_000_000, nowMs: () => clock.atMs, sleep: () => new Promise<void>(() => undefined) };
  const socket = new LiveSocket({
    url: 'https://cloud.example/v1/sync/live',
    token: async () => `token-${asked.length + 1}`,
    clock,
    entropy: { id: () => 'id', fraction: () => 0.5 },
    fetch: async (input, init) => {
      asked.push(new Request(input, init));
      if (!cloud.isUp) return new Response('', { status: 503 });
      const { 0: client, 1: server } = new WebSocketPair();
      server.accept();
      servers.push(server);
      clients.push(client);
      return new Response(null, { status: 101, webSocket: client });
    },
    onOpen: () => heard.push('open'),
    onPoke: (head, source) => heard.push(source === undefined ? head : `${head} by ${source}`),
  });
  onTestFinished(() => socket.keep(false));
  return { socket, servers, clients, asked, heard, cloud, clock };
}

/** When an end of a socket has seen that it is closed, and all who listen there have too. */
const ended = (server: WebSocket) =>
  new Promise<number>((resolve) => {
    server.addEventListener('close', ({ code }) => void setTimeout(resolve, 0, code));
  });

test('opens once, with the token in a header, and passes pokes on; what is none is nothing', async () => {
  const { socket, servers, asked, heard } = world();
  await Promise.all([socket.keep(true), socket.keep(true)]);
  await socket.keep(true);
  const [request, ...others] = asked;
  expect(others).toEqual([]);
  expect(request?.url).toBe('https://cloud.example/v1/sync/live');
  expect(request?.headers.get('Authorization')).toBe('Bearer token-1');
  expect(request?.headers.get('Sec-WebSocket-Protocol')).toBe('causeway.v1');
  for (const text of ['{"type":"poke","head":1}', '{', '{"type":"poke"}', '{"type":"poke","head":2,"source":"b"}']) {
    servers[0]?.send(text);
  }
  await vi.waitFor(() => expect(heard).toEqual(['open', 1, '2 by b']));
});

test('closes when nobody is there, also where it was just opening', async () => {
  const { socket, servers, heard } = world();
  await socket.keep(true);
  const end = ended(made(servers[0]));
  await socket.keep(false);
  expect(await end).toBe(1000);
  const opening = socket.keep(true);
  await socket.keep(false);
  await opening;
  expect(await ended(made(servers[1]))).toBe(1000);
  expect(heard).toEqual(['open']);
});

describe('after an end that was not its own', () => {
  test('it opens again when it is asked for and the wait is over; the wait grows with the failures', async () => {
    const { socket, servers, clients, asked, cloud, clock } = world();
    await socket.keep(true);
    cloud.isUp = false;
    servers[0]?.close(1012, 'a new version');
    await ended(made(clients[0]));
    for (const waitMs of [500, 1_000, 2_000]) {
      const before = asked.length;
      clock.atMs += waitMs - 1;
      await socket.keep(true);
      expect(asked.length).toBe(before);
      clock.atMs += 1;
      await socket.keep(true);
      expect(asked.length).toBe(before + 1);
    }
    cloud.isUp = true;
    clock.atMs += 4_000;
    await socket.keep(true);
    expect(servers).toHaveLength(2);
  });

  test('it opens at once with a new token where the old one has run out', async () => {
    const { socket, servers, asked, heard } = world();
    await socket.keep(true);
    servers[0]?.close(4401, 'the token has expired');
    await vi.waitFor(() => expect(asked).toHaveLength(2));
    expect(asked.at(-1)?.headers.get('Authorization')).toBe('Bearer token-2');
    await vi.waitFor(() => expect(heard).toEqual(['open', 'open']));
  });
});
