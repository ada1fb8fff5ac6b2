import { parseArgs } from 'node:util';
import { signAccessToken } from './access-token.ts';
import { StartError, startServer } from './local-server.ts';

const TOKEN_TTL_HOURS = 24;

/** Turns the command line into options; throws an error whose message is the one line to show. */
export function parseStartArgs(args: string[]): { port: number; persistTo: string } {
  const { values } = parseArgs({
    args,
    options: {
      port: { type: 'string', default: '8787' },
      'persist-to': { type: 'string', default: '.wrangler/state' },
    },
  });
  const port = Number(values.port);
  if (!/^\d+$/.test(values.port) || port > 65_535) throw new StartError(`--port ${values.port} is not a port`);
  return { port, persistTo: values['persist-to'] };
}

async function main(): Promise<void> {
  const options = parseStartArgs(process.argv.slice(2));
  const stopping = new Promise<'signal'>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve('signal'));
  });
  const starting = startServer({ ...options, onLog: (line) => console.log(line) });
  // A signal during the start ends this process, and with it the server's group (see local-server.ts).
  const server = await Promise.race([starting, stopping]);
  if (server === 'signal') process.exit(0);

  const token = await signAccessToken(
    { space: 'demo', role: 'admin', sub: 'local-admin' },
    { secret: server.secret, ttlSeconds: TOKEN_TTL_HOURS * 3600 },
  );
  console.log(`Causeway is ready at ${server.url}

Token (space demo, role admin, ${TOKEN_TTL_HOURS} h, for local use):
${token}

Write a record at the edge node station-1:
curl -sS -w '\\n' -X PUT ${server.url}/v1/edge/station-1/data/notes/first -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"text":"Hello from the edge"}'

Ctrl-C ends it.`);

  const end = await Promise.race([server.exited, stopping]);
  await server.stop();
  if (end !== 'signal') throw new StartError(`wrangler ended by itself:\n${end.join('\n')}`);
}

if (import.meta.main) {
  try {
    await main();
    process.exit(0);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1);
  }
}
