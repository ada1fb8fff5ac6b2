import { Hono } from 'hono';
import * as z from 'zod';
import { policyFor } from '../core/policy.ts';
import { policies } from '../policies.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { operations, record } from '../protocol/messages.ts';
import type { Write } from '../sync/write.ts';
import { readMessage } from './body.ts';
import { writtenBody } from './edge-routes.ts';
import type { ApiEnv } from './env.ts';
import { requireNode, requireWrite } from './grant.ts';
import {
  afterOf,
  entityOf,
  hintsOf,
  levelOf,
  nodeOf,
  onceOf,
  preconditionOf,
  priorityOf,
  quorumOf,
  sessionOf,
  waitMsOf,
} from './request-headers.ts';
import { takes } from './takes.ts';
import { withToken } from './with-token.ts';

/** `/v1/edge/{node}/transactions`: several entities at once, all or nothing. `http.md`, section 2. */
export const transactionRoutes = new Hono<ApiEnv>().post(
  '/:node/transactions',
  takes<z.infer<typeof transactionBody>>(),
  async (c) => {
    const node = nodeOf(c, c.req.param('node'));
    requireNode(c.var.grant, node);
    const { changes } = await readMessage(c, transactionBody);
    const { ifMatch, ifNoneMatch } = preconditionOf(c);
    if ((ifMatch ?? ifNoneMatch) !== undefined) {
      throw new SyncError(
        'bad_request',
        'a transaction takes no If-Match and no If-None-Match: it has several records',
      );
    }
    const priority = priorityOf(c);
    const writes = changes.map((change): Write => {
      const entity = entityOf(change.entityType, change.entityId);
      requireWrite(c.var.grant, entity.entityType);
      return { ...entity, ...contentOf(change), priority };
    });
    const stub = c.env.EDGE.getByName(`${c.var.grant.space}/${node}`);
    // Where one of the records is to be written in the cloud, all are.
    const levels = writes.map(({ entityType }) => levelOf(c, policyFor(policies, entityType)));
    const isStrong = levels.includes('strong');
    const quorums = writes.map(({ entityType }) => policyFor(policies, entityType).writeQuorum ?? 1);
    const options = {
      once: onceOf(c, isStrong ? 'cloud' : 'edge', changes),
      quorum: quorumOf(c, 'X-Write-Quorum') ?? Math.max(...quorums),
      session: sessionOf(c, levels.find((level) => level !== 'eventual') ?? 'eventual'),
    };
    const after = await afterOf(c);
    const answer = await stub.transact(writes, isStrong, after, waitMsOf(c), hintsOf(c), options);
    return await withToken(c, answer.context, () => {
      const written = fromResult(answer.result);
      const { vectorClock } = answer;
      const bodies = writes.flatMap(({ entityType, entityId }, index) => {
        const each = written[index];
        if (each === undefined) return [];
        const operation = each.data === null ? 'delete' : each.created ? 'create' : 'update';
        return {
          operation,
          ...writtenBody(
            { entityType, entityId },
            each,
            vectorClock,
            isStrong ? 'strong' : (levels[index] ?? 'eventual'),
          ),
        };
      });
      return c.json({ success: true, synced: written.every(({ synced }) => synced), vectorClock, changes: bodies });
    });
  },
);

const address = { entityType: z.string(), entityId: z.string() };

const transactionBody = z.strictObject({
  changes: z
    .array(
      z.union([
        z.strictObject({ ...address, operation: z.literal('create'), data: record }),
        z.strictObject({ ...address, operation: z.literal('update'), data: record }),
        z.strictObject({ ...address, operation: z.literal('update'), operations }),
        z.strictObject({ ...address, operation: z.literal('delete') }),
      ]),
    )
    .min(1)
    .max(LIMITS.transactionChanges),
});

/** What is to be created must not be there yet. */
function contentOf(change: z.infer<typeof transactionBody>['changes'][number]) {
  if (change.operation === 'delete') return { kind: 'delete' } as const;
  if ('operations' in change) return { kind: 'patch', operations: change.operations } as const;
  const put = { kind: 'put', data: change.data } as const;
  return change.operation === 'create' ? { ...put, ifNoneMatch: '*' } : put;
}
