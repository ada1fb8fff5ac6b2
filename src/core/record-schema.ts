import { messageOf } from './message-of.ts';
import { formatPath } from './path.ts';
import { isPromiseLike } from './promise-like.ts';

/**
 * The part of Standard Schema v1 (standardschema.dev) that policies use. A schema tells whether a record is right, and
 * changes nothing: the record is kept as it was written. So `T`, what a record is, is what the schema takes, without the
 * defaults and transformations that it may have for others.
 */
export interface RecordSchema<T = unknown> {
  readonly '~standard': {
    readonly validate: (value: unknown) => SchemaResult | Promise<SchemaResult>;
    readonly types?: { readonly input: T } | undefined;
  };
}

type SchemaResult =
  | { readonly value: unknown; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] };

/** Where a record is wrong; `path` is that of an operation, and empty for the record itself. */
export interface Issue {
  readonly path: string;
  readonly message: string;
}

/** Of one record: they are kept with the refusal, and a record of 256 KiB could have a hundred thousand. */
export const MAX_ISSUES = 20;
/** Of a path or message. */
export const MAX_ISSUE_CHARS = 500;

/** Whether a value is a Standard Schema of version 1. */
export function isRecordSchema(value: unknown): value is RecordSchema {
  // Some libraries' schemas are functions.
  const isHolder = (typeof value === 'object' && value !== null) || typeof value === 'function';
  if (!isHolder || !('~standard' in value)) return false;
  const { '~standard': standard } = value;
  if (typeof standard !== 'object' || standard === null || !('validate' in standard)) return false;
  return typeof standard.validate === 'function' && 'version' in standard && standard.version === 1;
}

/**
 * The issues of a record, at most {@link MAX_ISSUES}; none where it is right. A schema that throws, answers later or
 * answers nonsense can't tell, and that is the issue then: a record that wasn't checked isn't let pass.
 */
export function schemaIssues(schema: RecordSchema, data: unknown): readonly Issue[] {
  try {
    const result: unknown = schema['~standard'].validate(data);
    if (isPromiseLike(result)) {
      // A check that throws comes this way too in zod. Nobody waits for it; its failure must not end the process.
      result.then(undefined, () => undefined);
      return [failed('it did not answer at once: a check of it is asynchronous, or throws')];
    }
    return issuesOf(result).slice(0, MAX_ISSUES).map(issue);
  } catch (error) {
    return [failed(messageOf(error))];
  }
}

function failed(reason: string): Issue {
  return { path: '', message: cut(`the schema failed: ${reason}`) };
}

/** @throws Error where the result is none that the standard knows. */
function issuesOf(result: unknown): readonly unknown[] {
  if (typeof result === 'object' && result !== null) {
    if (!('issues' in result) || result.issues === undefined) return [];
    if (Array.isArray(result.issues) && result.issues.length > 0) return result.issues;
  }
  throw NOT_STANDARD;
}

const NOT_STANDARD = new Error('its answer is no result of a Standard Schema');

function issue(given: unknown): Issue {
  if (typeof given !== 'object' || given === null || !('message' in given)) throw NOT_STANDARD;
  const path = 'path' in given && Array.isArray(given.path) ? formatPath(given.path.map(segment)) : '';
  return { path: cut(path), message: cut(String(given.message)) };
}

function segment(part: unknown): string {
  return typeof part === 'object' && part !== null && 'key' in part ? String(part.key) : String(part);
}

function cut(text: string): string {
  return text.length <= MAX_ISSUE_CHARS ? text : `${text.slice(0, MAX_ISSUE_CHARS - 1)}…`;
}
