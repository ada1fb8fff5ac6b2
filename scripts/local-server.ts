import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { type FolderLock, lockFolder } from './folder-lock.ts';
import { findFreePort, isPortFree } from './free-port.ts';
import { type ProcessGroup, spawnGroup } from './process-group.ts';
import { ensureSecret } from './secrets.ts';

const ROOT = path.resolve(import.meta.dirname, '..');
const WRANGLER = path.join(
  path.dirname(createRequire(import.meta.url).resolve('wrangler/package.json')),
  'bin/wrangler.js',
);

/** A cold start takes 2 to 5 s on two cores; a busy machine gets ten times that. */
const READY_TIMEOUT_MS = 60_000;
const READY_POLL_MS = 100;
/** A first request may compile the Worker; one that hangs must not eat the whole start. */
const HEALTH_TIMEOUT_MS = 5_000;
const MIGRATIONS_TIMEOUT_MS = 60_000;
/** Lines kept to show why wrangler ended. */
const MAX_TAIL_LINES = 20;

/** wrangler, offline and quiet: no request for the colo's data, no metrics, no banner, no tracing of statements. */
const QUIET_ENV = {
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  WRANGLER_SEND_METRICS: 'false',
  WRANGLER_SEND_ERROR_REPORTS: 'false',
  WRANGLER_HIDE_BANNER: 'true',
  WRANGLER_WRITE_LOGS: 'false',
  X_LOCAL_OBSERVABILITY: 'false',
  NO_COLOR: '1',
  FORCE_COLOR: '0',
};

export interface ServerOptions {
  /** 0 picks a free one. */
  port: number;
  /** Folder of the local state (Durable Objects and D1), of one server at a time; default `.wrangler/state`. */
  persistTo?: string;
  /** Signs tokens; default: the one of the environment or `.dev.vars`, made if missing. */
  secret?: string;
  /** More variables of the Worker, such as `CLOUD_URL`. */
  vars?: Record<string, string>;
  /** Where the Worker's own logs go, line by line; default nowhere. */
  onLog?: (line: string) => void;
}

export interface LocalServer {
  url: string;
  port: number;
  secret: string;
  /** Resolves when wrangler has ended, with its last lines: after `stop` or `kill9`, or because it died. */
  exited: Promise<string[]>;
  /** Ends every process of the server; resolves when they are gone. Safe to call twice. */
  stop(): Promise<void>;
  /** Kills every process of the server at once, as a power cut would. */
  kill9(): void;
}

/** A start that failed for a reason the user can act on; the message is the whole explanation. */
export class StartError extends Error {}

/**
 * Applies the D1 migrations and runs the Worker under `wrangler dev`; resolves once `/health` answers 200. Nothing
 * is left running when it throws a `StartError`.
 */
export async function startServer(options: ServerOptions): Promise<LocalServer> {
  if (options.port !== 0 && !(await isPortFree(options.port))) {
    throw new StartError(
      `Port ${options.port} is already in use. If Causeway runs there, use it; ` +
        'to run another one, choose --port and, for a state of its own, --persist-to.',
    );
  }
  const port = options.port === 0 ? await findFreePort() : options.port;
  const persistTo = path.resolve(ROOT, options.persistTo ?? '.wrangler/state');
  const lock = lockState(persistTo);
  const temporary = makeTemporaryFolder();
  const letGo = () => {
    temporary.remove();
    lock.release();
  };
  const explicitSecret = options.secret ?? (process.env['CAUSEWAY_SECRET'] || undefined);
  const vars = { ...fromEnvironment(), ...options.vars, ...(explicitSecret && { CAUSEWAY_SECRET: explicitSecret }) };
  let secret: string;
  let group: ProcessGroup;
  try {
    secret = explicitSecret ?? ensureSecret(ROOT);
    await applyMigrations(persistTo, temporary.folder);
    group = await spawnWrangler(port, persistTo, temporary.folder, writeEnvFile(temporary.folder, vars));
  } catch (error) {
    letGo();
    throw error;
  }
  const tail = collectOutput(group.child, options.onLog ?? (() => {}));
  const exited = once(group.child, 'close').then(() => {
    letGo();
    return tail;
  });
  const server: LocalServer = {
    url: `http://localhost:${port}`,
    port,
    secret,
    exited,
    stop: async () => {
      await group.stop();
      await exited;
    },
    kill9: group.kill9,
  };
  try {
    await waitUntilHealthy(server);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Two servers on one state would each write over what the other has acknowledged. */
function lockState(folder: string): FolderLock {
  const lock = lockFolder(folder);
  if (lock !== undefined) return lock;
  throw new StartError(
    `The state in ${folder} is in use by another server. Use that one, ` +
      'or choose another folder with --persist-to and another port with --port.',
  );
}

/** Brings the local D1 database up to date, without a prompt; shows wrangler's output only if it fails. */
async function applyMigrations(persistTo: string, temporary: string): Promise<void> {
  const args = ['d1', 'migrations', 'apply', 'DB', '--local', '--persist-to', persistTo];
  const group = spawnGroup([process.execPath, WRANGLER, ...args], {
    cwd: ROOT,
    env: { ...process.env, ...QUIET_ENV, TMPDIR: temporary, CI: '1' },
  });
  const lines: string[] = [];
  for (const stream of [group.child.stdout, group.child.stderr]) stream?.on('data', (chunk) => lines.push(`${chunk}`));
  const timer = setTimeout(group.kill9, MIGRATIONS_TIMEOUT_MS);
  const [code] = await once(group.child, 'close');
  clearTimeout(timer);
  if (code !== 0) throw new StartError(`The D1 migrations failed:\n${stripVTControlCharacters(lines.join('')).trim()}`);
}

/**
 * For the temporary files of one server, which wrangler doesn't remove when it is killed. Goes at the latest with this
 * process.
 */
function makeTemporaryFolder(): { folder: string; remove(): void } {
  const folder = mkdtempSync(path.join(tmpdir(), 'causeway-'));
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  process.once('exit', remove);
  return { folder, remove };
}

/** Settings that may come from the environment; `.dev.vars` has them too. */
function fromEnvironment(): Record<string, string> {
  const names = ['CLOUD_URL', 'CLOUD_TOKEN', 'CAUSEWAY_JWKS_URL'];
  return Object.fromEntries(names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])));
}

