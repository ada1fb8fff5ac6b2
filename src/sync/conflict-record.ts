import type { Resolution } from '../core/conflict.ts';
import { type JsonObject, jsonEqual } from '../core/json.ts';
import { LIMITS } from '../protocol/limits.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { ConflictRecord } from './ports.ts';

/** What somebody decides of a conflict: the content that the entity shall have (`null`: none), or whose. */
export type ManualDecision = { readonly data: JsonObject | null } | { readonly winner: 'local' | 'remote' };

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

function winnerOf({ local, remote }: ConflictRecord, data: JsonObject | null): Resolution['winner'] {
  if (jsonEqual(data, local.data)) return 'local';
  return jsonEqual(data, remote.data) ? 'remote' : 'merged';
}
