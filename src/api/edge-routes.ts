import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { ConsistencyLevel } from '../core/consistency.ts';
import type { EntityId, EntityType, NodeId } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { policyFor } from '../core/policy.ts';
import type { EdgeRecord, EdgeWritten } from '../edge/answers.ts';
import type { EdgeAnswer, NetworkChange } from '../edge/edge-node.ts';
import { policies } from '../policies.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { entityType, operations } from '../protocol/messages.ts';
import type { Served } from '../sync/access.ts';
import type { Write, WriteContent } from '../sync/write.ts';
import { readMessage, readObject } from './body.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireRead, requireRole, requireWrite } from './grant.ts';
import {
  afterOf,
  entityOf,
  entityTypeOf,
  hintsOf,
  levelOf,
  limitOf,
  listAfterOf,
  nodeOf,
  onceOf,
  preconditionOf,
  priorityOf,
  quorumOf,
  readDemandOf,
  sessionOf,
  waitMsOf,
} from './request-headers.ts';
import { takes } from './takes.ts';
import { withToken } from './with-token.ts';

type C = Context<ApiEnv>;

/** `/v1/edge/{node}`: data at an edge node, and the node itself. `http.md`, sections 2 and 3. */
export const edgeRoutes = new Hono<ApiEnv>()
  .put('/:node/data/:type/:id', takes<JsonObject>(), async (c) => write(c, { kind: 'put', data: await readObject(c) }))

  .patch('/:node/data/:type/:id', takes<z.infer<typeof patchBody>>(), async (c) => write(c, await patchOf(c)))

  .delete('/:node/data/:type/:id', async (c) => write(c, { kind: 'delete' }))

  .get('/:node/data/:type/:id', async (c) => {
    const entity = entityOf(c.req.param('type'), c.req.param('id'));
    requireRead(c.var.grant, entity.entityType);
    const demand = await readDemandOf(c, entity.entityType);
    const { ifNoneMatch } = preconditionOf(c);
    const quorum = quorumOf(c, 'X-Read-Quorum') ?? policyFor(policies, entity.entityType).readQuorum;
    const options = { quorum, session: sessionOf(c, demand.level) };
    const answer = await stub(c, allowedNode(c)).read(entity, demand, hintsOf(c), options);
    return await withToken(c, answer.context, () => {
      const { record, ...from } = fromResult(answer.result);
      const served = { ...from, consistency: demand.level };
      if (record === null) throw notThere(entity, served);
      const headers = { ETag: `"${record.version}"` };
      if (ifNoneMatch === '*' || ifNoneMatch === record.version) return c.body(null, 304, headers);
      return c.json({ entityType: entity.entityType, ...recordBody(record, answer, served) }, 200, headers);
    });
  })

  .get('/:node/data/:type', async (c) => {
    const entityType = entityTypeOf(c.req.param('type'));
    requireRead(c.var.grant, entityType);
    if ((quorumOf(c, 'X-Read-Quorum') ?? 1) > 1) throw new SyncError('bad_request', 'a list is of one replica');
    const demand = await readDemandOf(c, entityType);
    const [after, limit] = [listAfterOf(c), limitOf(c)];
    const options = { session: sessionOf(c, demand.level) };
    const answer = await stub(c, allowedNode(c)).list(entityType, after, limit, demand, hintsOf(c), options);
    return await withToken(c, answer.context, () => {
      const { items, next, ...from } = fromResult(answer.result);
      const served = { ...from, consistency: demand.level };
      const bodies = items.map((record) => ({ entityType, ...recordBody(record, answer, served) }));
      return c.json({ items: bodies, next, ...served });
    });
  })

  .get('/:node/status', async (c) => c.json(await stub(c, allowedNode(c)).status(hintsOf(c))))

  .post('/:node/sync', async (c) => c.json(await stub(c, allowedNode(c)).sync(hintsOf(c))))

  .put('/:node/network', takes<z.input<typeof networkChange>>(), async (c) => {
    const change = await readMessage(c, networkChange);
    if (change.online !== undefined && c.var.grant.role === 'client') {
      throw new SyncError('forbidden', 'a client may report what the link is like, and not cut it');
    }
    const node = stub(c, allowedNode(c));
    await node.setNetwork(change);
    return c.json(await node.status(hintsOf(c)));
  })

  .put('/:node/filter', takes<z.infer<typeof filterBody>>(), async (c) => {
    requireRole(c.var.grant, 'node', 'admin');
    const { entityTypes } = await readMessage(c, filterBody);
    const node = stub(c, allowedNode(c));
    await node.setFilter(entityTypes);
    return c.json(await node.status(hintsOf(c)));
  });

