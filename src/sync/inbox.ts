import { customDecision, stampAfter } from '../core/conflict.ts';
import type { EntityVersion } from '../core/entity.ts';
import { entityKey } from '../core/ids.ts';
import { jsonEqual } from '../core/json.ts';
import { isMet, type Precondition } from '../core/precondition.ts';
import { SyncError } from '../protocol/errors.ts';
import { writeAtCloud } from './cloud-write.ts';
import type { Commit } from './commit.ts';
import {
  decidedContent,
  isDecided,
  type ManualDecision,
  manualResolution,
  usable,
  withDecision,
} from './conflict-record.ts';
import type { ConflictRecord } from './ports.ts';

/**
 * Decides a conflict, an open one or once more, and gives the entity the chosen content by a write as any other; an
 * entity that has it already isn't written. The same decision of the same person again changes nothing.
 *
 * @param by who decides, for the record.
 * @returns the conflict as it is then.
 * @throws SyncError `not_found` for an unknown conflict; else as {@link writeAtCloud}. Nothing has happened then.
 */
export function resolveConflict(
  commit: Commit,
  id: string,
  decision: ManualDecision,
  by: string,
  precondition: Precondition = {},
): ConflictRecord {
  const conflict = commit.conflict(id);
  if (conflict === undefined) throw new SyncError('not_found', 'there is no such conflict');
  const { entityType, entityId } = conflict;
  const content = decidedContent(conflict, decision);
  const current = commit.entity(entityKey(conflict));
  const isThere = jsonEqual(content, current?.data ?? null);
  if (isThere) checkPrecondition(current, precondition);
  else if (content === null) writeAtCloud(commit, { entityType, entityId, kind: 'delete', ...precondition });
  else writeAtCloud(commit, { entityType, entityId, kind: 'put', data: content, ...precondition });

  const resolution = manualResolution(conflict, decision, by);
  if (isThere && isDecided(conflict, resolution, by)) return conflict;
  const seq = isThere ? (current?.seq ?? 0) : commit.head;
  return commit.keepConflict(withDecision(conflict, resolution, { by, atMs: commit.nowMs, seq }));
}

/**
 * Takes what a resolver answered in the end. Where the entity has moved on, or the answer is none, the conflict stays
 * open, for people.
 */
export function resolveLate(commit: Commit, id: string, output: unknown): void {
  const conflict = commit.conflict(id);
  const current = conflict && commit.entity(entityKey(conflict));
  if (conflict?.status !== 'open' || current?.version !== conflict.local.version) return;
  const decision = usable(customDecision(conflict, output), conflict, commit.policyFor(conflict.entityType));
  if (decision.kind === 'open') {
    commit.keepConflict({ ...conflict, resolution: decision.resolution });
    return;
  }
  const { resolution, written } = decision;
  if (resolution.winner !== 'local') {
    const { entityType, entityId, remote } = conflict;
    const effect = { data: resolution.resolvedData, written, stamp: stampAfter(conflict, resolution.winner) };
    commit.put({ id: remote.version, entityType, entityId, stamp: remote.stamp }, current, effect, commit.cloudDot());
  }
  commit.keepConflict(withDecision(conflict, resolution, { by: null, atMs: commit.nowMs, seq: commit.head }));
}

function checkPrecondition(current: EntityVersion | undefined, precondition: Precondition): void {
  const version = current === undefined || current.data === null ? undefined : current.version;
  if (isMet(precondition, version)) return;
  throw new SyncError('precondition_failed', `the current version is ${version ?? 'none'}`, { current: version });
}
