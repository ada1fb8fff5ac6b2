import { definePolicies } from '../../src/core/define-policies.ts';
import { type EntityType, toEntityType } from '../../src/core/ids.ts';
import { isJsonObject } from '../../src/core/json.ts';
import type { Policies } from '../../src/core/policy.ts';
import type { ResolverInput, ResolverOutput } from '../../src/core/resolver.ts';
import { named } from './names.ts';

const REFUSING: readonly string[] = ['note', 'doc', 'draft', 'pair'];

/** Refuses some values. */
const schema = {
  '~standard': {
    version: 1 as const,
    vendor: 'simulation',
    validate: (value: unknown) => (isRefused(value) ? { issues: [{ message: 'not this value' }] } : { value }),
  },
};

function isRefused(record: unknown): boolean {
  if (!isJsonObject(record) || typeof record['value'] !== 'number') return false;
  // Of a pair only one half, so that the other could be taken without it.
  return record['value'] % 8 === 5 && record['half'] !== 'a';
}

/**
 * The entity types of the simulated worlds: one for each rule that decides a conflict. The one table to change when
 * there is a new rule; checkers ask the policies, and never for a name.
 */
export const policies = definePolicies({
  types: {
    note: { conflict: 'lww', onCreate: 'lww', coalesce: true },
    form: { conflict: 'lww', onDelete: 'delete-wins', coalesce: false },
    sensor: { conflict: 'lww', onDelete: 'update-wins', priority: 'high', coalesce: true },
    doc: { conflict: 'merge', coalesce: true },
    draft: { conflict: 'merge', onCreate: 'rename', coalesce: false },
    sheet: { conflict: 'custom', custom: joined, coalesce: true },
    photo: { conflict: 'custom', custom: async (conflict) => joined(conflict), coalesce: true },
    ticket: { conflict: 'custom', custom: 'node', onNode: joined, coalesce: true },
    case: { conflict: 'manual', priority: 'critical', coalesce: true },
    /** Written in pairs, by transactions. */
    pair: { conflict: 'lww', onCreate: 'lww', coalesce: true },
    /** Created once, and then only incremented. */
    tally: { conflict: 'merge', coalesce: true },
  },
});

/** The cloud's own: it refuses what its nodes don't know to be wrong. */
export const cloudPolicies: Policies = {
  ...policies,
  types: Object.fromEntries(
    Object.entries(policies.types).map(([type, policy]) => [
      type,
      REFUSING.includes(type) ? { ...policy, schema } : policy,
    ]),
  ),
};

/** Those that are written in every way. */
export const FREE_TYPES: readonly [EntityType, ...EntityType[]] = [
  typed('note'),
  ...['form', 'sensor', 'doc', 'draft', 'sheet', 'photo', 'ticket', 'case'].map(typed),
];

export const TALLY: EntityType = typed('tally');

export const PAIR: EntityType = typed('pair');

/** What both have, and of what both changed the newer. */
function joined({ local, remote }: ResolverInput): ResolverOutput {
  const [older, newer] = remote.stamp > local.stamp ? [local, remote] : [remote, local];
  return { winner: 'merged', resolvedData: { ...older.data, ...newer.data }, metadata: { reason: 'both' } };
}

function typed(name: string): EntityType {
  return named(toEntityType(name));
}
