import * as z from 'zod/mini';
import type { ErrorCode } from './errors.ts';
import { LIMITS } from './limits.ts';
import { count, entityType, nodeId } from './messages.ts';

/** The messages on live sockets (`http.md`, sections 3 and 5). Unknown fields are let pass and ignored. */

export const LIVE_SUBPROTOCOL = 'causeway.v1';
/** In front of a token, as a further subprotocol of who can't send headers. */
export const BEARER_SUBPROTOCOL = 'causeway.bearer.';

/** What a client sends: which types it wants; none named: all that its token may read. */
export const subscribe = z.object({
  type: z.literal('subscribe'),
  entityTypes: z.optional(z.array(entityType).check(z.maxLength(LIMITS.filterTypes))),
});

/** A client may send this text, and is answered with the other one: the line still holds. To the letter, on any socket. */
export const PING = '{"type":"ping"}';
export const PONG = '{"type":"pong"}';

/** What the cloud sends to a node: there is something to pull. `source`: the node that has brought it all, and so knows. */
export const poke = z.object({ type: z.literal('poke'), head: count, source: z.optional(nodeId) });
export type Poke = z.infer<typeof poke>;

/** What a server says before it ends a socket. */
export interface LiveError {
  readonly type: 'error';
  readonly code: ErrorCode;
  readonly detail: string;
}

/** A socket that the server ends is closed with this and the HTTP status of the reason: 4401 where the token has run out. */
export const CLOSE_CODES = 4_000;
