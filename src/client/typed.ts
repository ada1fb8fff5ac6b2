import type { JsonObject } from '../core/json.ts';
import type { Policies, RecordOf } from '../core/policy.ts';
import type { Resolver } from '../core/resolver.ts';
import type { WriteContent } from '../sync/write.ts';

/** Records of any type, of which nothing more is known than that they are JSON. */
export type AnyRecords = Policies<Readonly<Record<string, JsonObject>>, JsonObject>;

/** The entity types that policies name. */
export type TypeName<P extends Policies> = P extends Policies<infer Records, unknown> ? keyof Records & string : never;

/** What a reader of a client gets. */
export interface ClientRecord<Data = JsonObject> {
  readonly entityType: string;
  readonly entityId: string;
  readonly data: Data;
  readonly version: string;
  /** Whether the cloud has all of it. */
  readonly synced: boolean;
}

/** What became of a record that the client shows; of some types, or of any. */
export type RecordChange<P extends Policies = AnyRecords, T extends TypeName<P> = TypeName<P>> = T extends unknown
  ? { readonly entityType: T; readonly entityId: string } & (
      | { readonly operation: 'create' | 'update'; readonly data: RecordOf<P, T>; readonly version: string }
      /** Version null: nothing deleted it; a create was taken back, or the record isn't for this node any more. */
      | { readonly operation: 'delete'; readonly version: string | null }
    )
  : never;

/** One write of a transaction. */
export type TransactionWrite<P extends Policies = AnyRecords, T extends TypeName<P> = TypeName<P>> = T extends unknown
  ? { readonly entityType: T; readonly entityId: string } & WriteContent<RecordOf<P, T>>
  : never;

/** Decides conflicts of one type. */
export type ResolverOf<P extends Policies, T extends TypeName<P>> = Resolver<RecordOf<P, T>>;

/**
 * What is known of a value by the policies: their schemas are checked where a record is written, and not again here, where
 * the policies themselves are not.
 */
export function asTyped<T>(value: unknown): T {
  return value as T;
}
