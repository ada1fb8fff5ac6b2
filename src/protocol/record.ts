import { exceedsDepth } from '../core/delta.ts';
import type { JsonObject } from '../core/json.ts';
import type { Policy } from '../core/policy.ts';
import { type Issue, schemaIssues } from '../core/record-schema.ts';
import { type ErrorCode, SyncError } from './errors.ts';
import { LIMITS } from './limits.ts';

/** Why something was refused, in the words of the error table. */
export interface Refusal {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly issues?: readonly Issue[] | undefined;
  /** The version that was there, where another one was wanted. */
  readonly current?: string | undefined;
}

/**
 * Why a record may not be stored: nested too deeply (`too_deep`), too large (`too_large`), or not what its type's
 * schema wants (`invalid_data`, with `issues`), which is also said where the schema fails, or without them what has no
 * hash; undefined: it may. Cost: one
 * pass, one serialization, and the schema. Throws nothing.
 */
export function recordProblem(data: JsonObject, policy: Policy): Refusal | undefined {
  if (exceedsDepth(data, LIMITS.recordDepth)) {
    return { code: 'too_deep', detail: `a record may be nested ${LIMITS.recordDepth} levels deep` };
  }
  const text = JSON.stringify(data);
  if (!isWellFormed(text)) return NOT_WELL_FORMED;
  const bytes = utf8Bytes(text);
  if (bytes > LIMITS.recordBytes) {
    return { code: 'too_large', detail: `the record has ${bytes} bytes, and may have ${LIMITS.recordBytes}` };
  }
  const issues = policy.schema === undefined ? [] : schemaIssues(policy.schema, data);
  const [first] = issues;
  if (first === undefined) return undefined;
  // A dead letter keeps the detail and not the issues.
  const where = first.path === '' ? '' : `${first.path}: `;
  const more = issues.length === 1 ? '' : ` (and ${issues.length - 1} more)`;
  const detail = `the record does not pass the schema of ${policy.entry}: ${where}${first.message}${more}`;
  return { code: 'invalid_data', detail, issues };
}

export const NOT_WELL_FORMED: Refusal = {
  code: 'invalid_data',
  detail: 'a text or a name is not well-formed: it has half of a surrogate pair, which has no UTF-8',
};

/** Whether no text of a value is half a surrogate pair, which has neither UTF-8 nor a hash. @param text its JSON. */
export function isWellFormed(text: string): boolean {
  // Only halves are escaped so; a backslash of the text itself is doubled.
  return !text.includes('\\ud') || !/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(text);
}

/** As {@link recordProblem}, thrown as a `SyncError`. */
export function checkRecord(data: JsonObject, policy: Policy): void {
  const problem = recordProblem(data, policy);
  if (problem !== undefined) throw refusalError(problem);
}

export function refusalError({ code, detail, issues, current }: Refusal): SyncError {
  return new SyncError(code, detail, { issues, current });
}

/** The length of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  return new TextEncoder().encode(text).byteLength;
}
