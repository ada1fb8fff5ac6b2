import type { Change } from '../core/change.ts';
import { CLOUD, entityKey } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import { checkContent, refusalError } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import { decide } from './judge.ts';
import { strongContent } from './strong-content.ts';
import type { Write, Written } from './write.ts';

/**
 * A write made at the cloud itself, on the state that is there.
 *
 * @throws SyncError as a write at an edge does. Nothing has happened then.
 */
export function writeAtCloud(commit: Commit, write: Write): Written {
  checkContent(write, LIMITS.changeDepth);
  const { entityType, entityId, ifMatch, ifNoneMatch } = write;
  const current = commit.entity(entityKey(write));
  const change: Change = {
    id: commit.cloudDot(),
    entityType,
    entityId,
    ...strongContent(write, (current?.data ?? null) !== null),
    base: { [CLOUD]: commit.head },
    stamp: commit.stampNow(CLOUD),
    timestamp: commit.nowMs,
    nodeId: CLOUD,
    consistency: 'strong',
    ifMatch,
    ifNoneMatch,
  };
  const result = decide(commit, change, commit.policyFor(entityType));
  if (result.code !== undefined) throw refusalError({ ...result, code: result.code, detail: result.detail ?? '' });
  const { version = change.id, created = false, data = null } = result;
  return { changeId: change.id, version, created, data };
}
