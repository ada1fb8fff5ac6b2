import type { EntityType, SpaceId } from '../core/ids.ts';
import { parsePath } from '../core/path.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';

export interface Query {
  readonly space: SpaceId;
  readonly entityType: EntityType;
  readonly where: readonly string[];
  readonly order: string | undefined;
  readonly after: string | undefined;
  readonly limit: number;
}

export interface QueryRow {
  readonly entity_id: string;
  readonly data: string;
  readonly version: string;
  readonly seq: number;
  readonly stamp: string;
  readonly sort_key: string | number | null;
}

type SqlParam = string | number | null;

const OPERATORS: Readonly<Record<string, string>> = {
  eq: 'IS',
  ne: 'IS NOT',
  lt: '<',
  le: '<=',
  gt: '>',
  ge: '>=',
  like: 'LIKE',
};

/**
 * The SQL of a query on the projection. What the caller wrote goes in as parameters, never as text.
 *
 * @returns a statement for one row more than the limit, which tells whether there are more.
 * @throws SyncError `bad_request`
 */
export function querySql(query: Query): { sql: string; params: SqlParam[] } {
  const params: SqlParam[] = [query.space, query.entityType];
  const bind = (value: SqlParam): string => `?${params.push(value)}`;
  const conditions = ['space = ?1', 'entity_type = ?2', 'data IS NOT NULL'];
  if (query.where.length > LIMITS.queryConditions) {
    throw new SyncError('bad_request', `at most ${LIMITS.queryConditions} conditions`);
  }
  for (const text of query.where) {
    const { path, operator, value } = parseCondition(text);
    conditions.push(`json_extract(data, ${bind(path)}) ${operator} ${bind(value)}`);
  }
  const descending = query.order?.startsWith('-') ?? false;
  const field = query.order === undefined ? undefined : jsonPath(query.order.replace(/^-/, ''));
  const sortKey = field === undefined ? 'NULL' : `json_extract(data, ${bind(field)})`;
  if (query.after !== undefined) {
    const [key, id] = parseAfter(query.after);
    conditions.push(behind(sortKey, descending, field === undefined ? undefined : bind(key), bind(id)));
  }
  const direction = descending ? 'DESC' : 'ASC';
  const order = field === undefined ? 'entity_id' : `sort_key ${direction}, entity_id`;
  const sql = `SELECT entity_id, data, version, seq, stamp, ${sortKey} AS sort_key FROM entities
    WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT ${bind(query.limit + 1)}`;
  return { sql, params };
}

/** Where a next page begins: behind this row, in the query's order. Opaque to callers. */
export function afterOf(row: QueryRow): string {
  return JSON.stringify([row.sort_key, row.entity_id]);
}

function parseAfter(text: string): [SqlParam, string] {
  try {
    const parsed: unknown = JSON.parse(text);
    if (Array.isArray(parsed) && parsed.length === 2) {
      const [key, id]: unknown[] = parsed;
      const isKey = key === null || typeof key === 'string' || typeof key === 'number';
      if (isKey && typeof id === 'string') return [key, id];
    }
  } catch {
    // Falls through to the one answer for all that is no cursor.
  }
  throw new SyncError('bad_request', 'after is what a former answer gave as next');
}

/** Rows behind a sort key and id. SQLite sorts NULL first. */
function behind(sortKey: string, descending: boolean, key: string | undefined, id: string): string {
  if (key === undefined) return `entity_id > ${id}`;
  const later = descending
    ? `(${sortKey} < ${key} OR (${sortKey} IS NULL AND ${key} IS NOT NULL))`
    : `(${sortKey} > ${key} OR (${sortKey} IS NOT NULL AND ${key} IS NULL))`;
  return `(${later} OR (${sortKey} IS ${key} AND entity_id > ${id}))`;
}

function parseCondition(text: string): { path: string; operator: string; value: SqlParam } {
  const [field, name, ...rest] = text.split(':');
  const operator = name !== undefined && Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (!field || operator === undefined || rest.length === 0 || text.length > LIMITS.queryConditionChars) {
    throw new SyncError('bad_request', 'where is field:op:value, op one of eq ne lt le gt ge like');
  }
  const value = rest.join(':');
  return { path: jsonPath(field), operator, value: name === 'like' ? value : literalOf(value) };
}

/** `23.5` is a number, `true` what SQLite makes of JSON's, `null` nothing; `"23.5"` in quotes, and all else, a text. */
function literalOf(text: string): SqlParam {
  if (text === 'null') return null;
  if (text === 'true') return 1;
  if (text === 'false') return 0;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return Number(text);
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

/** A path of ours as SQLite's: `a.b` is `$."a"."b"`. */
function jsonPath(text: string): string {
  const path = parsePath(text);
  if (path === undefined || path.some((segment) => segment.includes('"'))) {
    throw new SyncError('bad_request', 'a field is a dotted path or a JSON Pointer');
  }
  return `$${path.map((segment) => `."${segment}"`).join('')}`;
}
