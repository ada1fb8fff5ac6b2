import { definePolicies } from '../../src/core/define-policies.ts';
import { type EntityType, toEntityType } from '../../src/core/ids.ts';
import type { ResolverInput, ResolverOutput } from '../../src/core/resolver.ts';
import { named } from './names.ts';

/** Every write goes by itself: the checkers know each by its dot. */
const STEPS = { coalesce: false } as const;

/**
 * The entity types of the simulated worlds: one for each rule that decides a conflict. The one table to change when
 * there is a new rule; checkers ask the policies, and never for a name.
 */
export const policies = definePolicies({
  types: {
    note: { ...STEPS, conflict: 'lww', onCreate: 'lww' },
    form: { ...STEPS, conflict: 'lww', onDelete: 'delete-wins' },
    sensor: { ...STEPS, conflict: 'lww', onDelete: 'update-wins', priority: 'high' },
    doc: { ...STEPS, conflict: 'merge' },
    draft: { ...STEPS, conflict: 'merge', onCreate: 'rename' },
    sheet: { ...STEPS, conflict: 'custom', custom: joined },
    photo: { ...STEPS, conflict: 'custom', custom: async (conflict) => joined(conflict) },
    ticket: { ...STEPS, conflict: 'custom', custom: 'node', onNode: joined },
    case: { ...STEPS, conflict: 'manual', priority: 'critical' },
    /** Created once, and then only incremented. */
    tally: { ...STEPS, conflict: 'merge' },
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
