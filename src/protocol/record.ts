import type { JsonObject } from '../core/json.ts';
import { type JsonFault, jsonFault } from '../core/json-fault.ts';
import { formatPath } from '../core/path.ts';
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
 * Why something that came from outside can't be taken in, whatever it means: nested too deeply (`too_deep`), or no JSON
 * though the parser let it pass (`invalid_data`, with `issues`); undefined: it can. What passes has a canonical text, and
 * recursion on it ends. Cost: one pass. Throws nothing.
 */
export function contentProblem(value: unknown, maxDepth: number): Refusal | undefined {
  const fault = jsonFault(value, maxDepth);
  return fault && refusalOf(fault);
}

/** As it is told. */
export function refusalOf(fault: JsonFault): Refusal {
  if (fault.kind === 'too-deep') {
    return { code: 'too_deep', detail: `a record may be nested ${LIMITS.recordDepth} levels deep` };
  }
  const issue = { path: formatPath(fault.path).slice(0, LIMITS.recordIssueChars), message: fault.message };
  return { code: 'invalid_data', detail: `${issue.path}: ${issue.message}`, issues: [issue] };
}

/** As {@link contentProblem}, thrown as a `SyncError`. */
export function checkContent(value: unknown, maxDepth: number): void {
  const problem = contentProblem(value, maxDepth);
  if (problem !== undefined) throw refusalError(problem);
}

/**
 * Why a record may not be stored: for its content ({@link contentProblem}), because it is too large (`too_large`), or not
 * what its type's schema wants (`invalid_data`, with `issues`), which is also said where the schema fails; undefined: it
 * may. Cost: one pass, one serialization, and the schema. Throws nothing.
 */
export function recordProblem(data: JsonObject, policy: Policy): Refusal | undefined {
  const problem = contentProblem(data, LIMITS.recordDepth);
  if (problem !== undefined) return problem;
  const bytes = utf8Bytes(JSON.stringify(data));
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
