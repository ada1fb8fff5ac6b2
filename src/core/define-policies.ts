import { PRIORITIES } from './change.ts';
import { CONSISTENCY_LEVELS } from './consistency.ts';
import { toEntityType } from './ids.ts';
import { isJsonObject, type JsonObject } from './json.ts';
import {
  CONFLICT_RULES,
  CREATE_RULES,
  DEFAULT_ENTRY,
  DELETE_RULES,
  MAX_QUORUM,
  type Policies,
  type Policy,
} from './policy.ts';
import { isRecordSchema, type RecordSchema } from './record-schema.ts';
import type { Resolver } from './resolver.ts';

/** What the author of a deployment says. `Schemas`: what the schema of each type tells of its records. */
export interface PoliciesGiven<Schemas, DefaultSchema> {
  readonly types: { readonly [EntityType in keyof Schemas]: PolicyGiven<Schemas[EntityType]> };
  /** For every type that isn't named. A type that is named takes nothing from it. */
  readonly default?: PolicyGiven<DefaultSchema> | undefined;
}

/** One entry: what it leaves open gets its default. */
export type PolicyGiven<Schema> = {
  readonly [Field in keyof Omit<Policy, 'entry' | 'custom' | 'onNode' | 'schema'>]?: Policy[Field] | undefined;
} & {
  readonly custom?: Resolver<RecordUnder<Schema>> | 'node' | undefined;
  readonly onNode?: Resolver<RecordUnder<Schema>> | undefined;
  readonly schema?: RecordSchema<Schema> | undefined;
};

/** Without a schema a record may be any JSON object. */
type RecordUnder<Schema> = unknown extends Schema ? JsonObject : Schema;

/** The policies can't be what their author meant; the message names each entry, and what it may be. */
export class PolicyError extends Error {
  override readonly name = 'PolicyError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(`the policies are not valid:\n${problems.map((problem) => `- ${problem}`).join('\n')}`);
    this.problems = problems;
  }
}

/**
 * The policies of a deployment: what their author left open is filled in with the defaults. Resolvers are typed by the
 * schemas of their types, and so is `RecordOf` of the result.
 *
 * @throws PolicyError with all problems at once.
 */
export function definePolicies<Schemas extends Readonly<Record<string, unknown>>, DefaultSchema = unknown>(
  given: PoliciesGiven<Schemas, DefaultSchema>,
): Policies<{ readonly [EntityType in keyof Schemas]: RecordUnder<Schemas[EntityType]> }, RecordUnder<DefaultSchema>>;
export function definePolicies(given: PoliciesGiven<Record<string, unknown>, unknown>): Policies {
  const problems = problemsOf(given);
  if (problems.length > 0) throw new PolicyError(problems);
  const types = Object.entries(given.types).map(([type, policy]) => [type, complete(type, policy)] as const);
  return { types: Object.fromEntries(types), default: complete(DEFAULT_ENTRY, given.default ?? {}) };
}

const DEFAULTS = {
  consistency: 'eventual',
  conflict: 'lww',
  onDelete: 'latest',
  onCreate: 'merge',
  priority: 'normal',
  coalesce: true,
} as const satisfies Partial<Policy>;

function complete(entry: string, given: PolicyGiven<unknown>): Policy {
  return {
    entry,
    consistency: given.consistency ?? DEFAULTS.consistency,
    maxStalenessMs: given.maxStalenessMs,
    writeQuorum: given.writeQuorum,
    readQuorum: given.readQuorum,
    conflict: given.conflict ?? DEFAULTS.conflict,
    custom: given.custom,
    onNode: given.onNode,
    onDelete: given.onDelete ?? DEFAULTS.onDelete,
    onCreate: given.onCreate ?? DEFAULTS.onCreate,
    priority: given.priority ?? DEFAULTS.priority,
    coalesce: given.coalesce ?? DEFAULTS.coalesce,
    schema: given.schema,
  };
}

// Checking. What comes in may be of any shape: not everybody runs tsc before the start.

