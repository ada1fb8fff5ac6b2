import type { Change } from '../core/change.ts';
import { CLOUD, entityKey } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ChangeResult } from '../protocol/messages.ts';
import { checkContent, refusalError } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import { decide, remembered } from './judge.ts';
import { KEY_REUSED } from './memos.ts';
import { strongContent } from './strong-content.ts';
import type { Once, Write, Written } from './write.ts';

/**
 * A write made at the cloud itself, on the state that is there.
 *
 * @throws SyncError as a write at an edge does. Nothing has happened then.
 */
export function writeAtCloud(commit: Commit, write: Write, once?: Once): Written {
  const memo = once && commit.memos.get('result', once.key);
  if (memo !== undefined) {
    if (memo.hash !== once?.hash) throw refusalError(KEY_REUSED);
    return writtenBy(memo.result);
  }
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
    once,
  };
  const result = decide(commit, change, commit.policyFor(entityType));
  if (result.code !== undefined) throw refusalError({ ...result, code: result.code, detail: result.detail ?? '' });
  return writtenBy(remembered(commit, change, result));
}

function writtenBy({ id, version = id, created = false, data = null }: ChangeResult): Written {
  return { changeId: id, version, created, data };
}
