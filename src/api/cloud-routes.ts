import { type Context, Hono } from 'hono';
import type * as z from 'zod';
import type { CausalContext } from '../core/causal-context.ts';
import type { ConsistencyLevel } from '../core/consistency.ts';
import { CLOUD, entityKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { policyFor } from '../core/policy.ts';
import { entry } from '../core/vector-clock.ts';
import { policies } from '../policies.ts';
import { fromResult, SyncError, tooFew } from '../protocol/errors.ts';
import { leftOf } from '../sync/within.ts';
import type { WriteContent } from '../sync/write.ts';
import { readObject } from './body.ts';
import { cloudHere } from './cloud-here.ts';
import { notThere, type patchBody, patchOf, type ServedAt, writtenBody } from './edge-routes.ts';
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
  readDemandOf,
  sessionOf,
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
    const { level } = await readDemandOf(c, address.entityType);
    const { ifNoneMatch } = preconditionOf(c);
    const key = entityKey(address);
    const quorum = quorumOf(c, 'X-Read-Quorum') ?? policyFor(policies, address.entityType).readQuorum ?? 1;
    const { entity, seen, covered, answered } = await inSession(c, level, (after, leftMs) =>
      cloud(c).read(key, after, leftMs(), quorum),
    );
    return await withToken(c, seen, () => {
      if (!covered) {
        const detail = 'what the token has seen has not arrived in the cloud';
        throw new SyncError('causality_timeout', detail, { retryAfterMs: 1_000 });
      }
      if (answered < quorum) throw tooFew(quorum, answered, 'too few replicas answered');
      const served: ServedAt = { source: 'cloud', stalenessMs: 0, consistency: 'strong' };
      if (entity === null || entity.data === null) throw notThere(address, served);
      const headers = { ETag: `"${entity.version}"` };
      if (ifNoneMatch === '*' || ifNoneMatch === entity.version) return c.body(null, 304, headers);
      return c.json({ ...recordOf(entity), vectorClock: seen.clock, synced: true, ...served }, 200, headers);
    });
  })

  .put('/data/:type/:id', takes<JsonObject>(), async (c) => write(c, { kind: 'put', data: await readObject(c) }))
  .patch('/data/:type/:id', takes<z.infer<typeof patchBody>>(), async (c) => write(c, await patchOf(c)))
  .delete('/data/:type/:id', async (c) => write(c, { kind: 'delete' }))

  .get('/data/:type', async (c) => {
    const entityType = entityTypeOf(c.req.param('type'));
    requireRead(c.var.grant, entityType);
    if ((quorumOf(c, 'X-Read-Quorum') ?? 1) > 1) throw new SyncError('bad_request', 'a list is of one replica');
    const demand = await readDemandOf(c, entityType);
    const query: Query = {
      space: c.var.grant.space,
      entityType,
      where: c.req.queries('where') ?? [],
      order: queryOf(c, 'order'),
      after: queryOf(c, 'after'),
      limit: limitOf(c),
    };
    const { result, seen } = await inSession(c, demand.level, (after, leftMs) =>
      cloud(c).queryable({ ...demand, after, waitMs: leftMs() }),
    );
    return await withToken(c, seen, async () => {
      const { asOfMs, lagMs } = fromResult(result);
      const served: ServedAt = { source: 'cloud', stalenessMs: lagMs, consistency: demand.level };
      return c.json({ ...(await queryPage(c.env.DB, query)), asOf: asOfMs, lagMs, ...served });
    });
  });

async function write(c: C, content: WriteContent) {
  const entity = entityOf(c.req.param('type') ?? '', c.req.param('id') ?? '');
  requireWrite(c.var.grant, entity.entityType);
  // The cloud serves every level as the strong one; what is none is refused.
  const level = levelOf(c, policyFor(policies, entity.entityType));
  const leftMs = leftOf({ nowMs: Date.now }, waitMsOf(c));
  const demanded = { ...entity, ...content, ...preconditionOf(c) };
  const quorum = quorumOf(c, 'X-Write-Quorum') ?? policyFor(policies, entity.entityType).writeQuorum ?? 1;
  const once = onceOf(c, 'cloud', demanded);
  const { result, seen } = await inSession(c, level, (after) => cloud(c).write(demanded, after, once));
  return await withToken(c, seen, async () => {
    const written = fromResult(result);
    const at = { epoch: seen.epoch, cursor: entry(seen.clock, CLOUD) };
    // It may fail in between; what is written stays.
    const others =
      quorum > 1
        ? await cloud(c)
            .holders(at, quorum - 1, leftMs())
            .catch(() => 0)
        : 0;
    if (others + 1 < quorum) throw tooFew(quorum, others + 1, 'the write is durable in the cloud');
    const body = writtenBody(entity, { ...written, synced: true }, seen.clock, 'strong');
    return c.json(body, written.created ? 201 : 200, { ETag: `"${written.version}"` });
  });
}

/**
 * Does something for a caller who has seen what its token says, and what its session has. Where the session is called away
 * meanwhile, it is called back: what is done in its name counts.
 */
async function inSession<T>(
  c: C,
  level: ConsistencyLevel,
  body: (after: CausalContext, leftMs: () => number) => Promise<T>,
): Promise<T> {
  const leftMs = leftOf({ nowMs: Date.now }, waitMsOf(c));
  const after = await afterOf(c);
  const session = sessionOf(c, level);
  if (session === undefined) return await body(after, leftMs);
  const all = fromResult(await cloud(c).enterSession(session, after, leftMs()));
  try {
    return await body(all, leftMs);
  } finally {
    const back = { ...session, isNeeded: false };
    await cloud(c)
      .enterSession(back, {}, leftMs())
      .catch(() => undefined);
  }
}

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}
