import type { Priority } from '../core/change.ts';
import type { Operation } from '../core/delta.ts';
import type { EntityId, EntityType } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import type { Precondition } from '../core/precondition.ts';

/** What a caller wants done to one entity. */
export type Write = { readonly entityType: EntityType; readonly entityId: EntityId } & WriteContent & WriteOptions;

export type WriteContent<Data = JsonObject> =
  | { readonly kind: 'put'; readonly data: Data }
  | { readonly kind: 'patch'; readonly operations: readonly Operation[] }
  | { readonly kind: 'merge-patch'; readonly patch: JsonObject }
  | { readonly kind: 'delete' };

export interface WriteOptions extends Precondition {
  readonly priority?: Priority | undefined;
  /** False: the write is sent as a step of its own, whatever the policy says. */
  readonly coalesce?: boolean | undefined;
}

/** How a write is known again that its caller repeats. Shape: texts of 32 hex digits. */
export interface Once {
  readonly key: string;
  /** Of what is asked for: under one key it has to be the same. */
  readonly hash: string;
}

/** What a write did. */
export interface Written {
  readonly changeId: string;
  readonly version: string;
  readonly created: boolean;
  /** The record after the write; null: deleted. */
  readonly data: JsonObject | null;
}
