import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { startServer } from '../../scripts/local-server.ts';
import { EdgeCloudClient } from '../../src/client/client.ts';

const GATEWAY = path.resolve(import.meta.dirname, '../../examples/gateway/gateway.ts');
const SECRET = 'a-secret-for-tests-of-at-least-32-characters';

/** A server that can be started again on the same port, and a folder. */
async function serve() {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-http-'));
  const start = (port: number) => startServer({ port, persistTo: path.join(folder, 'server'), secret: SECRET });
  let server = await start(0);
  onTestFinished(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return {
    folder,
    endpoint: `${server.url}/v1`,
    kill: async () => {
      server.kill9();
      await server.exited;
    },
    startAgain: async () => {
      server = await start(server.port);
    },
  };
}

interface Gateway {
  child: ChildProcess;
  /** All that it says, from the first line on. */
  lines: string[];
  /** Resolves when it has said so many lines with a text. */
  said(text: string, times?: number): Promise<void>;
  ended: Promise<number | null>;
}

function runGateway(endpoint: string, folder: string, ...args: string[]): Gateway {
  const child = spawn(process.execPath, [GATEWAY, '--data', path.join(folder, 'gateway'), ...args], {
    env: { ENDPOINT: endpoint, CAUSEWAY_SECRET: SECRET },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const lines: string[] = [];
  const output = [createInterface({ input: child.stdout }), createInterface({ input: child.stderr })];
  for (const stream of output) stream.on('line', (line) => lines.push(line));
  const ended = once(child, 'close').then(() => child.exitCode);
  const said = (text: string, times = 1) =>
    new Promise<void>((resolve, reject) => {
      const look = () => {
        if (lines.filter((line) => line.includes(text)).length >= times) resolve();
      };
      for (const stream of output) stream.on('line', look);
      void ended.then(() => reject(new Error(`it ended, and said no "${text}":\n${lines.join('\n')}`)));
      look();
    });
  return { child, lines, said, ended };
}

/** What the cloud has, and the numbers of the changes that made it, in their order. */
async function cloud(endpoint: string) {
  const token = await signAccessToken(
    { space: 'demo', role: 'node', node: 'reader', sub: 'reader' },
    { secret: SECRET, ttlSeconds: 60 },
  );
  const client = new EdgeCloudClient({ nodeId: 'reader', cloudEndpoint: endpoint, token });
  await client.initialize();
  onTestFinished(() => client.close());
  expect((await client.sync()).success).toBe(true);
  const { items, next } = await client.list('sensor-data', { limit: 1_000 });
  expect(next).toBeNull();
  const changes = items.map(({ version }) => version.replace(/^.*gateway:(\d+).*$/, '$1'));
  return { readings: items.map(({ data }) => data), changes: changes.map(Number).sort((a, b) => a - b) };
}

const HEADER = 'time,sensor,temperature,humidity\n';

/** Readings of one sensor, a minute apart, in lines of a file. */
function csv(from: number, to: number): string {
  return numbers(from, to)
    .map((minute) => `${timeOf(minute)},roof,${minute / 10},50\n`)
    .join('');
}

/** Those of {@link csv} as records, in the order of their ids. */
function records(to: number) {
  return numbers(0, to).map((minute) => ({
    sensor: 'roof',
    time: timeOf(minute),
    temperature: minute / 10,
    humidity: 50,
  }));
}

function timeOf(minute: number): string {
  return new Date(Date.UTC(2026, 5, 1, 0, minute)).toISOString();
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

test('[I2] [S42] the gateway sends the readings of its file, each once, and again none of them; what is no reading it names', async () => {
  const { folder, endpoint } = await serve();
  const first = runGateway(endpoint, folder);
  expect(await first.ended).toBe(0);
  expect(first.lines.at(-1)).toBe(
    '72 readings written, 0 were here before; 72 settled, 0 refused, 0 wait for the next start',
  );
  const there = await cloud(endpoint);
  expect(there.readings).toContainEqual({
    ...{ sensor: 'cellar', time: '2026-06-01T00:00Z', temperature: expect.any(Number), humidity: expect.any(Number) },
  });
  expect(there.changes).toEqual(numbers(1, 73));

  const again = runGateway(endpoint, folder);
  expect(await again.ended).toBe(0);
  expect(again.lines.at(-1)).toBe(
    '0 readings written, 72 were here before; 0 settled, 0 refused, 0 wait for the next start',
  );
  const file = path.join(folder, 'bad.csv');
  writeFileSync(
    file,
    `${HEADER}2026-06-01,roof,,50\nnever,roof,1,50\n2026-06-01,roof,1\n\n2026-06-01,a/b,1,50\n${csv(0, 1)}`,
  );
  const bad = runGateway(endpoint, folder, '--file', file);
  expect(await bad.ended).toBe(1);
  const named = bad.lines.filter((line) => line.endsWith('is no reading')).map((line) => line.slice(file.length));
  expect(named).toEqual([2, 3, 4, 6].map((line) => `:${line} is no reading`));
  expect((await cloud(endpoint)).changes).toEqual(numbers(1, 74));
});

test('[I1] [I2] [S42] a gateway whose server is killed, and that is killed itself, brings each reading to the cloud once', {
  timeout: 120_000,
}, async () => {
  const { folder, endpoint, kill, startAgain } = await serve();
  const file = path.join(folder, 'roof.csv');
  writeFileSync(file, `${HEADER}${csv(0, 300)}`);
  const first = runGateway(endpoint, folder, '--file', file, '--follow');
  // With the rest on its way, or not yet.
  await first.said('is settled');
  await kill();
  appendFileSync(file, csv(300, 400));
  // Without a cloud it goes on.
  await first.said('is written', 400);
  first.child.kill('SIGKILL');
  await first.ended;
  appendFileSync(file, csv(400, 500));

  const second = runGateway(endpoint, folder, '--file', file);
  await second.said('is written', 100);
  await startAgain();
  expect(await second.ended).toBe(0);
  expect(second.lines.at(-1)).toMatch(/^100 readings written, 400 were here before; \d+ settled, 0 refused, 0 wait/);
  const there = await cloud(endpoint);
  expect(there.readings).toEqual(records(500));
  expect(there.changes).toEqual(numbers(1, 501));
});

test('[I1] [S42] a gateway that is ended while its server is away leaves what waits to the next one', async () => {
  const { folder, endpoint, kill, startAgain } = await serve();
  await kill();
  const file = path.join(folder, 'roof.csv');
  writeFileSync(file, `${HEADER}${csv(0, 3)}`);
  const first = runGateway(endpoint, folder, '--file', file, '--follow');
  await first.said('is written', 3);
  first.child.kill('SIGTERM');
  expect(await first.ended).toBe(0);
  expect(first.lines.at(-1)).toBe(
    '3 readings written, 0 were here before; 0 settled, 0 refused, 3 wait for the next start',
  );
  await startAgain();
  const second = runGateway(endpoint, folder, '--file', file);
  expect(await second.ended).toBe(0);
  expect(second.lines.at(-1)).toBe(
    '0 readings written, 3 were here before; 3 settled, 0 refused, 0 wait for the next start',
  );
  expect((await cloud(endpoint)).readings).toEqual(records(3));
});
