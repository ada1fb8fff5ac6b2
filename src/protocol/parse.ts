import type * as z from 'zod';
import { SyncError } from './errors.ts';
import { LIMITS } from './limits.ts';

/**
 * What a schema makes of something that came from outside.
 *
 * @throws SyncError `bad_request` with the issues.
 */
export function parseWith<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues
    .slice(0, LIMITS.requestIssues)
    .map(({ path, message }) => ({ path: path.join('.'), message }));
  const [first] = issues;
  throw new SyncError('bad_request', `${first?.path || 'the body'}: ${first?.message ?? 'malformed'}`, { issues });
}

/**
 * As {@link parseWith}, of an answer: one that doesn't fit is no refusal, and tells nothing of what was done.
 *
 * @throws SyncError `internal`
 */
export function parseAnswer<T>(schema: z.ZodType<T>, value: unknown): T {
  try {
    return parseWith(schema, value);
  } catch (error) {
    throw new SyncError('internal', `the answer is none of the protocol: ${error}`);
  }
}
