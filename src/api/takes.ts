import type { MiddlewareHandler } from 'hono';
import type { ApiEnv } from './env.ts';

/** Tells `hc`, by its type alone, what body a call takes. The handler reads and checks it. */
export function takes<Body>(): MiddlewareHandler<ApiEnv, string, { in: { json: Body }; out: object }> {
  return async (_, next) => await next();
}
