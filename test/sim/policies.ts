import { type EntityType, toEntityType } from '../../src/core/ids.ts';
import { definePolicies } from '../../src/core/policy.ts';
import { named } from './names.ts';

/**
 * The entity types of the simulated worlds: one for each rule that decides a conflict. The one table to change when
 * there is a new rule; checkers ask here what a type promises.
 */
const TYPES = {
  note: { conflict: 'lww' },
  form: { conflict: 'lww', onDelete: 'delete-wins' },
  sensor: { conflict: 'lww', onDelete: 'update-wins', priority: 'high' },
  doc: { conflict: 'merge' },
  sheet: { conflict: 'custom' },
  case: { conflict: 'manual', priority: 'critical' },
  /** Created once, and then only incremented, strongly. */
  tally: { conflict: 'lww', consistency: 'strong' },
} as const;

export const policies = definePolicies({ types: TYPES });

/** Those that are written in every way. */
export const FREE_TYPES = (['note', 'form', 'sensor', 'doc', 'sheet', 'case'] as const).map(typed) as [
  EntityType,
  ...EntityType[],
];

export const TALLY: EntityType = typed('tally');

function typed(name: keyof typeof TYPES): EntityType {
  return named(toEntityType(name));
}
