import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { startServer } from '../../scripts/local-server.ts';

const DEMO = path.resolve(import.meta.dirname, '../../scripts/demo.ts');
const run = promisify(execFile);

test('the demo plays to its end: all replicas agree, and no write is lost', { timeout: 120_000 }, async () => {
  const temporary = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(temporary, { recursive: true }));
  const env = { ...process.env, TMPDIR: temporary };
  // Rejects where the exit code isn't 0, with all that was printed.
  const { stdout, stderr } = await run(process.execPath, [DEMO, '--rows', '200'], { env });

  expect(stderr).toBe('');
  const digests = ['station-seattle', 'station-newyork', 'reader', 'cloud', 'D1'].map(
    (replica) => new RegExp(`│ ${replica} +│ +390 │[^│]+│ ([0-9a-f]{32}) │`).exec(stdout)?.[1],
  );
  expect(digests[0]).toMatch(/^[0-9a-f]{32}$/);
  expect(new Set(digests).size).toBe(1);
  expect(stdout).toContain('503 cloud_unavailable');
  expect(stdout).toContain('Conflicts: 25. station-seattle won 12, station-newyork won 13.');
  expect(stdout).toContain('none of the 476 acknowledged writes was lost');
  expect(stdout).not.toContain('FAILED');
  expect(readdirSync(temporary)).toEqual([]);
});

test('over a link that comes and goes nothing is lost either, and each plan is told with what it took', {
  timeout: 120_000,
}, async () => {
  const temporary = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(temporary, { recursive: true }));
  const env = { ...process.env, TMPDIR: temporary };
  const { stdout, stderr } = await run(process.execPath, [DEMO, '--scenario', 'flaky', '--rows', '28'], { env });

  expect(stderr).toBe('');
  const rows = stdout.split('\n').map((line) => line.split('│').map((cell) => cell.trim()));
  const costOf = (plan: string) =>
    rows
      .find((row) => row[2] === plan)
      ?.slice(3, 6)
      .map(Number) ?? [];
  expect(costOf('each at once')).toEqual([56, 56, 56]);
  expect(costOf('-')).toEqual([8, 0, 0]);
  // What goes into a later write is not sent, and what goes together shares a round trip.
  const [writes, sent = 0, roundTrips = 0] = costOf('as above');
  expect([writes, sent < 56, roundTrips > 0 && roundTrips < sent]).toEqual([56, true, true]);
  expect(stdout).toMatch(/^normal, \d+ at most$/m);
  expect(stdout).toContain('none of the 112 acknowledged writes was lost');
  expect(stdout).not.toContain('FAILED');
  expect(readdirSync(temporary)).toEqual([]);
});

test('Ctrl-C, which npm makes two signals of, leaves nothing behind', { timeout: 120_000 }, async () => {
  const temporary = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(temporary, { recursive: true }));
  const demo = spawn(process.execPath, [DEMO], {
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => {
    demo.kill('SIGKILL');
  });
  const ended = once(demo, 'exit');
  let printed = '';
  demo.stdout.setEncoding('utf8').on('data', (text: string) => {
    const before = printed;
    printed += text;
    // The second comes while it cleans up, so that the two can't become one on their way.
    for (const line of ['The server is ', 'Interrupted']) {
      if (!before.includes(line) && printed.includes(line)) demo.kill('SIGINT');
    }
  });
  expect(await ended).toEqual([130, null]);
  expect(readdirSync(temporary)).toEqual([]);
});

test('two demos at once on one running server, and a third after them, all end well', {
  timeout: 240_000,
}, async () => {
  const state = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  onTestFinished(() => rmSync(state, { recursive: true }));
  const secret = 'a-secret-for-tests-of-at-least-32-characters';
  const server = await startServer({ port: 0, persistTo: state, secret });
  onTestFinished(() => server.stop());
  const token = await signAccessToken({ space: 'shared', role: 'admin', sub: 'test' }, { secret, ttlSeconds: 3_600 });
  const play = () => run(process.execPath, [DEMO, '--rows', '100', '--url', server.url, '--token', token]);

  for (const { stdout } of [...(await Promise.all([play(), play()])), await play()]) {
    expect(stdout).toContain('none of the 276 acknowledged writes was lost');
    expect(stdout).toMatch(/Conflicts: 25\. station-seattle-[0-9a-f]{8} won 12, /);
    expect(stdout).not.toContain('FAILED');
  }
});

test.each([
  ['--rows 10', '--rows must be a number from 100 on'],
  ['--url http://localhost:1', '--url and --token go together'],
  ['--scenario bogus', 'there is no scenario bogus, only stations and flaky'],
  ['--scenario flaky --rows 6', '--rows must be a number from 7 on'],
  ['--bogus', "Unknown option '--bogus'"],
])('%s: exit 1 and a line that says why', async (line, message) => {
  const failure: unknown = await run(process.execPath, [DEMO, ...line.split(' ')]).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 1, stdout: '', stderr: expect.stringContaining(message) });
});
