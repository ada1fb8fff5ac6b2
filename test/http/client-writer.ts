import { EdgeCloudClient } from '../../src/client/client.ts';
import { nodeStorage } from '../../src/client/node-storage.ts';

/** A program that writes as fast as it can, and says of each write when it was acknowledged; it is killed in the midst. */
const [cloudEndpoint = '', token = '', folder = '', round = ''] = process.argv.slice(2);

const client = new EdgeCloudClient({ nodeId: 'writer', cloudEndpoint, token, storage: nodeStorage(folder) });
await client.initialize();
for (let n = 0; ; n += 1) {
  const id = `r${round}.${n}`;
  await client.write('note', id, { id });
  await client.patch('note', 'count', [{ op: 'increment', path: 'n', value: 1 }]).catch(async () => {
    await client.write('note', 'count', { n: 1 });
  });
  process.stdout.write(`${id}\n`);
}
