import { assertNever } from './assert.ts';
import { compareStamps, type Stamp } from './hlc.ts';
import type { JsonObject } from './json.ts';
import type { Policy } from './policy.ts';

/** One side of a conflict: what it wrote (`null`: it deleted) and when. */
export interface Side {
  readonly data: JsonObject | null;
  readonly stamp: Stamp;
}

export type ConflictKind = 'update-update' | 'delete-update' | 'create-create';

/**
 * What was decided, by which rule, and why. `local` is the cloud's side, `remote` the incoming one, `merged` what is
 * neither side's alone.
 */
export interface Resolution {
  readonly winner: 'local' | 'remote' | 'merged';
  readonly resolvedData: JsonObject | null;
  readonly metadata: { readonly strategy: string; readonly reason: string };
}

/**
 * Decides between two concurrent writes of one entity. Pure, and independent of which side arrived first: swapping the
 * sides swaps `winner` and nothing else. `design.md`, section 5.
 */
export function resolve(kind: ConflictKind, local: Side, remote: Side, policy: Policy): Resolution {
  switch (kind) {
    case 'update-update':
    case 'create-create':
      return latest(local, remote, 'lww');
    case 'delete-update':
      return resolveDelete(local, remote, policy);
    default:
      return assertNever(kind);
  }
}

/** The kind of conflict between a version and a change that hasn't seen it; undefined for two deletes. */
export function conflictKind(
  current: JsonObject | null,
  operation: 'create' | 'update' | 'delete',
): ConflictKind | undefined {
  if (current === null) return operation === 'delete' ? undefined : 'delete-update';
  if (operation === 'delete') return 'delete-update';
  return operation === 'create' ? 'create-create' : 'update-update';
}

function resolveDelete(local: Side, remote: Side, policy: Policy): Resolution {
  const deleted = local.data === null ? 'local' : 'remote';
  const updated = deleted === 'local' ? 'remote' : 'local';
  switch (policy.onDelete) {
    case 'latest':
      return latest(local, remote, 'latest');
    case 'delete-wins':
      return decided(deleted, local, remote, 'delete-wins', 'a delete wins over an update by policy');
    case 'update-wins':
      return decided(updated, local, remote, 'update-wins', 'an update wins over a delete by policy');
    default:
      return assertNever(policy.onDelete);
  }
}

function latest(local: Side, remote: Side, strategy: string): Resolution {
  const winner = compareStamps(remote.stamp, local.stamp) > 0 ? 'remote' : 'local';
  const [later, earlier] = winner === 'remote' ? [remote, local] : [local, remote];
  return decided(winner, local, remote, strategy, `${later.stamp} is later than ${earlier.stamp}`);
}

function decided(winner: 'local' | 'remote', local: Side, remote: Side, strategy: string, reason: string): Resolution {
  return {
    winner,
    resolvedData: winner === 'local' ? local.data : remote.data,
    metadata: { strategy, reason },
  };
}
