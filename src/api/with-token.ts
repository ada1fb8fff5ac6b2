import type { Context } from 'hono';
import type { CausalContext } from '../core/causal-context.ts';
import { signToken } from './causal-token.ts';
import type { ApiEnv } from './env.ts';
import { problemResponse } from './problem.ts';

/** Every data answer carries the token, failures too: a caller that was told "not found" has seen that. */
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
