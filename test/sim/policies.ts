import { definePolicies } from '../../src/core/define-policies.ts';
import { type EntityType, toEntityType } from '../../src/core/ids.ts';
import type { ResolverInput, ResolverOutput } from '../../src/core/resolver.ts';
import { named } from './names.ts';

/**
 * The entity types of the simulated worlds: one for each rule that decides a conflict. The one table to change when
 * there is a new rule; checkers ask the policies, and never for a name.
 */
export const policies = definePolicies({
  types: {
    note: { conflict: 'lww', onCreate: 'lww' },
    form: { conflict: 'lww', onDelete: 'delete-wins' },
    sensor: { conflict: 'lww', onDelete: 'update-wins', priority: 'high' },
    doc: { conflict: 'merge' },
    draft: { conflict: 'merge', onCreate: 'rename' },
    sheet: { conflict: 'custom', custom: joined },
    photo: { conflict: 'custom', custom: async (conflict) => joined(conflict) },
    ticket: { conflict: 'custom', custom: 'node', onNode: joined },
    case: { conflict: 'manual', priority: 'critical' },
    /** Created once, and then only incremented. */
    tally: { conflict: 'merge' },
  },
});

/** Those that are written in every way. */
export const FREE_TYPES: [EntityType, ...EntityType[]] = [
  typed('note'),
  ...['form', 'sensor', 'doc', 'draft', 'sheet', 'photo', 'ticket', 'case'].map(typed),
];

export const TALLY: EntityType = typed('tally');

/** What both have, and of what both changed the newer. */
function joined({ local, remote }: ResolverInput): ResolverOutput {
  const [older, newer] = remote.stamp > local.stamp ? [local, remote] : [remote, local];
  return { winner: 'merged', resolvedData: { ...older.data, ...newer.data }, metadata: { reason: 'both' } };
}

function typed(name: string): EntityType {
  return named(toEntityType(name));
}
