import { definePolicies } from './core/define-policies.ts';
import type { ResolverInput, ResolverOutput } from './core/resolver.ts';

/**
 * What each entity type of this deployment wants. Edit this file: it is yours; `docs/policies.md` says what each field
 * means and costs. A type that isn't named gets `default`.
 */
export const policies = definePolicies({
  types: {
    /** Readings of sensors: many, small, and an older one is of no interest once a newer one is there. */
    'sensor-data': { consistency: 'eventual', maxStalenessMs: 60_000, conflict: 'lww' },
    /** Settings of a person, changed on several devices, often in different fields. */
    'user-config': { consistency: 'session', conflict: 'merge' },
    /** Of `examples/field-notes`: two people who change different fields of a note both have their way. */
    'field-notes': { conflict: 'merge' },
    /** What must not be wrong, and is worth waiting for. */
    transactions: { consistency: 'strong', conflict: 'custom', custom: keepSettled },
  },
  default: { consistency: 'eventual', conflict: 'lww' },
});

/** A settled transaction is never undone by an update of one that is not; otherwise the later update counts. */
function keepSettled({ local, remote }: ResolverInput): ResolverOutput {
  const isLocalSettled = local.data['status'] === 'settled';
  const isRemoteSettled = remote.data['status'] === 'settled';
  if (isLocalSettled && !isRemoteSettled) {
    return { winner: 'local', resolvedData: local.data, metadata: { reason: 'only this one is settled' } };
  }
  if (isRemoteSettled && !isLocalSettled) {
    return { winner: 'remote', resolvedData: remote.data, metadata: { reason: 'only this one is settled' } };
  }
  const reason = 'this one is later';
  return remote.stamp > local.stamp
    ? { winner: 'remote', resolvedData: remote.data, metadata: { reason } }
    : { winner: 'local', resolvedData: local.data, metadata: { reason } };
}
