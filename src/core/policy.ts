import type { Priority } from './change.ts';
import type { ConsistencyLevel } from './consistency.ts';
import type { JsonValue } from './json.ts';
import type { Resolver } from './resolver.ts';

export type ConflictRule = 'lww' | 'merge' | 'custom' | 'manual';
export type DeleteRule = 'latest' | 'delete-wins' | 'update-wins';
export type CreateRule = 'merge' | 'rename' | 'lww';

/** What one entity type wants. `design.md`, section 5. */
export interface Policy {
  readonly consistency: ConsistencyLevel;
  /** The staleness that an eventual read accepts; undefined: any. */
  readonly maxStalenessMs?: number | undefined;
  /** Both sides updated. */
  readonly conflict: ConflictRule;
  /** One side deleted, the other updated. */
  readonly onDelete: DeleteRule;
  /** Both sides created. */
  readonly onCreate: CreateRule;
  readonly priority: Priority;
  /** A Standard Schema of the record (zod makes them); synchronous ones only. */
  readonly schema?: RecordSchema | undefined;
  readonly custom?: Resolver | 'node' | undefined;
  /** With `custom: 'node'`: by which an edge node resolves. */
  readonly onNode?: Resolver | undefined;
}

/** The part of Standard Schema v1 (standardschema.dev) that policies use. */
export interface RecordSchema {
  readonly '~standard': {
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
  };
}

type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] };

export interface Policies {
  readonly types: Readonly<Record<string, Policy>>;
  /** For every type that isn't named. */
  readonly default: Policy;
}

/** The policies of a deployment, from what its author left open filled in with the defaults. */
export function definePolicies(given: {
  readonly types: Readonly<Record<string, Partial<Policy>>>;
  readonly default?: Partial<Policy>;
}): Policies {
  const fallback = { ...DEFAULT_POLICY, ...given.default };
  const types = Object.entries(given.types).map(([type, policy]) => [type, { ...DEFAULT_POLICY, ...policy }] as const);
  return { types: Object.fromEntries(types), default: fallback };
}

const DEFAULT_POLICY: Policy = {
  consistency: 'eventual',
  conflict: 'lww',
  onDelete: 'latest',
  onCreate: 'merge',
  priority: 'normal',
};

export function policyFor(policies: Policies, entityType: string): Policy {
  return (Object.hasOwn(policies.types, entityType) ? policies.types[entityType] : undefined) ?? policies.default;
}

/** What of the policies is data, and can be told to a node. */
export function describePolicies(policies: Policies): JsonValue {
  const types = Object.entries(policies.types).map(([type, policy]) => [type, describe(policy)]);
  return { types: Object.fromEntries(types), default: describe(policies.default) };
}

function describe({ schema: _, ...policy }: Policy): JsonValue {
  return JSON.parse(JSON.stringify(policy));
}

/** Rules that a policy names and this version decides by another one, in words for the status of a node. */
export function policyWarnings(policies: Policies): string[] {
  return Object.entries({ ...policies.types, '(default)': policies.default }).flatMap(([type, policy]) => [
    ...(policy.conflict === 'lww' ? [] : [`${type}: conflict rule '${policy.conflict}' is decided by 'lww'`]),
    ...(policy.onCreate === 'lww' ? [] : [`${type}: create rule '${policy.onCreate}' is decided by 'lww'`]),
  ]);
}

/** The issues of a record under its type's schema; none where it is valid or there is no schema. */
export function schemaIssues(policy: Policy, data: unknown): readonly { path: string; message: string }[] {
  if (policy.schema === undefined) return [];
  const result = policy.schema['~standard'].validate(data);
  if (result instanceof Promise) throw new Error('a policy schema must be synchronous');
  return (result.issues ?? []).map(({ message, path }) => ({ path: (path ?? []).map(segment).join('.'), message }));
}

function segment(part: unknown): string {
  return typeof part === 'object' && part !== null && 'key' in part ? String(part.key) : String(part);
}
