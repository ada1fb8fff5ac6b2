import { type Context, Hono } from 'hono';
import * as z from 'zod';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import type { ManualDecision } from '../sync/conflict-record.ts';
import type { ConflictFilter, ConflictRecord, PastDecision } from '../sync/ports.ts';
import { readMessage } from './body.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { adminOnly, requireRead, requireWrite } from './grant.ts';
import { afterOf, entityTypeOf, limitOf, preconditionOf, queryOf } from './request-headers.ts';
import { takes } from './takes.ts';
import { withToken } from './with-token.ts';

type C = Context<ApiEnv>;

/** `/v1/conflicts`: the inbox of open conflicts, and the history of all. `http.md`, section 4. */
export const conflictRoutes = new Hono<ApiEnv>()
  .use(cloudHere, adminOnly)

  .get('/', async (c) => {
    const { items, next } = await cloud(c).conflicts({
      status: statusOf(c.req.query('status') ?? 'open'),
      entityTypes: entityTypesOf(c),
      after: queryOf(c, 'after') ?? '',
      limit: limitOf(c),
    });
    return c.json({ items: items.map(conflictBody), next });
  })

  .get('/:id', async (c) => c.json(conflictBody(await conflictOf(c, c.req.param('id')))))

  .post('/:id/resolve', takes<ManualDecision>(), async (c) => {
    const decision = await readMessage(c, decisionBody);
    const { grant } = c.var;
    const { id, entityType } = await conflictOf(c, c.req.param('id'));
    requireWrite(grant, entityType);
    const after = await afterOf(c);
    const by = grant.sub ?? grant.role;
    const { result, seen } = await cloud(c).resolveConflict(id, decision, by, preconditionOf(c), after);
    return await withToken(c, seen, () => c.json(conflictBody(fromResult(result))));
  });

/** Either `data` (null: the entity is deleted) or `winner`. */
const decisionBody: z.ZodType<ManualDecision> = z
  .strictObject({
    data: z.custom<JsonObject>(isJsonObject, 'a JSON object, or null').nullable().optional(),
    winner: z.enum(['local', 'remote']).optional(),
  })
  .transform(({ data, winner }, context): ManualDecision => {
    if (winner !== undefined && data === undefined) return { winner };
    if (winner === undefined && data !== undefined) return { data };
    context.addIssue({ code: 'custom', message: 'send either data or winner' });
    return z.NEVER;
  });

/** @throws SyncError `not_found`, `forbidden` */
async function conflictOf(c: C, id: string): Promise<ConflictRecord> {
  const conflict = await cloud(c).conflict(id);
  if (conflict === null) throw new SyncError('not_found', 'there is no such conflict');
  requireRead(c.var.grant, conflict.entityType);
  return conflict;
}

/** The types that are asked for and that the token may read; undefined: all. */
function entityTypesOf(c: C): readonly string[] | undefined {
  const text = c.req.query('entityType');
  if (text === undefined) return c.var.grant.types?.read;
  const entityType = entityTypeOf(text);
  requireRead(c.var.grant, entityType);
  return [entityType];
}

function statusOf(text: string): ConflictFilter['status'] {
  if (text === 'open' || text === 'resolved' || text === 'all') return text;
  throw new SyncError('bad_request', 'status is open, resolved or all');
}

function conflictBody({ atMs, decidedAtMs, history, ...conflict }: ConflictRecord) {
  return { ...conflict, at: atMs, decidedAt: decidedAtMs, history: history.map(pastDecisionBody) };
}

function pastDecisionBody({ atMs, ...past }: PastDecision) {
  return { ...past, at: atMs };
}

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}
