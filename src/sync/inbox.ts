import type { CausalContext } from '../core/causal-context.ts';
import {
  customDecision,
  leftToPeople,
  type OpenDecision,
  type Resolution,
  type ResolvedDecision,
  stampAfter,
} from '../core/conflict.ts';
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
import type { ResolverAnswer } from './resolver-answer.ts';

/**
 * Decides a conflict, an open one or once more, and gives the entity the chosen content by a write as any other; an
 * entity that has it already isn't written. The same decision of the same person again changes nothing. Where others have
 * written since the conflict was decided, what they wrote is one side of a conflict of its own.
 *
 * @param by who decides, for the record; `after`: what he has seen.
 * @returns the conflict as it is then.
 * @throws SyncError `not_found` for an unknown conflict; else as {@link writeAtCloud}. Nothing has happened then.
 */
export function resolveConflict(
  commit: Commit,
  id: string,
  decision: ManualDecision,
  by: string,
  precondition: Precondition = {},
  after: CausalContext = {},
): ConflictRecord {
  const conflict = commit.conflict(id);
  if (conflict === undefined) throw new SyncError('not_found', 'there is no such conflict');
  const { entityType, entityId } = conflict;
  const content = decidedContent(conflict, decision);
  const current = commit.entity(entityKey(conflict));
  const isThere = jsonEqual(content, current?.data ?? null);
  if (isThere) checkPrecondition(current, precondition);
  else if (content === null) writeAtCloud(commit, { entityType, entityId, kind: 'delete', ...precondition }, { after });
  else writeAtCloud(commit, { entityType, entityId, kind: 'put', data: content, ...precondition }, { after });

  const resolution = manualResolution(conflict, decision, by);
  if (!isThere && current !== undefined && current.seq > conflict.seq && !isNamed(precondition))
    recordOverwritten(commit, current, resolution, by);
  if (isThere && isDecided(conflict, resolution, by)) return conflict;
  const seq = isThere ? (current?.seq ?? 0) : commit.head;
  return commit.keepConflict(withDecision(conflict, resolution, { by, atMs: commit.nowMs, seq }));
}

/** Whether the decider had the version in mind that the decision takes the place of. */
function isNamed({ ifMatch }: Precondition): boolean {
  return ifMatch !== undefined && ifMatch !== '*';
}

/** A decision of an old conflict has just taken the place of a version that nobody had in mind. */
function recordOverwritten(
  commit: Commit,
  former: EntityVersion,
  { resolvedData, metadata }: Resolution,
  by: string,
): void {
  const now = commit.entity(entityKey(former));
  if (now === undefined) return;
  const { entityType, entityId } = former;
  const reason = `${metadata.reason}, of an older conflict`;
  commit.keepConflict({
    id: commit.newConflictId(),
    type: former.data === null || now.data === null ? 'delete-update' : 'update-update',
    entityType,
    entityId,
    base: null,
    local: { version: former.version, stamp: former.stamp, data: former.data },
    remote: { version: now.version, stamp: now.stamp, data: now.data },
    resolution: { winner: 'remote', resolvedData, metadata: { ...metadata, reason } },
    decidedBy: by,
    decidedAtMs: commit.nowMs,
    status: 'resolved',
    atMs: commit.nowMs,
    seq: now.seq,
    history: [],
  });
}

/**
 * Takes what a resolver answered in the end. Where the entity has moved on, or the answer is none, the conflict stays
 * open, for people, with the reason.
 */
export function resolveLate(commit: Commit, id: string, answer: ResolverAnswer): void {
  const conflict = commit.conflict(id);
  if (conflict?.status !== 'open') return;
  const current = commit.entity(entityKey(conflict));
  const decision = lateDecision(commit, conflict, current, answer);
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
  const seq = commit.entity(entityKey(conflict))?.seq ?? conflict.seq;
  commit.keepConflict(withDecision(conflict, resolution, { by: null, atMs: commit.nowMs, seq }));
}

function lateDecision(
  commit: Commit,
  conflict: ConflictRecord,
  current: EntityVersion | undefined,
  { output, failure }: ResolverAnswer,
): ResolvedDecision | OpenDecision {
  if (failure !== undefined) return leftToPeople(conflict, failure);
  const decision = usable(customDecision(conflict, output), conflict, commit.policyFor(conflict.entityType));
  if (decision.kind === 'open' || current?.version === conflict.local.version) return decision;
  return leftToPeople(conflict, 'the record had moved on before the resolver answered');
}

function checkPrecondition(current: EntityVersion | undefined, precondition: Precondition): void {
  const version = current === undefined || current.data === null ? undefined : current.version;
  if (isMet(precondition, version)) return;
  throw new SyncError('precondition_failed', `the current version is ${version ?? 'none'}`, { current: version });
}
