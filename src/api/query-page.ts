import type { EntityType } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { afterOf, type Query, type QueryRow, querySql } from './query.ts';

/** One record, as D1 has it. */
export interface QueryItem {
  readonly entityType: EntityType;
  readonly entityId: string;
  readonly data: unknown;
  readonly version: string;
  readonly updatedAt: number;
  readonly seq: number;
}

/** @throws SyncError `bad_request`; `cloud_unavailable` where D1 doesn't answer, or fails. */
export async function queryPage(
  db: D1Database,
  query: Query,
): Promise<{ readonly items: readonly QueryItem[]; readonly next: string | null }> {
  const rows = await rowsOf(db, querySql(query));
  const last = rows.at(-1);
  return {
    items: rows.map((row) => ({
      entityType: query.entityType,
      entityId: row.entity_id,
      data: JSON.parse(row.data),
      version: row.version,
      updatedAt: Number.parseInt(row.stamp.slice(0, 12), 16),
      seq: row.seq,
    })),
    next: last !== undefined && last.found > rows.length ? afterOf(last) : null,
  };
}

async function rowsOf(db: D1Database, { sql, params }: ReturnType<typeof querySql>): Promise<readonly QueryRow[]> {
  try {
    const { results } = await db
      .prepare(sql)
      .bind(...params)
      .all<QueryRow>();
    return results;
  } catch (error) {
    // D1 may be away for minutes. What it throws has no mark that tells that from anything else.
    console.info(JSON.stringify({ event: 'query_failed', error: String(error) }));
    throw new SyncError('cloud_unavailable', 'the query database does not answer', { retryAfterMs: 1_000 });
  }
}
