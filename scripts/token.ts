import path from 'node:path';
import { parseArgs } from 'node:util';
import { toNodeId, toSpaceId } from '../src/core/ids.ts';
import { type Grant, ROLES, signAccessToken } from './access-token.ts';
import { ensureSecret } from './secrets.ts';

const USAGE =
  'usage: npm run token -- --space S --role client|node|admin [--node N] [--types-read a,b] [--types-write a,b] [--relay] [--sub NAME] [--ttl SECONDS]';

/** Turns the command line into a grant; throws an error whose message is the one line to show. */
export function parseTokenArgs(args: string[]): { grant: Grant; ttlSeconds: number } {
  const { values } = parseArgs({
    args,
    options: {
      space: { type: 'string' },
      role: { type: 'string' },
      node: { type: 'string' },
      sub: { type: 'string' },
      'types-read': { type: 'string' },
      'types-write': { type: 'string' },
      relay: { type: 'boolean' },
      ttl: { type: 'string', default: '3600' },
    },
  });
  const role = ROLES.find((candidate) => candidate === values.role);
  if (values.space === undefined || values.space === '') throw new Error('--space is missing');
  if (toSpaceId(values.space) === undefined) {
    throw new Error(`--space ${values.space} is not a space: a letter or digit, then up to 63 of A-Za-z0-9._-`);
  }
  if (role === undefined) throw new Error(`--role must be one of ${ROLES.join(', ')}`);
  if (role === 'node' && values.node === undefined) throw new Error('--role node needs --node');
  if (values.node !== undefined && toNodeId(values.node) === undefined) {
    throw new Error(`--node ${values.node} is not a node id`);
  }
  if (values.relay === true && role !== 'node') throw new Error('--relay is for --role node only');
  const ttlSeconds = Number(values.ttl);
  if (!Number.isSafeInteger(ttlSeconds) || ttlSeconds < 1) throw new Error('--ttl must be a whole number of seconds');

  const grant: Grant = { space: values.space, role, sub: values.sub ?? values.node ?? `local-${role}` };
  if (values.node !== undefined) grant.node = values.node;
  if (values.relay === true) grant.relay = true;
  const read = list(values['types-read']);
  const write = list(values['types-write']);
  if (read !== undefined || write !== undefined) {
    grant.types = { ...(read && { read }), ...(write && { write }) };
  }
  return { grant, ttlSeconds };
}

function list(value: string | undefined): string[] | undefined {
  return value?.split(',').filter((item) => item !== '');
}

if (import.meta.main) {
  try {
    const { grant, ttlSeconds } = parseTokenArgs(process.argv.slice(2));
    const secret = ensureSecret(path.resolve(import.meta.dirname, '..'));
    console.log(await signAccessToken(grant, { secret, ttlSeconds }));
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
    process.exitCode = 1;
  }
}
