import type { Context } from 'hono';
import type { VectorClock } from '../core/vector-clock.ts';
import { signToken } from './causal-token.ts';
import type { ApiEnv } from './env.ts';
import { problemResponse } from './problem.ts';

/** Every data answer carries the token, failures too: a caller that was told "not found" has seen that. */
export async function withToken(
  c: Context<ApiEnv>,
  clock: VectorClock,
  respond: () => Response | Promise<Response>,
): Promise<Response> {
  const token = await signToken(clock, c.var.grant.space, c.env.CAUSEWAY_SECRET ?? '');
  let response: Response;
  try {
    response = await respond();
  } catch (error) {
    response = problemResponse(error);
  }
  response.headers.set('X-Causal-Token', token);
  return response;
}
