import * as z from 'zod/mini';
import { type ErrorCode, SyncError } from './errors.ts';
import { LIMITS } from './limits.ts';

/**
 * What a schema makes of something that came from outside.
 *
 * @throws SyncError `bad_request`, or the code that the schema names for what is wrong, with the issues.
 */
export function parseWith<T>(schema: z.core.$ZodType<T>, value: unknown): T {
  const parsed = z.safeParse(schema, value);
  if (parsed.success) return parsed.data;
  const issues = flat(parsed.error.issues)
    .slice(0, LIMITS.requestIssues)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const { code, detail } = firstIssue(parsed.error);
  throw new SyncError(code, detail, { issues });
}

/**
 * As {@link parseWith}, of an answer: one that doesn't fit is no refusal, and tells nothing of what was done.
 *
 * @throws SyncError `internal`
 */
export function parseAnswer<T>(schema: z.core.$ZodType<T>, value: unknown): T {
  try {
    return parseWith(schema, value);
  } catch (error) {
    throw new SyncError('internal', `the answer is none of the protocol: ${error}`);
  }
}

/** What is wrong first, in one line, and the code for it. `whole`: what it is called that has all the fields. */
export function firstIssue(
  error: z.core.$ZodError,
  whole = 'the body',
): { readonly code: ErrorCode; readonly detail: string } {
  const [issue] = flat(error.issues);
  const where = issue?.path.join('.') || whole;
  return { code: codeOf(issue), detail: `${where}: ${issue?.message ?? 'malformed'}` };
}

/** Given to a schema of a name: a name that isn't one has a code of its own. */
export const BAD_NAME: { readonly code: ErrorCode } = { code: 'bad_name' };

function codeOf(issue: z.core.$ZodIssue | undefined): ErrorCode {
  return issue?.code === 'custom' && issue.params?.['code'] === BAD_NAME.code ? BAD_NAME.code : 'bad_request';
}

/** The issues that say what is wrong: of a union, those of the alternative that was meant, by the looks of it. */
function flat(issues: readonly z.core.$ZodIssue[]): readonly z.core.$ZodIssue[] {
  return issues.flatMap((issue) => {
    if (issue.code !== 'invalid_union' || issue.errors.length === 0) return [issue];
    const [closest = []] = issue.errors.map(flat).sort((a, b) => strangeness(a) - strangeness(b));
    return closest.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }));
  });
}

/** A constant that is another one speaks against an alternative more than any number of fields that are wrong. */
function strangeness(issues: readonly z.core.$ZodIssue[]): number {
  return issues.length + 1_000 * issues.filter(({ code }) => code === 'invalid_value').length;
}
