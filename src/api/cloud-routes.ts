import { type Context, Hono } from 'hono';
import { type EntityVersion, writtenBy } from '../core/entity.ts';
import { entityKey } from '../core/ids.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import type { WriteContent } from '../sync/replica.ts';
import { readObject } from './body.ts';
import { signToken } from './causal-token.ts';
import { patchOf, writtenBody } from './edge-routes.ts';
import type { ApiEnv } from './env.ts';
import { isAllowed, requireRead, requireRole, requireWrite } from './grant.ts';
import { problemResponse } from './problem.ts';
import { afterOf as cursorBehind, type QueryRow, querySql } from './query.ts';
import { afterOf, entityOf, entityTypeOf, limitOf, preconditionOf, refuseQuorum } from './request-headers.ts';

type C = Context<ApiEnv>;

/** `/v1`: data at the cloud; the conflicts are in `conflict-routes`. `http.md`, section 4. */
export const cloudRoutes = new Hono<ApiEnv>()
  .use(async (c, next) => {
    requireRole(c.var.grant, 'admin');
    await next();
  })

  .get('/data/:type/:id', async (c) => {
    const address = entityOf(c.req.param('type'), c.req.param('id'));
    requireRead(c.var.grant, address.entityType);
    refuseQuorum(c);
    await afterOf(c);
    const { entity, clock } = await cloud(c).read(entityKey(address));
    return await withToken(c, clock, () => {
      if (entity === null || entity.data === null) {
        throw new SyncError('not_found', `there is no ${address.entityType}/${address.entityId}`);
      }
      const { ifNoneMatch } = preconditionOf(c);
      const headers = { ETag: `"${entity.version}"` };
      if (ifNoneMatch === '*' || ifNoneMatch === entity.version) return c.body(null, 304, headers);
      const served = { synced: true, source: 'cloud', stalenessMs: 0, consistency: 'strong' };
      return c.json({ ...recordOf(entity), vectorClock: clock, ...served }, 200, headers);
    });
  })

  .put('/data/:type/:id', async (c) => write(c, { kind: 'put', data: await readObject(c) }))
  .patch('/data/:type/:id', async (c) => write(c, await patchOf(c)))
  .delete('/data/:type/:id', async (c) => write(c, { kind: 'delete' }))

  .get('/data/:type', async (c) => {
    const entityType = entityTypeOf(c.req.param('type'));
    requireRead(c.var.grant, entityType);
    const limit = limitOf(c);
    const { sql, params } = querySql({
      space: c.var.grant.space,
      entityType,
      where: c.req.queries('where') ?? [],
      order: c.req.query('order'),
      after: c.req.query('after'),
      limit,
    });
    // The lag first: what D1 holds when it is asked is at least as new.
    const lag = await cloud(c).lag();
    const { results } = await c.env.DB.prepare(sql)
      .bind(...params)
      .all<QueryRow>();
    const rows = results.slice(0, limit);
    const last = rows.at(-1);
    const next = results.length > limit && last !== undefined ? cursorBehind(last) : null;
    return c.json({
      items: rows.map((row) => ({
        entityType,
        entityId: row.entity_id,
        data: JSON.parse(row.data),
        version: row.version,
        updatedAt: Number.parseInt(row.stamp.slice(0, 12), 16),
        seq: row.seq,
      })),
      next,
      asOf: lag.asOfMs,
      lagMs: lag.lagMs,
    });
  })

  .get('/export', (c) => {
    const space = cloud(c);
    const types = c.var.grant.types?.read;
    const encoder = new TextEncoder();
    let cursor = 0;
    let done = false;
    const lines = new ReadableStream<Uint8Array>({
      async pull(controller) {
        if (done) return controller.close();
        const page = await space.exportPage(cursor);
        cursor = page.cursor;
        done = !page.more;
        const allowed = page.entities.filter(({ entityType }) => isAllowed(types, entityType));
        controller.enqueue(encoder.encode(allowed.map((entity) => `${JSON.stringify(recordOf(entity))}\n`).join('')));
      },
    });
    return c.body(lines, 200, { 'Content-Type': 'application/x-ndjson' });
  });

async function write(c: C, content: WriteContent): Promise<Response> {
  const entity = entityOf(c.req.param('type') ?? '', c.req.param('id') ?? '');
  requireWrite(c.var.grant, entity.entityType);
  refuseQuorum(c);
  await afterOf(c);
  const { result, clock } = await cloud(c).write({ ...entity, ...content, ...preconditionOf(c) });
  return await withToken(c, clock, () => {
    const written = fromResult(result);
    const body = writtenBody(entity, { ...written, synced: true }, clock);
    return c.json(body, written.created ? 201 : 200, { ETag: `"${written.version}"` });
  });
}

/** Every data answer carries the token, failures too: a caller that was told "not found" has seen that. */
export async function withToken(c: C, clock: VectorClock, respond: () => Response): Promise<Response> {
  const token = await signToken(clock, c.var.grant.space, c.env.CAUSEWAY_SECRET ?? '');
  let response: Response;
  try {
    response = respond();
  } catch (error) {
    response = problemResponse(error);
  }
  response.headers.set('X-Causal-Token', token);
  return response;
}

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}

function recordOf(entity: EntityVersion) {
  const { entityType, entityId, data, version, seq } = entity;
  return { entityType, entityId, data, version, seq, updatedAt: writtenBy(entity).updatedAt };
}
