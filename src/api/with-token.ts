import type { Context } from 'hono';
import type { CausalContext } from '../core/causal-context.ts';
import { signToken } from './causal-token.ts';
import type { ApiEnv } from './env.ts';
import { problemResponse } from './problem.ts';

/**
 * Every data answer carries the token, failures too: a caller that was told "not found" has seen that. Its type is that of
 * what is answered if all goes well, which is all that `hc` tells of any route.
 */
export function withToken<Answer extends Response>(
  c: Context<ApiEnv>,
  seen: CausalContext,
  respond: () => Answer | Promise<Answer>,
): Promise<Answer>;
export async function withToken(
  c: Context<ApiEnv>,
  seen: CausalContext,
  respond: () => Response | Promise<Response>,
): Promise<Response> {
  const token = await signToken(seen, c.var.grant.space, c.env.CAUSEWAY_SECRET ?? '');
  let response: Response;
  try {
    response = await respond();
  } catch (error) {
    response = problemResponse(error);
  }
  response.headers.set('X-Causal-Token', token);
  return response;
}
