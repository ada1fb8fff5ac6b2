import type { Change } from '../core/change.ts';
import {
  type Conflict,
  leftToPeople,
  type OpenDecision,
  type Resolution,
  type ResolvedDecision,
  type Sides,
  winnerOf,
} from '../core/conflict.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type JsonObject, jsonEqual } from '../core/json.ts';
import { baseOf } from '../core/merge.ts';
import type { Policy } from '../core/policy.ts';
import { LIMITS } from '../protocol/limits.ts';
import { recordProblem, utf8Bytes } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import type { ConflictRecord } from './ports.ts';

/** What somebody decides of a conflict: the content that the entity shall have (`null`: none), or whose. */
export type ManualDecision = { readonly data: JsonObject | null } | { readonly winner: 'local' | 'remote' };

/**
 * Keeps a conflict that a change met; in the record that the change's node was told of, if it was.
 *
 * @returns its id.
 */
export function recordConflict(
  commit: Commit,
  change: Change,
  { kind, local, remote }: Conflict,
  resolution: Resolution,
  status: ConflictRecord['status'],
): string {
  const known = answeredConflict(commit, change, 'open');
  const base = local.data && remote.data && baseOf({ ...local, data: local.data }, { ...remote, data: remote.data });
  const { id } = commit.keepConflict({
    id: known?.id ?? commit.newConflictId(),
    type: kind,
    entityType: local.entityType,
    entityId: local.entityId,
    base: known?.base ?? (base === null ? null : { data: base }),
    local: { version: local.version, stamp: local.stamp, data: local.data },
    // What a node that was asked answers is not what somebody wrote there.
    remote: known?.remote ?? { version: change.id, stamp: change.stamp, data: remote.data },
    resolution: known
      ? { ...resolution, winner: winnerOf({ local, remote: known.remote }, resolution.resolvedData) }
      : resolution,
    decidedBy: null,
    decidedAtMs: commit.nowMs,
    status,
    atMs: known?.atMs ?? commit.nowMs,
    seq: resolution.winner === 'local' ? local.seq : commit.head + 1,
    history: known?.history ?? [],
  });
  return id;
}

/** The conflict that the change's node was asked to resolve, if the change is its answer; somebody may have been faster. */
export function answeredConflict(
  commit: Commit,
  { id, resolves }: Change,
  status: ConflictRecord['status'],
): ConflictRecord | undefined {
  const known = resolves && commit.conflict(resolves.conflictId);
  return known?.status === status && known.remote.version === id ? known : undefined;
}

/** What holds as long as the node that was asked has not answered. */
export function askedOf({ local }: Conflict): Resolution {
  const metadata = { strategy: 'custom', reason: 'the node that pushed was asked, and has not answered yet' };
  return { winner: 'local', resolvedData: local.data, metadata };
}

/** Notes what the node that was asked made of the two: what the entity is by now. */
export function answeredByNode(
  commit: Commit,
  asked: ConflictRecord,
  { nodeId, resolves }: Change,
  { data: resolvedData, seq }: Pick<EntityVersion, 'data' | 'seq'>,
): void {
  const metadata = { ...resolves?.metadata, strategy: 'custom', reason: resolves?.reason ?? '', node: nodeId };
  const resolution = { winner: winnerOf(asked, resolvedData), resolvedData, metadata };
  commit.keepConflict({ ...asked, resolution, status: 'resolved', decidedAtMs: commit.nowMs, seq });
}

/** A decision whose record may not be stored is none: people decide. */
export function usable<D extends ResolvedDecision | OpenDecision>(
  decision: D,
  sides: Sides,
  policy: Policy,
): D | OpenDecision {
  if (decision.kind === 'open' || decision.resolution.resolvedData === null) return decision;
  const { resolvedData, metadata } = decision.resolution;
  const problem = recordProblem(resolvedData, policy);
  if (problem === undefined) return decision;
  const reason = `what '${metadata.strategy}' made of the two may not be stored: ${problem.detail}`;
  return leftToPeople(sides, reason);
}

/** What the entity shall be; null: deleted. */
export function decidedContent(conflict: ConflictRecord, decision: ManualDecision): JsonObject | null {
  return 'winner' in decision ? conflict[decision.winner].data : decision.data;
}

/** A decision in the words of the record. Content that is one side's makes that side the winner. */
export function manualResolution(conflict: ConflictRecord, decision: ManualDecision, by: string): Resolution {
  const resolvedData = decidedContent(conflict, decision);
  return {
    winner: 'winner' in decision ? decision.winner : winnerOf(conflict, resolvedData),
    resolvedData,
    metadata: { strategy: 'manual', reason: `decided by ${by}` },
  };
}

/** Whether the record says already that `by` decided so. */
export function isDecided(conflict: ConflictRecord, { winner, resolvedData }: Resolution, by: string): boolean {
  const { status, decidedBy, resolution } = conflict;
  const isSame = resolution.winner === winner && jsonEqual(resolution.resolvedData, resolvedData);
  return status === 'resolved' && decidedBy === by && isSame;
}

/**
 * The record after a decision: resolved, and what held before goes to `history`, whose oldest give way to
 * `LIMITS.pastDecisions` and `LIMITS.conflictBytes`. The caller gives it its revision.
 *
 * @param by who decided; null: the policy. `seq` is the entity's, after the decision.
 */
export function withDecision(
  conflict: ConflictRecord,
  resolution: Resolution,
  { by, atMs, seq }: { readonly by: string | null; readonly atMs: number; readonly seq: number },
): ConflictRecord {
  const past = { resolution: conflict.resolution, atMs: conflict.decidedAtMs, by: conflict.decidedBy };
  const decided = { ...conflict, resolution, decidedBy: by, decidedAtMs: atMs, status: 'resolved', seq } as const;
  let history = [...conflict.history, past].slice(-LIMITS.pastDecisions);
  const bytesOf = (value: unknown) => utf8Bytes(JSON.stringify(value));
  while (history.length > 0 && bytesOf({ ...decided, history }) > LIMITS.conflictBytes) history = history.slice(1);
  return { ...decided, history };
}
