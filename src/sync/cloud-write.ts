import { assertNever } from '../core/assert.ts';
import type { Change } from '../core/change.ts';
import { mergePatchOperations } from '../core/delta.ts';
import type { EntityVersion } from '../core/entity.ts';
import { CLOUD, entityKey } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import { checkContent, refusalError } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import { decide } from './judge.ts';
import type { Write, Written } from './replica.ts';

/**
 * A write made at the cloud itself, on the state that is there.
 *
 * @throws SyncError as a write at an edge does. Nothing has happened then.
 */
export function writeAtCloud(commit: Commit, write: Write): Written {
  checkContent(write, LIMITS.changeDepth);
  const { entityType, entityId, ifMatch, ifNoneMatch } = write;
  const change: Change = {
    id: commit.cloudDot(),
    entityType,
    entityId,
    ...contentOf(write, commit.entity(entityKey(write))),
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

function contentOf(write: Write, current: EntityVersion | undefined) {
  switch (write.kind) {
    case 'put':
      return { operation: 'update', data: write.data } as const;
    case 'patch':
      return { operation: 'update', operations: write.operations } as const;
    case 'merge-patch':
      return { operation: 'update', operations: mergePatchOperations(current?.data ?? {}, write.patch) } as const;
    case 'delete':
      return { operation: 'delete' } as const;
    default:
      return assertNever(write);
  }
}
