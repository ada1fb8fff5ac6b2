import * as z from 'zod';
import { LIMITS } from './limits.ts';
import { count, entityType } from './messages.ts';

/** The messages on live sockets (`http.md`, sections 3 and 5). Unknown fields are let pass and ignored. */

export const LIVE_SUBPROTOCOL = 'causeway.v1';
/** In front of a token, as a further subprotocol of who can't send headers. */
export const BEARER_SUBPROTOCOL = 'causeway.bearer.';

/** What a client sends: which types it wants; none named: all that its token may read. */
export const subscribe = z.object({
  type: z.literal('subscribe'),
  entityTypes: z.array(entityType).max(LIMITS.filterTypes).optional(),
});

/** What the cloud sends to a node: there is something to pull. */
export const poke = z.object({ type: z.literal('poke'), head: count });
export type Poke = z.infer<typeof poke>;

/** Why a socket is closed by the server: codes of RFC 6455, section 7.4, and one of our own. */
export const CLOSE = {
  /** Messages of this kind may not be sent, or not so many. */
  policyViolation: 1008,
  tooBig: 1009,
  /** It doesn't take what it is sent fast enough. */
  tryAgainLater: 1013,
  /** The token's time is over. */
  expired: 4401,
} as const;
