import { type CausalContext, clockIn } from '../core/causal-context.ts';
import type { Change } from '../core/change.ts';
import { CLOUD, entityKey } from '../core/ids.ts';
import { jsonEqual } from '../core/json.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { ChangeResult } from '../protocol/messages.ts';
import { checkContent, refusalError } from '../protocol/record.ts';
import type { Commit } from './commit.ts';
import { decide, remembered } from './judge.ts';
import { KEY_REUSED } from './memos.ts';
import { strongContent } from './strong-content.ts';
import type { Once, Write, Written } from './write.ts';

/** Who writes at the cloud. */
export interface CloudWriter {
  /** What he has seen: his write comes after it. */
  readonly after?: CausalContext | undefined;
  /** By what the write is known when it is repeated. */
  readonly once?: Once | undefined;
}

/**
 * A write made at the cloud itself, on the state that is there.
 *
 * @throws SyncError as a write at an edge does. Nothing has happened then.
 */
export function writeAtCloud(commit: Commit, write: Write, { after = {}, once }: CloudWriter = {}): Written {
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
    base: { ...clockIn(after, commit.epoch), [CLOUD]: commit.head },
    stamp: commit.stampNow(CLOUD, after),
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

export interface Imported {
  readonly imported: number;
  /** Those that were there as they came. */
  readonly unchanged: number;
}

/** Writes records as they are given. @throws SyncError as {@link writeAtCloud}, with the place of the one at fault. */
export function importRecords(commit: Commit, writes: readonly Write[], after: CausalContext): Imported {
  let unchanged = 0;
  for (const [index, write] of writes.entries()) {
    const current = commit.entity(entityKey(write))?.data ?? null;
    if (write.kind === 'put' && current !== null && jsonEqual(current, write.data)) {
      unchanged += 1;
      continue;
    }
    try {
      writeAtCloud(commit, write, { after });
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      throw new SyncError(error.code, error.message, { ...error.details, index });
    }
  }
  return { imported: writes.length - unchanged, unchanged };
}

function writtenBy({ id, version = id, created = false, data = null }: ChangeResult): Written {
  return { changeId: id, version, created, data };
}