/** Puts `vars` into a private file: on the command line everybody on the machine could read them. */
function writeEnvFile(folder: string, vars: Record<string, string>): string | undefined {
  if (Object.keys(vars).length === 0) return undefined;
  const file = path.join(folder, 'vars');
  const lines = Object.entries(vars).map(([name, value]) => `${name}=${quote(value)}\n`);
  writeFileSync(file, lines.join(''), { mode: 0o600 });
  return file;
}

/** Quotes for wrangler's dotenv: it takes single quotes literally, except that `$name` is replaced everywhere. */
function quote(value: string): string {
  if (/['\r\n\\]/.test(value)) throw new StartError('A variable must not contain quotes, backslashes or line breaks');
  return `'${value.replaceAll('$', '\\$')}'`;
}

async function spawnWrangler(
  port: number,
  persistTo: string,
  temporary: string,
  envFile: string | undefined,
): Promise<ProcessGroup> {
  const args = ['dev', '--port', `${port}`, '--inspector-port', `${await findFreePort()}`];
  args.push('--persist-to', persistTo, '--show-interactive-dev-session=false');
  if (envFile !== undefined) {
    // With this option wrangler no longer reads .dev.vars by itself; the later file wins.
    if (existsSync(path.join(ROOT, '.dev.vars'))) args.push('--env-file', '.dev.vars');
    args.push('--env-file', envFile);
  }
  return spawnGroup([process.execPath, WRANGLER, ...args], {
    cwd: ROOT,
    // A registry of its own: servers that run side by side must not find each other's Workers.
    env: {
      ...process.env,
      ...QUIET_ENV,
      TMPDIR: temporary,
      WRANGLER_REGISTRY_PATH: path.join(persistTo, 'registry'),
    },
  });
}

/** Passes the Worker's own lines on, drops wrangler's, and returns the growing list of the last ones of both. */
function collectOutput(child: ChildProcess, onLog: (line: string) => void): string[] {
  const tail: string[] = [];
  /** Warnings of the start, held back: if it fails, the tail tells them. */
  const held: string[] = [];
  let ready = false;
  const onLine = (line: string, isError: boolean) => {
    tail.push(line);
    if (tail.length > MAX_TAIL_LINES) tail.shift();
    if (!ready && line.includes('Ready on ')) {
      ready = true;
      tail.length = 0;
      for (const warning of held) onLog(warning);
    } else if (!line.startsWith('[wrangler:info]') && !line.startsWith('⎔')) {
      const text = line.replace(/^[✘▲] \[(?:ERROR|WARNING)\] /, '');
      if (ready) onLog(text);
      // Until it is ready, stdout has only wrangler's own list of bindings.
      else if (isError && held.length < MAX_TAIL_LINES) held.push(text);
    }
  };
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on('line', (raw) => {
      const line = stripVTControlCharacters(raw).trimEnd();
      if (line !== '') onLine(line, stream === child.stderr);
    });
  }
  return tail;
}

async function waitUntilHealthy(server: LocalServer): Promise<void> {
  let ended: string[] | undefined;
  void server.exited.then((tail) => {
    ended = tail;
  });
  let last = 'no answer';
  const deadline = Date.now() + READY_TIMEOUT_MS;
  while (Date.now() < deadline) {
    if (ended !== undefined) throw new StartError(`wrangler ended before it was ready:\n${ended.join('\n')}`);
    try {
      const response = await fetch(`${server.url}/health`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
      await response.arrayBuffer();
      if (response.status === 200) return;
      last = `status ${response.status}`;
    } catch {
      // Not listening yet.
    }
    await sleep(READY_POLL_MS);
  }
  throw new StartError(`${server.url}/health was not ready within ${READY_TIMEOUT_MS / 1000} s: ${last}`);
}