function problemsOf(given: unknown): string[] {
  if (!isJsonObject(given)) return [`the policies are ${shown(given)}; they must be an object with types and default`];
  const { types, default: fallback, ...others } = given;
  return [
    ...Object.keys(others).map((key) => `there is no part '${key}'; the parts are types and default`),
    ...(isJsonObject(types)
      ? Object.entries(types).flatMap(([type, policy]) => [...nameProblems(type), ...entryProblems(type, policy)])
      : [`types is ${shown(types)}; it must be an object of entries by entity type`]),
    ...(fallback === undefined ? [] : entryProblems(DEFAULT_ENTRY, fallback)),
  ];
}

function nameProblems(type: string): string[] {
  if (toEntityType(type) !== undefined) return [];
  return [`'${type}' can not name an entity type; that is a letter or digit, then up to 127 of A-Za-z0-9._~:@-`];
}

function entryProblems(entry: string, given: unknown): string[] {
  if (!isJsonObject(given))
    return [`${entry} is ${shown(given)}; an entry must be an object with some of ${FIELD_NAMES}`];
  const ownProblems = Object.entries(given).flatMap(([field, value]) => fieldProblems(entry, field, value));
  return [...ownProblems, ...contradictions(entry, given)];
}

function fieldProblems(entry: string, field: string, value: unknown): string[] {
  const [, rule] = Object.entries(FIELDS).find(([name]) => name === field) ?? [];
  if (rule === undefined) return [`${entry}: there is no field '${field}'; the fields are ${FIELD_NAMES}`];
  return value === undefined || rule.allows(value)
    ? []
    : [`${entry}: ${field} is ${shown(value)}; it may be ${rule.what}`];
}

/** Fields that are right each by itself, and not beside each other. */
function contradictions(entry: string, given: { readonly [Field in keyof Policy]?: unknown }): string[] {
  const { consistency = DEFAULTS.consistency, conflict = DEFAULTS.conflict, maxStalenessMs, custom, onNode } = given;
  const problems: string[] = [];
  if (maxStalenessMs !== undefined && consistency !== 'eventual') {
    problems.push(`${entry}: maxStalenessMs needs consistency 'eventual', and that is ${shown(consistency)}`);
  }
  if (conflict === 'custom' && custom === undefined) {
    problems.push(`${entry}: conflict 'custom' needs custom, ${FIELDS.custom.what}`);
  }
  if (conflict !== 'custom' && custom !== undefined) {
    problems.push(`${entry}: custom needs conflict 'custom', and that is ${shown(conflict)}`);
  }
  if (onNode !== undefined && custom !== 'node') {
    problems.push(`${entry}: onNode needs custom 'node', and that is ${shown(custom)}`);
  }
  return problems;
}

interface FieldRule {
  readonly what: string;
  readonly allows: (value: unknown) => boolean;
}

const QUORUM: FieldRule = {
  what: `a number of replicas from 1 to ${MAX_QUORUM}`,
  allows: (value) => typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= MAX_QUORUM,
};

const FIELDS: { readonly [Field in keyof Omit<Policy, 'entry'>]-?: FieldRule } = {
  consistency: oneOf(CONSISTENCY_LEVELS),
  maxStalenessMs: {
    what: 'a whole number of milliseconds from 1',
    allows: (value) => typeof value === 'number' && Number.isSafeInteger(value) && value > 0,
  },
  writeQuorum: QUORUM,
  readQuorum: QUORUM,
  conflict: oneOf(CONFLICT_RULES),
  custom: {
    what: "a function or 'node'",
    allows: (value) => typeof value === 'function' || value === 'node',
  },
  onNode: { what: 'a function', allows: (value) => typeof value === 'function' },
  onDelete: oneOf(DELETE_RULES),
  onCreate: oneOf(CREATE_RULES),
  priority: oneOf(PRIORITIES),
  coalesce: { what: 'true or false', allows: (value) => typeof value === 'boolean' },
  schema: { what: 'a Standard Schema of version 1, such as zod makes', allows: isRecordSchema },
};

const FIELD_NAMES = Object.keys(FIELDS).join(', ');

function oneOf(names: readonly string[]): FieldRule {
  return {
    what: names.map((name) => `'${name}'`).join(', '),
    allows: (value) => names.some((name) => name === value),
  };
}

/** A value as an author would recognize it. */
function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  return typeof value === 'function' ? 'a function' : String(value);
}
