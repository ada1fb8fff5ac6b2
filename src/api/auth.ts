import type { MiddlewareHandler } from 'hono';
import { decode, verify, verifyWithJwks } from 'hono/jwt';
import * as z from 'zod';
import { type NodeId, type SpaceId, toNodeId, toSpaceId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { BEARER_SUBPROTOCOL } from '../protocol/live-messages.ts';
import { firstIssue } from '../protocol/parse.ts';
import type { ApiBindings, ApiEnv } from './env.ts';
import type { Grant } from './grant.ts';
import { PublishedKeys } from './published-keys.ts';
import { isUpgrade, subprotocols } from './upgrade.ts';

/** Lets in who has a valid token, and notes what it allows; else 401, or 503 where there is nothing to check by. */
export const authenticate: MiddlewareHandler<ApiEnv> = async (c, next) => {
  c.set('grant', await grantOf(tokenOf(c.req.raw.headers), c.env));
  await next();
};

/** A WebSocket of a browser can't send `Authorization`, and sends the token as a subprotocol. */
function tokenOf(headers: Headers): string | undefined {
  const header = headers.get('Authorization');
  if (header !== null) return /^Bearer +([^\s]+)$/i.exec(header)?.[1];
  if (!isUpgrade(headers)) return undefined;
  const offer = subprotocols(headers).find((name) => name.startsWith(BEARER_SUBPROTOCOL));
  return offer?.slice(BEARER_SUBPROTOCOL.length);
}

/** @throws SyncError `not_configured`, `unauthenticated` */
async function grantOf(token: string | undefined, env: ApiBindings): Promise<Grant> {
  const secret = env.CAUSEWAY_SECRET;
  if (!secret) throw new SyncError('not_configured', 'CAUSEWAY_SECRET is not set');
  if (token === undefined) throw new SyncError('unauthenticated', 'send Authorization: Bearer <token>');
  const parsed = claims.safeParse(await verifiedClaims(token, secret, env.CAUSEWAY_JWKS_URL));
  if (!parsed.success) {
    throw new SyncError(
      'unauthenticated',
      `the token's claims are wrong: ${firstIssue(parsed.error, 'together').detail}`,
    );
  }
  const { space, role, sub, node, relay, types, exp } = parsed.data;
  const expiresAtMs = exp === undefined ? null : exp * 1000;
  return { space, role, sub, node, relay: relay === true, expiresAtMs, ...(types === undefined ? {} : { types }) };
}

const typeNames = z.array(z.string()).max(1_000);

const claims = z
  .object({
    space: z.custom<SpaceId>((value) => typeof value === 'string' && toSpaceId(value) !== undefined, 'a space'),
    role: z.enum(['client', 'node', 'admin']),
    sub: z.string().max(LIMITS.subjectChars).optional(),
    node: z.custom<NodeId>((value) => typeof value === 'string' && toNodeId(value) !== undefined, 'a node').optional(),
    relay: z.boolean().optional(),
    exp: z.number().optional(),
    types: z.object({ read: typeNames.optional(), write: typeNames.optional() }).optional(),
  })
  .refine(({ role, node }) => role !== 'node' || node !== undefined, 'a node needs its id in `node`');

/** The claims of a token whose signature and times are right. The algorithm is chosen by us, never by the token. */
async function verifiedClaims(token: string, secret: string, jwksUrl: string | undefined): Promise<unknown> {
  try {
    const { alg, kid } = tokenHeader.parse(decode(token).header);
    if (!jwksUrl || alg === 'HS256') return await verify(token, secret, 'HS256');
    if (kid === undefined || !PUBLIC_KEY_ALGORITHMS.some((known) => known === alg)) throw new Error('no key can fit');
    const keys = await keysAt(jwksUrl).withKey(kid, Date.now());
    return await verifyWithJwks(token, { keys, allowedAlgorithms: PUBLIC_KEY_ALGORITHMS });
  } catch (error) {
    if (error instanceof SyncError) throw error;
    throw new SyncError('unauthenticated', 'the token is not valid here, or no longer');
  }
}

const tokenHeader = z.object({ alg: z.string(), kid: z.string().optional() });
const PUBLIC_KEY_ALGORITHMS = ['ES256', 'EdDSA', 'RS256'] as const;

/** As long as this isolate lives. A deployment has one such URL. */
const publishedKeys = new Map<string, PublishedKeys>();

function keysAt(url: string): PublishedKeys {
  const keys = publishedKeys.get(url) ?? new PublishedKeys(url);
  publishedKeys.set(url, keys);
  return keys;
}
