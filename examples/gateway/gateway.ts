import path from 'node:path';
import { parseArgs } from 'node:util';
import { EdgeCloudClient } from 'causeway/client';
import { nodeStorage } from 'causeway/client/node';
import { signAccessToken } from '../../scripts/access-token.ts';
import { ensureSecret } from '../../scripts/secrets.ts';
import { readReadings } from './readings.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const { values: options } = parseArgs({
  options: {
    file: { type: 'string', default: path.join(import.meta.dirname, 'readings.csv') },
    data: { type: 'string', default: path.join(ROOT, '.wrangler/gateway') },
    node: { type: 'string', default: 'gateway' },
    follow: { type: 'boolean', default: false },
  },
});
const { TOKEN, ENDPOINT = 'http://localhost:8787/v1' } = process.env;

/** For the server of `npm start`, where no token is given; called again when the last one is no good any more. */
function localToken(): Promise<string> {
  const grant = { space: 'demo', role: 'node', node: options.node, sub: options.node } as const;
  return signAccessToken(grant, { secret: ensureSecret(ROOT), ttlSeconds: 3600 });
}

const client = new EdgeCloudClient({
  nodeId: options.node,
  cloudEndpoint: ENDPOINT,
  token: TOKEN ?? localToken,
  storage: nodeStorage(options.data),
  entityTypes: ['sensor-data'],
});

/** What was written in an earlier run is here, whether the cloud has it yet or not. */
async function idsHere(): Promise<Set<string>> {
  const ids = new Set<string>();
  for (let after: string | null = ''; after !== null; ) {
    const page: Awaited<ReturnType<typeof client.list>> = await client.list('sensor-data', { after, waitMs: 0 });
    for (const { entityId } of page.items) ids.add(entityId);
    after = page.next;
  }
  // Those that the cloud has refused wait for somebody to decide, and not for another try.
  for (const { entityId } of await client.deadLetters()) ids.add(entityId);
  return ids;
}

function waiting(): number {
  const { total, dead } = client.status().queue;
  return total - dead;
}

/** Resolves when the cloud has answered all that was written; without a link that may take long. */
function allSettled(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const look = () => {
      if (!signal.aborted && waiting() > 0) return;
      for (const end of ends) end();
      resolve();
    };
    const ends = [client.on('state', look), client.on('settled', look)];
    signal.addEventListener('abort', look, { once: true });
    look();
  });
}

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort());

const count = { written: 0, before: 0, settled: 0, refused: 0, unreadable: 0 };
// Also of what an earlier run has left.
client.on('settled', ({ changeId, status, detail = '' }) => {
  if (status === 'rejected') count.refused += 1;
  else count.settled += 1;
  console.log(`${changeId} is settled: ${status} ${detail}`.trim());
});
await client.initialize();
const here = await idsHere();
console.log(`${options.node} holds ${here.size} readings, ${waiting()} changes wait for the cloud`);

try {
  for await (const { line, reading } of readReadings(options.file, { follow: options.follow, signal: stop.signal })) {
    if (reading === undefined) {
      count.unreadable += 1;
      console.error(`${options.file}:${line} is no reading`);
    } else if (here.has(reading.id)) {
      count.before += 1;
    } else {
      const { changeId } = await client.write('sensor-data', reading.id, reading.data);
      here.add(reading.id);
      count.written += 1;
      console.log(`${changeId} is written: ${reading.id}`);
    }
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
}
await allSettled(stop.signal);
const left = waiting();
await client.close();
console.log(
  `${count.written} readings written, ${count.before} were here before; ` +
    `${count.settled} settled, ${count.refused} refused, ${left} wait for the next start`,
);
process.exitCode = count.refused + count.unreadable > 0 ? 1 : 0;
