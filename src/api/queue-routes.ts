import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { NodeId } from '../core/ids.ts';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import { parseWith } from '../protocol/parse.ts';
import { QUEUE_STATUSES, type QueueStatus } from '../sync/offline-queue.ts';
import { readOptional } from './body.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRole } from './grant.ts';
import { limitOf, nodeOf } from './request-headers.ts';
import { takes } from './takes.ts';

type C = Context<ApiEnv>;

/** `/v1/edge/{node}/queue`: what waits at a node, and its dead letters. `http.md`, section 3. */
export const queueRoutes = new Hono<ApiEnv>()
  .get('/:node/queue', async (c) => {
    const filter = { status: statusOf(c.req.query('status')), after: placeOf(c.req.query('after')), limit: limitOf(c) };
    return c.json(fromResult(await stub(c).listQueue(filter)));
  })

  .post('/:node/queue/:changeId/retry', takes<z.infer<typeof retryBody>>(), async (c) => {
    const body = parseWith(retryBody, await readOptional(c));
    return c.json(fromResult(await stub(c).retryDead(c.req.param('changeId'), body.data)));
  })

  .delete('/:node/queue/:changeId', async (c) => {
    return c.json(fromResult(await stub(c).discardDead(c.req.param('changeId'))));
  });

const retryBody = z.strictObject({
  data: z.custom<JsonObject>(isJsonObject, 'a JSON object').optional(),
});

function statusOf(text: string | undefined): QueueStatus | undefined {
  if (text === undefined) return undefined;
  const status = QUEUE_STATUSES.find((name) => name === text);
  if (status === undefined) throw new SyncError('bad_request', `status is one of ${QUEUE_STATUSES.join(', ')}`);
  return status;
}

/** The place in the queue that `next` named. */
function placeOf(text = '0'): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new SyncError('bad_request', 'after is the `next` of the page before');
}

/** Not for apps: a dead letter is the business of who runs the node. */
function stub(c: C) {
  const node: NodeId = nodeOf(c, c.req.param('node') ?? '');
  requireRole(c.var.grant, 'node', 'admin');
  requireNode(c.var.grant, node);
  return c.env.EDGE.getByName(`${c.var.grant.space}/${node}`);
}
