import { execFile, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { startServer } from '../../scripts/local-server.ts';
import { EdgeCloudClient } from '../../src/client/client.ts';
import { nodeStorage } from '../../src/client/node-storage.ts';

const execute = promisify(execFile);
const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const KILLS = 50;
const ROOT = path.join(import.meta.dirname, '../..');

/** A server, and a folder that is gone with it. */
async function serve() {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const server = await startServer({ port: 0, persistTo: path.join(folder, 'server'), secret: SECRET });
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return { folder, server };
}

test('[S42] the program of the docs runs as it stands, with a real endpoint and a token', {
  timeout: 60_000,
}, async () => {
  const { folder, server } = await serve();
  const [, program = ''] = /```ts\n([\s\S]*?)```/.exec(readFileSync(path.join(ROOT, 'docs/client.md'), 'utf8')) ?? [];
  const code = program.replace('http://localhost:8787', server.url).replace("'./data'", JSON.stringify(folder));
  expect(code).toContain(server.url);
  const TOKEN = await signAccessToken(
    { space: 'docs', role: 'node', node: 'edge-node-001', sub: 'docs' },
    { secret: SECRET, ttlSeconds: 600 },
  );
  const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', code], {
    cwd: ROOT,
    env: { TOKEN },
  });
  expect(stdout).toContain("status: 'applied'");
  expect(stdout.trim().endsWith('null')).toBe(true);
});

test('[I1] [I2] [S42] a client on Node that is killed 50 times, in mid-write and mid-sync, loses nothing that it acknowledged', {
  timeout: 240_000,
}, async () => {
  const { folder, server } = await serve();
  const token = await signAccessToken(
    { space: 'kills', role: 'node', node: 'writer', sub: 'writer' },
    { secret: SECRET, ttlSeconds: 3_600 },
  );
  const url = `${server.url}/v1`;
  const storage = path.join(folder, 'client');
  const acknowledged: string[] = [];
  for (let round = 0; round < KILLS; round += 1) {
    const program = path.join(import.meta.dirname, 'client-writer.ts');
    const child = spawn(process.execPath, [program, url, token, storage, String(round)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('exit', resolve));
    // Somewhere behind a write that was acknowledged: each time another one.
    const last = 1 + ((round * 7) % 20);
    let lines = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      acknowledged.push(line);
      lines += 1;
      if (lines === last) child.kill('SIGKILL');
    }
    await ended;
  }

  const client = new EdgeCloudClient({ nodeId: 'writer', cloudEndpoint: url, token, storage: nodeStorage(storage) });
  await client.initialize();
  onTestFinished(() => client.close());
  while (client.status().queue.total > 0) expect((await client.sync()).success).toBe(true);

  const other = new EdgeCloudClient({
    nodeId: 'reader',
    cloudEndpoint: url,
    token: await signAccessToken(
      { space: 'kills', role: 'node', node: 'reader', sub: 'r' },
      { secret: SECRET, ttlSeconds: 60 },
    ),
  });
  await other.initialize();
  onTestFinished(() => other.close());
  expect((await other.sync()).success).toBe(true);
  expect(new Set(acknowledged).size).toBe(acknowledged.length);
  expect(acknowledged.length).toBeGreaterThan(KILLS);
  for (const id of acknowledged) expect((await other.read('note', id))?.data).toEqual({ id });
  const ids: string[] = [];
  for (let after = ''; ; ) {
    const { items, next } = await other.list('note', { after, limit: 1_000 });
    ids.push(...items.map(({ entityId }) => entityId));
    if (next === null) break;
    after = next;
  }
  // Each counted once; what was not acknowledged may have been written all the same.
  const count = Number((await other.read('note', 'count'))?.data['n']);
  expect(count).toBeGreaterThanOrEqual(acknowledged.length);
  expect(count).toBeLessThanOrEqual(ids.length - 1 + KILLS);
});

test('[S42] a client hears of what others write by its socket, and goes on when the server was away', {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const start = (port: number) => startServer({ port, persistTo: folder, secret: SECRET });
  let server = await start(0);
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const open = async (nodeId: string) => {
    const claims = { space: 'live', role: 'node', node: nodeId, sub: nodeId } as const;
    const token = await signAccessToken(claims, { secret: SECRET, ttlSeconds: 600 });
    const client = new EdgeCloudClient({ nodeId, cloudEndpoint: `${server.url}/v1`, token });
    await client.initialize();
    onTestFinished(() => client.close());
    return client;
  };
  const [a, b] = [await open('a'), await open('b')];
  const heard = (id: string) =>
    new Promise<void>((resolve) => {
      const end = b.subscribe(['note'], ({ entityId }) => {
        if (entityId !== id) return;
        end();
        resolve();
      });
    });
  // Not before it listens: nothing asks again for half a minute.
  await b.sync();
  for (const id of ['x', 'y', 'z']) {
    const arrival = heard(id);
    await (await a.write('note', id, {})).settled;
    await arrival;
  }
  const arrival = heard('after');
  const { port } = new URL(server.url);
  server.kill9();
  await server.exited;
  const { settled } = await a.write('note', 'after', {});
  server = await start(Number(port));
  await settled;
  await arrival;
});
