import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { verify } from 'hono/jwt';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { signAccessToken } from '../../scripts/access-token.ts';
import { ensureSecret } from '../../scripts/secrets.ts';
import { parseTokenArgs } from '../../scripts/token.ts';

describe('ensureSecret', () => {
  let directory: string;
  const file = () => path.join(directory, '.dev.vars');
  beforeEach(() => {
    directory = mkdtempSync(path.join(tmpdir(), 'causeway-test-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('makes a private file with 256 random bits, once', () => {
    const secret = ensureSecret(directory, {});
    expect(secret).toMatch(/^[\w-]{43}$/);
    expect(readFileSync(file(), 'utf8')).toBe(`CAUSEWAY_SECRET="${secret}"\n`);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(ensureSecret(directory, {})).toBe(secret);
  });

  test('appends to a file without the key and keeps the rest', () => {
    writeFileSync(file(), '# mine\nCLOUD_URL=http://localhost:1');
    const secret = ensureSecret(directory, {});
    expect(readFileSync(file(), 'utf8')).toBe(`# mine\nCLOUD_URL=http://localhost:1\nCAUSEWAY_SECRET="${secret}"\n`);
  });

  test('takes that of the environment and then makes no file', () => {
    expect(ensureSecret(directory, { CAUSEWAY_SECRET: 'given' })).toBe('given');
    expect(() => statSync(file())).toThrow();
  });
});

describe('token', () => {
  test('carries the claims of the contract and is signed with HS256', async () => {
    const { grant, ttlSeconds } = parseTokenArgs(
      '--space demo --role node --node n1 --types-read a,b --types-write a --relay --ttl 60'.split(' '),
    );
    const nowMs = Date.now();
    const token = await signAccessToken(grant, { secret: 'secret', ttlSeconds, nowMs });
    const iat = Math.floor(nowMs / 1000);
    expect(await verify(token, 'secret', 'HS256')).toEqual({
      space: 'demo',
      role: 'node',
      sub: 'n1',
      node: 'n1',
      relay: true,
      types: { read: ['a', 'b'], write: ['a'] },
      iat,
      exp: iat + 60,
    });
  });

  test('leaves out what is not given', () => {
    expect(parseTokenArgs(['--space', 's', '--role', 'client'])).toEqual({
      grant: { space: 's', role: 'client', sub: 'local-client' },
      ttlSeconds: 3600,
    });
  });

  test.each([
    ['--role client', '--space is missing'],
    ['--space a/b --role client', '--space a/b is not a space'],
    ['--space s', '--role must be one of client, node, admin'],
    ['--space s --role root', '--role must be one of client, node, admin'],
    ['--space s --role node', '--role node needs --node'],
    ['--space s --role node --node cloud', '--node cloud is not a node id'],
    ['--space s --role client --relay', '--relay is for --role node only'],
    ['--space s --role client --ttl soon', '--ttl must be a whole number of seconds'],
  ])('%s: %s', (line, message) => {
    expect(() => parseTokenArgs(line.split(' '))).toThrow(message);
  });
});
