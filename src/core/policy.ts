import type { Priority } from './change.ts';
import type { ConsistencyLevel } from './consistency.ts';
import type { JsonValue } from './json.ts';
import type { RecordSchema } from './record-schema.ts';
import type { Resolver } from './resolver.ts';

export const CONFLICT_RULES = ['lww', 'merge', 'custom', 'manual'] as const;
export type ConflictRule = (typeof CONFLICT_RULES)[number];

export const DELETE_RULES = ['latest', 'delete-wins', 'update-wins'] as const;
export type DeleteRule = (typeof DELETE_RULES)[number];

export const CREATE_RULES = ['merge', 'rename', 'lww'] as const;
export type CreateRule = (typeof CREATE_RULES)[number];

/** What one entity type wants. `design.md`, section 5. */
export interface Policy {
  /** Where it stands in the policies file: the entity type, or {@link DEFAULT_ENTRY}. */
  readonly entry: string;
  readonly consistency: ConsistencyLevel;
  /** The staleness that an eventual read accepts; undefined: any. */
  readonly maxStalenessMs?: number | undefined;
  /** How many replicas hold a write before it is answered, and answer a read; undefined: one. */
  readonly writeQuorum?: number | undefined;
  readonly readQuorum?: number | undefined;
  /** Both sides updated. */
  readonly conflict: ConflictRule;
  /** With `conflict: 'custom'`: who decides, a function in the cloud or the node that pushed. */
  readonly custom?: Resolver | 'node' | undefined;
  /** With `custom: 'node'`: by what edge nodes resolve. Clients bring their own. */
  readonly onNode?: Resolver | undefined;
  /** One side deleted, the other updated. */
  readonly onDelete: DeleteRule;
  /** Both sides created. */
  readonly onCreate: CreateRule;
  readonly priority: Priority;
  /** Whether changes of one record that wait together may be sent as one. */
  readonly coalesce: boolean;
  /** A Standard Schema of the record (zod makes them); synchronous ones only. */
  readonly schema?: RecordSchema | undefined;
}

/** Replicas that a policy or a request may ask for. */
export const MAX_QUORUM = 16;

/** No entity type can be called so. */
export const DEFAULT_ENTRY = '(default)';

/** `Records` and `Default` say what the records of each type are, where schemas tell it; they exist for tsc alone. */
export interface Policies<Records = unknown, Default = unknown> {
  readonly types: Readonly<Record<string, Policy>>;
  /** For every type that isn't named. */
  readonly default: Policy;
  readonly [recordTypes]?: { readonly named: Records; readonly other: Default };
}

declare const recordTypes: unique symbol;

/** What a record of an entity type is: `RecordOf<typeof policies, 'user-config'>`. */
export type RecordOf<P extends Policies, EntityType extends string> =
  P extends Policies<infer Records, infer Default>
    ? EntityType extends keyof Records
      ? Records[EntityType]
      : Default
    : never;

export function policyFor(policies: Policies, entityType: string): Policy {
  return (Object.hasOwn(policies.types, entityType) ? policies.types[entityType] : undefined) ?? policies.default;
}

/** What of the policies is data, and can be told to a node. */
export function describePolicies(policies: Policies): JsonValue {
  const types = Object.entries(policies.types).map(([type, policy]) => [type, describe(policy)]);
  return { types: Object.fromEntries(types), default: describe(policies.default) };
}

/** A function in `custom` isn't data either; the conversion drops it. */
function describe({ entry: _, schema: __, ...policy }: Policy): JsonValue {
  return JSON.parse(JSON.stringify(policy));
}

/** What of the policies will not do what its author may think, in words for the status of a node. */
export function policyWarnings(policies: Policies): string[] {
  return [...Object.values(policies.types), policies.default]
    .filter(({ custom, onNode }) => custom === 'node' && onNode === undefined)
    .map(({ entry }) => `${entry}: edge nodes have no 'onNode' to resolve conflicts by; people will have to`);
}
