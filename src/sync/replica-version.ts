import { assertNever } from '../core/assert.ts';
import type { Change } from '../core/change.ts';
import { stampAfter } from '../core/conflict.ts';
import { applyOperations } from '../core/delta.ts';
import type { EntityVersion } from '../core/entity.ts';
import { CLOUD } from '../core/ids.ts';
import { type PathWrite, pathOf } from '../core/marks.ts';
import { outcomeOf } from '../core/outcome.ts';
import type { Policy } from '../core/policy.ts';
import { type Effect, versionAfter } from '../core/version.ts';
import type { ChangeResult, RemoteChange } from '../protocol/messages.ts';

/** The three ways in which a replica comes to a version: it is sent, it is acknowledged, or it is predicted. Pure. */

/** The version that a reader gets; undefined: it doesn't follow from what is here. */
export function pulledVersion(remote: RemoteChange, before: EntityVersion | undefined): EntityVersion | undefined {
  const { entityType, entityId, seq, version, stamp, operations, kinds = {} } = remote;
  if (operations === undefined) return { entityType, entityId, seq, version, stamp, data: remote.data ?? null };
  const applied = before && before.data !== null && applyOperations(before.data, operations);
  if (before === undefined || !applied || !applied.ok) return undefined;
  const written = operations.map(({ path }): PathWrite => {
    return { path: pathOf({ path }), kind: (Object.hasOwn(kinds, path) ? kinds[path] : undefined) ?? 'set' };
  });
  return versionAfter(before, { ...remote, id: version }, { data: applied.data, written, stamp }, { seq, version });
}

/** What the cloud made of a change that it took as it was, and so doesn't send back. */
export function promotedVersion(
  before: EntityVersion | undefined,
  change: Change,
  result: ChangeResult,
  policy: Policy,
): EntityVersion | undefined {
  if (result.seq === undefined) return undefined;
  const stamp = result.stamp ?? change.stamp;
  const outcome = outcomeOf(before, { ...change, stamp, base: { [CLOUD]: result.seq } }, policy);
  // What the cloud applied to its state applies to the same state here. If not, the digests will tell, and mend it.
  if (outcome.kind !== 'advance') return undefined;
  const place = { seq: result.seq, version: result.version ?? change.id };
  return versionAfter(before, { ...change, stamp }, { ...outcome, stamp }, place);
}

/** What the cloud will make of a change of this node, as far as the node can tell. */
export function predictedVersion(
  current: EntityVersion | undefined,
  change: Change,
  policy: Policy,
): EntityVersion | undefined {
  const outcome = outcomeOf(current, change, policy);
  const next = (effect: Effect) =>
    versionAfter(current, change, effect, { seq: current?.seq ?? 0, version: change.id });
  switch (outcome.kind) {
    case 'advance':
      return next({ ...outcome, stamp: change.stamp });
    case 'resolved': {
      const { conflict, resolution, written } = outcome;
      if (resolution.winner === 'local') return current;
      return next({ data: resolution.resolvedData, written, stamp: stampAfter(conflict, resolution.winner) });
    }
    case 'open':
      // The cloud will ask its own resolver; this one's answer, or failure, is nobody's.
      outcome.later?.then(undefined, () => undefined);
      return current;
    case 'ask-node':
      // Its writer's own, for as long as it hasn't been asked.
      return next({ data: outcome.conflict.remote.data, written: 'whole', stamp: change.stamp });
    case 'agreement':
    case 'rename':
    case 'no-op':
    case 'needs-full':
    case 'refused':
      return current;
    default:
      return assertNever(outcome);
  }
}
