import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

/** After this a group that was asked to end is killed. */
const STOP_TIMEOUT_MS = 3_000;
const STOP_POLL_MS = 25;

/**
 * Runs a command as the leader of its group, beside a watcher that kills the group when file descriptor 3 closes:
 * that is when this process ends, however it ends. The watcher holds no output, or nobody would see its end.
 */
const SCRIPT = '(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 & exec "$@" 3<&-';

/** A command and everything it starts, ended together. */
export interface ProcessGroup {
  child: ChildProcess;
  /** Asks all to end, kills what is left after 3 s; resolves when they are gone. Safe to call twice. */
  stop(): Promise<void>;
  kill9(): void;
}

/** Starts `command` in a group of its own, without stdin; the group never outlives this process or its leader. */
export function spawnGroup(
  command: string[],
  options: { cwd: string; env: Record<string, string | undefined> },
): ProcessGroup {
  const child = spawn('sh', ['-c', SCRIPT, 'sh', ...command], {
    ...options,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
  });
  const group = child.pid;
  if (group === undefined) throw new Error(`could not start ${command[0]}`);
  // Without its leader nobody would end the rest: wrangler that dies leaves workerd on its port.
  child.once('exit', () => signalGroup(group, 'SIGKILL'));
  return {
    child,
    stop: async () => {
      signalGroup(group, 'SIGTERM');
      const deadline = Date.now() + STOP_TIMEOUT_MS;
      while (Date.now() < deadline && isAlive(child)) await sleep(STOP_POLL_MS);
      signalGroup(group, 'SIGKILL');
      if (isAlive(child)) await new Promise((resolve) => child.once('exit', resolve));
    },
    kill9: () => signalGroup(group, 'SIGKILL'),
  };
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // All gone already.
  }
}
