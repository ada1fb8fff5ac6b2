import * as z from 'zod';
import { type EntityId, type EntityType, toEntityId, toEntityType } from '../../src/core/ids.ts';
import { isJsonObject, type JsonObject } from '../../src/core/json.ts';

/** What the demo reads of the server's answers, in the words of the HTTP contract; other fields are ignored. */

const count = z.number().int().min(0);
const record = z.custom<JsonObject>(isJsonObject, 'a JSON object');
const entityType = z.custom<EntityType>(
  (value) => typeof value === 'string' && toEntityType(value) !== undefined,
  'an entity type',
);
const entityId = z.custom<EntityId>(
  (value) => typeof value === 'string' && toEntityId(value) !== undefined,
  'an entity id',
);
const next = z.string().nullish();

export const problem = z.object({
  status: z.number(),
  code: z.string(),
  detail: z.string().default(''),
  retryAfterMs: z.number().optional(),
});

/** `data` is null where the write was a delete. */
export const written = z.object({
  success: z.literal(true),
  version: z.string(),
  changeId: z.string(),
  data: record.nullable(),
});
export type Written = z.infer<typeof written>;

export const readAnswer = z.object({
  data: record,
  version: z.string(),
  source: z.enum(['edge', 'cloud']),
  stalenessMs: z.number().min(0),
});

export const cloudRead = z.object({ vectorClock: z.object({ cloud: count }) });

export const entity = z.object({ entityType, entityId, version: z.string(), data: record });
export type Entity = z.infer<typeof entity>;

export const entityPage = z.object({ items: z.array(entity), next });

export const queryPage = z.object({ items: z.array(entity), next, asOf: z.number(), lagMs: z.number().min(0) });

export const nodeStatus = z.object({
  state: z.string(),
  online: z.boolean(),
  cursor: count,
  queue: z.object({
    total: count,
    dead: count,
    bytes: count,
    byPriority: z.object({ critical: count, high: count, normal: count }),
  }),
  plan: z.object({ strategy: z.enum(['full', 'priority', 'critical']) }),
  digest: z.string(),
  traffic: z.object({ uploaded: count, roundTrips: count, bytesUp: count, bytesDown: count }),
});
export type NodeStatus = z.infer<typeof nodeStatus>;

export const syncSummary = z.object({
  success: z.boolean(),
  uploaded: count,
  downloaded: count,
  conflicts: count,
  rejected: count,
  error: z.object({ code: z.string(), detail: z.string() }).optional(),
});
export type SyncSummary = z.infer<typeof syncSummary>;

const side = z.object({ version: z.string(), stamp: z.string(), data: record.nullable() });
export const conflict = z.object({
  id: z.string(),
  type: z.string(),
  entityType,
  entityId,
  local: side,
  remote: side,
  resolution: z.object({
    winner: z.enum(['local', 'remote', 'merged']),
    resolvedData: record.nullable(),
    metadata: z.object({ strategy: z.string(), reason: z.string() }),
  }),
  status: z.enum(['open', 'resolved']),
});
export type Conflict = z.infer<typeof conflict>;

export const conflictPage = z.object({ items: z.array(conflict), next });
