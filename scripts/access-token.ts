import { sign } from 'hono/jwt';

export const ROLES = ['client', 'node', 'admin'] as const;
type Role = (typeof ROLES)[number];

/** What a token allows; the claims of the HTTP contract. */
export interface Grant {
  space: string;
  role: Role;
  sub: string;
  /** The only node it speaks for; required for the role `node`. */
  node?: string;
  /** Entity types it may read and write; a missing list means all. */
  types?: { read?: string[]; write?: string[] };
  /** A node's token: may carry the changes of nodes below it. */
  relay?: boolean;
}

/** Signs a JWT (HS256) for `grant`, valid from `nowMs` for `ttlSeconds`. */
export function signAccessToken(
  grant: Grant,
  options: { secret: string; ttlSeconds: number; nowMs?: number },
): Promise<string> {
  const iat = Math.floor((options.nowMs ?? Date.now()) / 1000);
  return sign({ ...grant, iat, exp: iat + options.ttlSeconds }, options.secret, 'HS256');
}
