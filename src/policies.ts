import { definePolicies } from './core/policy.ts';

/**
 * What each entity type of this deployment wants. Edit this file: it is yours. A type that isn't named gets `default`.
 */
export const policies = definePolicies({
  types: {
    /** Readings of sensors: many, small, and an older one is of no interest once a newer one is there. */
    'sensor-data': { consistency: 'eventual', maxStalenessMs: 60_000, conflict: 'lww' },
    /** Settings of a person, changed on several devices, often in different fields. */
    'user-config': { consistency: 'session', conflict: 'merge' },
    /** What must not be wrong, and is worth waiting for. */
    transactions: { consistency: 'strong', conflict: 'custom' },
  },
  default: { consistency: 'eventual', conflict: 'lww' },
});
