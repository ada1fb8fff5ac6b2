import { parseArgs } from 'node:util';
import { ApiClient } from './demo/api-client.ts';
import { verdictLines } from './demo/checks.ts';
import { flaky } from './demo/flaky/scenario.ts';
import { Narrator } from './demo/narrator.ts';
import { type OwnServer, startOwnServer } from './demo/own-server.ts';
import type { Scenario } from './demo/scenario.ts';
import { stations } from './demo/stations/scenario.ts';

/** The first is played where none is asked for. */
const SCENARIOS: ReadonlyMap<string, Scenario> = new Map([
  ['stations', stations],
  ['flaky', flaky],
]);
const NAMES = [...SCENARIOS.keys()];
const USAGE = `usage: npm run demo -- [--scenario ${NAMES.join('|')}] [--url URL --token TOKEN] [--rows N]`;
/** Of a shell's convention: ended by SIGINT. */
const INTERRUPTED = 130;

interface DemoOptions {
  readonly scenario: Scenario;
  /** A running server, and a token for an admin of the space to use there. */
  readonly server: { readonly url: string; readonly token: string } | undefined;
  /** Of each data set at most. */
  readonly maxRows: number;
}

/** Turns the command line into options; throws an error whose message is what to show. */
export function parseDemoArgs(args: string[]): DemoOptions {
  const { values } = parseArgs({
    args,
    options: {
      scenario: { type: 'string', default: 'stations' },
      url: { type: 'string' },
      token: { type: 'string' },
      rows: { type: 'string' },
    },
  });
  const { url, token } = values;
  const scenario = SCENARIOS.get(values.scenario);
  if (scenario === undefined) {
    throw new Error(`there is no scenario ${values.scenario}, only ${NAMES.join(' and ')}`);
  }
  const { minRows, usualRows } = scenario;
  const maxRows = values.rows === undefined ? usualRows : Number(values.rows);
  if (!Number.isSafeInteger(maxRows) || maxRows < minRows)
    throw new Error(`--rows must be a number from ${minRows} on`);
  if (url === undefined && token === undefined) return { scenario, server: undefined, maxRows };
  if (url === undefined || token === undefined) throw new Error('--url and --token go together');
  if (!URL.canParse(url)) throw new Error(`--url ${url} is not an address`);
  return { scenario, server: { url, token }, maxRows };
}

/** Plays the demo, and ends the server that it started, whatever happens. @returns the exit code. */
async function main(options: DemoOptions): Promise<number> {
  const narrator = new Narrator();
  const interrupted = new Promise<'interrupted'>((resolve) => {
    // Each one, again and again: npm sends Ctrl-C on, so it comes twice, and the second must not cut the cleaning short.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => resolve('interrupted'));
  });
  console.log(`${options.scenario.title}\n`);
  let own: OwnServer | undefined;
  try {
    if (options.server === undefined) {
      console.log('Starting a server of its own ...');
      // Not raced with a signal: only what has started can be ended and removed.
      own = await startOwnServer();
    }
    const server = own ?? options.server;
    if (server === undefined) throw new Error('invariant broken: there is a server');
    console.log(`The server is ${server.url}`);
    const end = await Promise.race([play(server, narrator, options), interrupted]);
    if (end !== 'interrupted') return end;
    narrator.stop();
    console.log('\nInterrupted; cleaning up ...');
    return INTERRUPTED;
  } catch (error) {
    narrator.stop();
    if (own !== undefined && own.log.length > 0) console.error(`\nThe server's last lines:\n${own.log.join('\n')}`);
    throw error;
  } finally {
    await own?.close();
  }
}

async function play(
  { url, token }: { url: string; token: string },
  narrator: Narrator,
  options: DemoOptions,
): Promise<number> {
  const api = new ApiClient(url, token);
  const kind = options.server === undefined ? 'own' : 'shared';
  const { summary, checks } = await options.scenario.play(api, narrator, kind, options.maxRows);
  console.log(`\n${summary}\n`);
  for (const line of verdictLines(checks)) console.log(line);
  const failed = checks.filter(({ differences }) => differences.length > 0).length;
  console.log(
    failed === 0 ? '\nEverything is as it should be.' : `\nNot as it should be: ${failed} of ${checks.length}.`,
  );
  return failed === 0 ? 0 : 1;
}

function readOptions(): DemoOptions {
  try {
    return parseDemoArgs(process.argv.slice(2));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exit(1);
  }
}

if (import.meta.main) {
  try {
    process.exit(await main(readOptions()));
  } catch (error) {
    console.error(`\n${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
