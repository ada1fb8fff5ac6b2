import { LIMITS } from '../protocol/limits.ts';
import type { CloudStore, ConflictFilter, ConflictRecord } from './ports.ts';

/** Pages of conflicts: bounded in number and bytes, but always with one where there is one. */

export interface ConflictFeedPage {
  readonly conflicts: readonly ConflictRecord[];
  /** Up to which revision the page goes; `head`, where nothing follows. */
  readonly cursor: number;
  readonly more: boolean;
}

export interface ConflictPage {
  readonly items: readonly ConflictRecord[];
  /** What to send as `after` for the rest; null: there is none. */
  readonly next: string | null;
}

/** The last state of each conflict that was written after the revision `cursor`, in that order. */
export function readConflictFeed(store: CloudStore, head: number, cursor: number): ConflictFeedPage {
  const { page, last } = take(LIMITS.pageChanges, LIMITS.pageBytes, (before) => {
    return store.readConflictsAfter(before?.revision ?? cursor, LIMITS.conflictRows);
  });
  return last === undefined
    ? { conflicts: page, cursor: head, more: false }
    : { conflicts: page, cursor: last.revision, more: true };
}

/** The conflicts that fit a filter, in the order of their ids; at most `filter.limit` and `LIMITS.listBytes`. */
export function listConflicts(store: CloudStore, filter: ConflictFilter): ConflictPage {
  const { page, last } = take(filter.limit, LIMITS.listBytes, (before) => {
    return store.listConflicts({ ...filter, after: before?.id ?? filter.after, limit: LIMITS.conflictRows });
  });
  return { items: page, next: last?.id ?? null };
}

/** @returns `last`: the page's last one, where more follow. */
function take(
  maxItems: number,
  maxBytes: number,
  readBehind: (before: ConflictRecord | undefined) => ConflictRecord[],
): { page: ConflictRecord[]; last: ConflictRecord | undefined } {
  const page: ConflictRecord[] = [];
  let bytes = 0;
  for (;;) {
    const chunk = readBehind(page.at(-1));
    for (const conflict of chunk) {
      bytes += JSON.stringify(conflict).length;
      const last = page.at(-1);
      if (last !== undefined && (page.length === maxItems || bytes > maxBytes)) return { page, last };
      page.push(conflict);
    }
    if (chunk.length < LIMITS.conflictRows) return { page, last: undefined };
  }
}
