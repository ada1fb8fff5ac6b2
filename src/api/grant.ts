import type { MiddlewareHandler } from 'hono';
import type { NodeId, SpaceId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';

/** What a bearer token allows. Identity comes from here, and from nowhere else. `http.md`, section 1. */
export interface Grant {
  readonly space: SpaceId;
  readonly role: 'client' | 'node' | 'admin';
  /** Whose token it is, as the issuer says; undefined: it doesn't. */
  readonly sub?: string | undefined;
  /** Set: only this node. */
  readonly node?: NodeId | undefined;
  readonly relay: boolean;
  /** When the token ends, ms since 1970; null: never. */
  readonly expiresAtMs: number | null;
  /** Entity types; undefined: all. */
  readonly types?: { readonly read?: readonly string[] | undefined; readonly write?: readonly string[] | undefined };
}

export function isAllowed(types: readonly string[] | undefined, entityType: string): boolean {
  return types === undefined || types.includes(entityType);
}

export function requireRead(grant: Grant, entityType: string): void {
  if (isAllowed(grant.types?.read, entityType)) return;
  throw new SyncError('forbidden', `the token may not read ${entityType}`);
}

export function requireWrite(grant: Grant, entityType: string): void {
  if (isAllowed(grant.types?.write, entityType)) return;
  throw new SyncError('forbidden', `the token may not write ${entityType}`);
}

export function requireRole(grant: Grant, ...roles: readonly Grant['role'][]): void {
  if (roles.includes(grant.role)) return;
  throw new SyncError('forbidden', `this is not for the role ${grant.role}`);
}

export const adminOnly: MiddlewareHandler<{ Variables: { grant: Grant } }> = async (c, next) => {
  requireRole(c.var.grant, 'admin');
  await next();
};

/** A token for one node is for no other. */
export function requireNode(grant: Grant, node: NodeId): void {
  if (grant.node === undefined || grant.node === node) return;
  throw new SyncError('forbidden', `the token is for the node ${grant.node}`);
}
