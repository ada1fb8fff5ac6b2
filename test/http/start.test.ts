import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { findFreePort, isPortFree } from '../../scripts/free-port.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const run = promisify(execFile);

test.each(['SIGINT', 'SIGTERM'] as const)(
  'npm start prints a token and a curl line that work; %s ends all of it',
  {
    timeout: 120_000,
  },
  async (signal) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
    const port = await findFreePort();
    // A group of its own, as a terminal gives it to what it runs: Ctrl-C reaches all of the group.
    const npm = spawn('npm', ['start', '--', '--port', `${port}`, '--persist-to', folder], {
      cwd: ROOT,
      env: { ...process.env, CAUSEWAY_SECRET: 'a-secret-for-tests-of-at-least-32-characters' },
      detached: true,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const group = npm.pid ?? expect.fail('npm did not start');
    onTestFinished(() => {
      if (npm.exitCode === null && npm.signalCode === null) process.kill(-group, 'SIGKILL');
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    });
    const ended = once(npm, 'close');
    const lines: string[] = [];
    for await (const line of createInterface({ input: npm.stdout })) {
      lines.push(line);
      if (line.startsWith('Ctrl-C')) break;
    }

    const url = `http://localhost:${port}`;
    expect(lines).toContain(`Causeway is ready at ${url}`);
    const token = lines[lines.findIndex((line) => line.startsWith('Token')) + 1] ?? '';
    const curl = lines.find((line) => line.startsWith('curl ')) ?? '';
    expect(curl).toContain(`${url}/v1/edge/station-1/data/`);
    const written = await run('sh', ['-c', `${curl} -w '\\n%{http_code}'`]);
    expect(written.stdout.split('\n').at(-1)).toBe('201');
    const headers = { Authorization: `Bearer ${token}` };
    const status = await fetch(`${url}/v1/edge/station-1/status`, { headers });
    expect(await status.json()).toMatchObject({ nodeId: 'station-1' });

    const started = await descendantsOf(group);
    // npm, the script, wrangler, workerd: else their end would prove nothing.
    expect(started.length).toBeGreaterThanOrEqual(4);
    process.kill(-group, signal);
    npm.stdout.resume();
    expect(await ended).toEqual([0, null]);
    // The last of them may be ending still.
    const left = async () => (await processes()).filter(({ pid }) => started.includes(pid));
    for (let tries = 0; tries < 50 && (await left()).length > 0; tries += 1) await sleep(100);
    expect(await left()).toEqual([]);
    expect(await isPortFree(port)).toBe(true);
  },
);

/** All that run, but not those that have ended and wait for their parent to notice. */
async function processes(): Promise<{ pid: number; parent: number; command: string }[]> {
  const { stdout } = await run('ps', ['-A', '-o', 'pid=,ppid=,stat=,args=']);
  return stdout.split('\n').flatMap((line) => {
    const [, pid, parent, state, command = ''] = /^ *(\d+) +(\d+) +(\S+) +(.*)$/.exec(line) ?? [];
    return pid === undefined || state?.startsWith('Z') ? [] : [{ pid: Number(pid), parent: Number(parent), command }];
  });
}

async function descendantsOf(root: number): Promise<number[]> {
  const all = await processes();
  const below = (pid: number): number[] => [
    pid,
    ...all.filter(({ parent }) => parent === pid).flatMap((child) => below(child.pid)),
  ];
  return below(root);
}
