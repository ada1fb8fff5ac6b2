import { type Context, Hono } from 'hono';
import type * as z from 'zod';
import { CLOUD, type EntityType, entityKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { policyFor } from '../core/policy.ts';
import { entry } from '../core/vector-clock.ts';
import { policies } from '../policies.ts';
import { fromResult, SyncError, tooFew } from '../protocol/errors.ts';
import type { WriteContent } from '../sync/write.ts';
import { readObject } from './body.ts';
import { cloudHere } from './cloud-here.ts';
import { type patchBody, patchOf, writtenBody } from './edge-routes.ts';
import type { ApiEnv } from './env.ts';
import { adminOnly, requireRead, requireWrite } from './grant.ts';
import type { Query } from './query.ts';
import { queryPage } from './query-page.ts';
import {
  afterOf,
  entityOf,
  entityTypeOf,
  levelOf,
  limitOf,
  onceOf,
  preconditionOf,
  queryOf,
  quorumOf,
  waitMsOf,
} from './request-headers.ts';
import { takes } from './takes.ts';
import { recordOf } from './transfer-routes.ts';
import { withToken } from './with-token.ts';

type C = Context<ApiEnv>;

/** `/v1`: data at the cloud; the conflicts are in `conflict-routes`. `http.md`, section 4. */
export const cloudRoutes = new Hono<ApiEnv>()
  .use('/data/*', cloudHere, adminOnly)

  .get('/data/:type/:id', async (c) => {
    const address = entityOf(c.req.param('type'), c.req.param('id'));
    requireRead(c.var.grant, address.entityType);
    checkLevel(c, address.entityType);
    const key = entityKey(address);
    const quorum = quorumOf(c, 'X-Read-Quorum') ?? policyFor(policies, address.entityType).readQuorum ?? 1;
    const { entity, seen, covered, answered } = await cloud(c).read(key, await afterOf(c), waitMsOf(c), quorum);
    return await withToken(c, seen, () => {
      if (!covered) {
        const detail = 'what the token has seen has not arrived in the cloud';
        throw new SyncError('causality_timeout', detail, { retryAfterMs: 1_000 });
      }
      if (answered < quorum) throw tooFew(quorum, answered, 'too few replicas answered');
      if (entity === null || entity.data === null) {
        throw new SyncError('not_found', `there is no ${address.entityType}/${address.entityId}`);
      }
      const { ifNoneMatch } = preconditionOf(c);
      const headers = { ETag: `"${entity.version}"` };
      if (ifNoneMatch === '*' || ifNoneMatch === entity.version) return c.body(null, 304, headers);
      const served = { synced: true, source: 'cloud', stalenessMs: 0, consistency: 'strong' };
      return c.json({ ...recordOf(entity), vectorClock: seen.clock, ...served }, 200, headers);
    });
  })

  .put('/data/:type/:id', takes<JsonObject>(), async (c) => write(c, { kind: 'put', data: await readObject(c) }))
  .patch('/data/:type/:id', takes<z.infer<typeof patchBody>>(), async (c) => write(c, await patchOf(c)))
  .delete('/data/:type/:id', async (c) => write(c, { kind: 'delete' }))

  .get('/data/:type', async (c) => {
    const entityType = entityTypeOf(c.req.param('type'));
    requireRead(c.var.grant, entityType);
    const query: Query = {
      space: c.var.grant.space,
      entityType,
      where: c.req.queries('where') ?? [],
      order: queryOf(c, 'order'),
      after: queryOf(c, 'after'),
      limit: limitOf(c),
    };
    const after = await afterOf(c);
    // The lag first: what D1 holds when it is asked is at least as new.
    const { seen, asOfMs, lagMs } = await cloud(c).lag(after);
    return await withToken(c, seen, async () => c.json({ ...(await queryPage(c.env.DB, query)), asOf: asOfMs, lagMs }));
  });

/** The cloud serves every level as the strong one; what is none is refused. */
function checkLevel(c: C, entityType: EntityType): void {
  levelOf(c, policyFor(policies, entityType));
}

async function write(c: C, content: WriteContent) {
  const entity = entityOf(c.req.param('type') ?? '', c.req.param('id') ?? '');
  requireWrite(c.var.grant, entity.entityType);
  checkLevel(c, entity.entityType);
  const demanded = { ...entity, ...content, ...preconditionOf(c) };
  const quorum = quorumOf(c, 'X-Write-Quorum') ?? policyFor(policies, entity.entityType).writeQuorum ?? 1;
  const { result, seen } = await cloud(c).write(demanded, await afterOf(c), onceOf(c, 'cloud', demanded));
  return await withToken(c, seen, async () => {
    const written = fromResult(result);
    const at = { epoch: seen.epoch, cursor: entry(seen.clock, CLOUD) };
    // It may fail in between; what is written stays.
    const others =
      quorum > 1
        ? await cloud(c)
            .holders(at, quorum - 1, waitMsOf(c))
            .catch(() => 0)
        : 0;
    if (others + 1 < quorum) throw tooFew(quorum, others + 1, 'the write is durable in the cloud');
    const body = writtenBody(entity, { ...written, synced: true }, seen.clock, 'strong');
    return c.json(body, written.created ? 201 : 200, { ETag: `"${written.version}"` });
  });
}

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}
