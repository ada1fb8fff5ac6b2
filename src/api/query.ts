import type { EntityType, SpaceId } from '../core/ids.ts';
import { parsePath } from '../core/path.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { utf8Bytes } from '../protocol/record.ts';

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
  /** How many rows there were before the page was cut. */
  readonly found: number;
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
 * @returns a statement for a page: at most the limit and `LIMITS.listBytes` of records, but always one. Its rows tell by
 *   `found` whether there are more than these.
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
    const { paths, operator, value } = parseCondition(text);
    conditions.push(`${valueAt(paths, bind)} ${operator} ${bind(value)}`);
  }
  const descending = query.order?.startsWith('-') ?? false;
  const field = query.order === undefined ? undefined : jsonPaths(query.order.replace(/^-/, ''));
  const sortKey = field === undefined ? 'NULL' : valueAt(field, bind);
  if (query.after !== undefined) {
    const [key, id] = parseAfter(query.after);
    conditions.push(behind(sortKey, descending, field === undefined ? undefined : bind(key), bind(id)));
  }
  const direction = descending ? 'DESC' : 'ASC';
  const order = field === undefined ? 'entity_id' : `sort_key ${direction}, entity_id`;
  // The sizes first, and the records of those that fit: all of them could be more than D1 may hold in memory.
  const sql = `
    WITH matching AS (
      SELECT entity_id, ${sortKey} AS sort_key, octet_length(data) AS bytes FROM entities
      WHERE ${conditions.join(' AND ')} ORDER BY ${order} LIMIT ${bind(query.limit + 1)}
    ), placed AS (
      SELECT entity_id AS id, sort_key, row_number() OVER page AS place, sum(bytes) OVER page AS bytes, count(*) OVER () AS found
      FROM matching WINDOW page AS (ORDER BY ${order})
    )
    SELECT entity_id, data, version, seq, stamp, sort_key, found
    FROM placed JOIN entities ON space = ?1 AND entity_type = ?2 AND entity_id = id
    WHERE place <= ${bind(query.limit)} AND (place = 1 OR bytes <= ${bind(LIMITS.listBytes)}) ORDER BY place`;
  return { sql, params };
}

/** The value that is at one of the paths; there can't be one at two of them. */
function valueAt(paths: readonly string[], bind: (value: SqlParam) => string): string {
  const values = paths.map((path) => `json_extract(data, ${bind(path)})`);
  return values.length === 1 ? values.join() : `coalesce(${values.join(', ')})`;
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

function parseCondition(text: string): { paths: readonly string[]; operator: string; value: SqlParam } {
  const [field, name, ...rest] = text.split(':');
  const operator = name !== undefined && Object.hasOwn(OPERATORS, name) ? OPERATORS[name] : undefined;
  if (!field || operator === undefined || rest.length === 0 || text.length > LIMITS.queryConditionChars) {
    throw new SyncError('bad_request', 'where is field:op:value, op one of eq ne lt le gt ge like');
  }
  const value = rest.join(':');
  const paths = jsonPaths(field);
  if (name !== 'like') return { paths, operator, value: literalOf(value) };
  if (utf8Bytes(value) > LIMITS.likePatternBytes) {
    throw new SyncError('bad_request', `a pattern of like may have ${LIMITS.likePatternBytes} bytes`);
  }
  return { paths, operator, value };
}

/** `23.5` is a number, `true` what SQLite makes of JSON's, `null` nothing; `"23.5"` in quotes, and all else, a text. */
function literalOf(text: string): SqlParam {
  if (text === 'null') return null;
  if (text === 'true') return 1;
  if (text === 'false') return 0;
  if (/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text)) return finite(Number(text));
  return text.length > 1 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;
}

function finite(value: number): number {
  if (Number.isFinite(value)) return value;
  throw new SyncError('bad_request', 'a number of a condition is too large');
}

/**
 * A path of ours as SQLite's: `a.b` is `$."a"."b"`. Digits may be the index of an element or the name of a field, so
 * `a.0` is both `$."a"[0]` and `$."a"."0"`: a record has one of the two at most, since `a` is an array or an object.
 */
function jsonPaths(text: string): readonly string[] {
  const path = text.length > LIMITS.pathChars ? undefined : parsePath(text);
  if (path === undefined || path.some((segment) => UNQUOTABLE.test(segment))) {
    throw new SyncError('bad_request', 'a field is a dotted path or a JSON Pointer, without quotes and backslashes');
  }
  if (path.filter((segment) => INDEX.test(segment)).length > LIMITS.queryIndexes) {
    throw new SyncError('bad_request', `a field may have ${LIMITS.queryIndexes} segments of digits`);
  }
  return path.reduce<readonly string[]>(
    (paths, segment) => [
      ...paths.map((before) => `${before}."${segment}"`),
      ...(INDEX.test(segment) ? paths.map((before) => `${before}[${segment}]`) : []),
    ],
    ['$'],
  );
}

/** What SQLite can't read within the quotes of a path, or reads as something else. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what it is about
const UNQUOTABLE = /["\\\u0000-\u001f]/;
/** As JavaScript writes it, and no larger than SQLite's counters. */
const INDEX = /^(?:0|[1-9][0-9]{0,8})$/;
