import type { MiddlewareHandler } from 'hono';
import { decode, verify, verifyWithJwks } from 'hono/jwt';
import * as z from 'zod';
import { type NodeId, type SpaceId, toNodeId, toSpaceId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ApiBindings, ApiEnv } from './env.ts';
import type { Grant } from './grant.ts';

/** Lets in who has a valid token, and notes what it allows; else 401, or 503 where there is nothing to check by. */
export const authenticate: MiddlewareHandler<ApiEnv> = async (c, next) => {
  const header = c.req.header('Authorization');
  const token = header === undefined ? undefined : /^Bearer +([^\s]+)$/i.exec(header)?.[1];
  c.set('grant', await grantOf(token, c.env));
  await next();
};

/** @throws SyncError `not_configured`, `unauthenticated` */
async function grantOf(token: string | undefined, env: ApiBindings): Promise<Grant> {
  const secret = env.CAUSEWAY_SECRET;
  if (!secret) throw new SyncError('not_configured', 'CAUSEWAY_SECRET is not set');
  if (token === undefined) throw new SyncError('unauthenticated', 'send Authorization: Bearer <token>');
  const parsed = claims.safeParse(await verifiedClaims(token, secret, env.CAUSEWAY_JWKS_URL));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new SyncError('unauthenticated', `the token's claims are wrong: ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const { space, role, sub, node, relay, types } = parsed.data;
  return { space, role, sub, node, relay: relay === true, ...(types === undefined ? {} : { types }) };
}

const typeNames = z.array(z.string()).max(1_000);

const claims = z
  .object({
    space: z.custom<SpaceId>((value) => typeof value === 'string' && toSpaceId(value) !== undefined, 'a space'),
    role: z.enum(['client', 'node', 'admin']),
    sub: z.string().max(LIMITS.subjectChars).optional(),
    node: z.custom<NodeId>((value) => typeof value === 'string' && toNodeId(value) !== undefined, 'a node').optional(),
    relay: z.boolean().optional(),
    types: z.object({ read: typeNames.optional(), write: typeNames.optional() }).optional(),
  })
  .refine(({ role, node }) => role !== 'node' || node !== undefined, 'a node needs its id in `node`');

/** The claims of a token whose signature and times are right. The algorithm is chosen by us, never by the token. */
async function verifiedClaims(token: string, secret: string, jwksUrl: string | undefined): Promise<unknown> {
  try {
    if (jwksUrl && decode(token).header.alg !== 'HS256') {
      return await verifyWithJwks(token, { jwks_uri: jwksUrl, allowedAlgorithms: ['ES256', 'EdDSA', 'RS256'] });
    }
    return await verify(token, secret, 'HS256');
  } catch {
    throw new SyncError('unauthenticated', 'the token is not valid here, or no longer');
  }
}