/** Null: all types. */
const filterBody = z.strictObject({ entityTypes: z.array(entityType).min(1).max(LIMITS.filterTypes).nullable() });

/** Null takes back what was said before. */
const networkChange = z
  .strictObject({
    online: z.boolean().optional(),
    effectiveType: z.enum(['4g', '3g', '2g', 'slow-2g']).nullish(),
    saveData: z.boolean().nullish(),
    rttMs: z.number().min(0).max(3_600_000).nullish(),
  })
  .transform(
    (said): NetworkChange => Object.fromEntries(Object.entries(said).map(([key, value]) => [key, value ?? undefined])),
  );

export const patchBody = z.strictObject({ operations });

/** @throws SyncError `unsupported_encoding`, and for a body that is none of its content type. */
export async function patchOf(c: C): Promise<WriteContent> {
  const type = (c.req.header('Content-Type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'application/merge-patch+json') return { kind: 'merge-patch', patch: await readObject(c) };
  if (OPERATIONS_TYPES.has(type)) return { kind: 'patch', operations: (await readMessage(c, patchBody)).operations };
  throw new SyncError('unsupported_encoding', 'a PATCH is application/json or application/merge-patch+json');
}

/** A list of operations; also what `curl -d` and `fetch` call a text when they aren't told what it is. */
const OPERATIONS_TYPES = new Set(['application/json', '', 'application/x-www-form-urlencoded', 'text/plain']);

/** What a write answers, at an edge and at the cloud. `http.md`, section 2. */
export function writtenBody(
  entity: { entityType: EntityType; entityId: EntityId },
  written: Omit<EdgeWritten, 'created'>,
  vectorClock: EdgeAnswer<unknown>['vectorClock'],
  consistency: ConsistencyLevel,
) {
  return {
    success: true,
    ...entity,
    ...(written.entityId === undefined ? {} : { entityId: written.entityId }),
    version: written.version,
    vectorClock,
    synced: written.synced,
    consistency,
    changeId: written.changeId,
    data: written.data,
    ...(written.conflictId === undefined ? {} : { conflict: { id: written.conflictId } }),
  };
}

async function write(c: C, content: WriteContent) {
  const entity = entityOf(c.req.param('type') ?? '', c.req.param('id') ?? '');
  requireWrite(c.var.grant, entity.entityType);
  const policy = policyFor(policies, entity.entityType);
  const level = levelOf(c, policy);
  const demanded: Write = { ...entity, ...content, ...preconditionOf(c), priority: priorityOf(c) };
  const options = {
    once: onceOf(c, level === 'strong' ? 'cloud' : 'edge', { ...entity, ...content, ...preconditionOf(c) }),
    quorum: quorumOf(c, 'X-Write-Quorum') ?? policy.writeQuorum,
    session: sessionOf(c, level),
  };
  const node = stub(c, allowedNode(c));
  const after = await afterOf(c);
  const answer =
    level === 'strong'
      ? await node.writeStrong(demanded, after, waitMsOf(c), hintsOf(c), options)
      : await node.write(demanded, after, waitMsOf(c), hintsOf(c), options);
  return await withToken(c, answer.context, () => {
    const written = fromResult(answer.result);
    const body = writtenBody(entity, written, answer.vectorClock, level);
    return c.json(body, written.created ? 201 : 200, { ETag: `"${written.version}"` });
  });
}

/** What each read says of itself, whatever it found. */
export interface ServedAt extends Served {
  readonly consistency: ConsistencyLevel;
}

function recordBody(record: EdgeRecord, answer: EdgeAnswer<unknown>, served: ServedAt) {
  const { entityId, data, version, updatedAt, synced } = record;
  return { entityId, data, version, vectorClock: answer.vectorClock, updatedAt, synced, ...served };
}

export function notThere(
  { entityType, entityId }: Pick<Write, 'entityType' | 'entityId'>,
  served: ServedAt,
): SyncError {
  return new SyncError('not_found', `there is no ${entityType}/${entityId}`, { ...served });
}

function allowedNode(c: C): NodeId {
  const node = nodeOf(c, c.req.param('node') ?? '');
  requireNode(c.var.grant, node);
  return node;
}

function stub(c: C, node: NodeId) {
  return c.env.EDGE.getByName(`${c.var.grant.space}/${node}`);
}
