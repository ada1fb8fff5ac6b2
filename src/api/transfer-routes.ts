import { type Context, Hono } from 'hono';
import * as z from 'zod';
import type { CausalContext } from '../core/causal-context.ts';
import { type EntityVersion, writtenBy } from '../core/entity.ts';
import { parseJson } from '../protocol/codec.ts';
import { fromResult, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { record } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Write } from '../sync/write.ts';
import { cloudHere } from './cloud-here.ts';
import type { ApiEnv } from './env.ts';
import { adminOnly, isAllowed, requireWrite } from './grant.ts';
import { problemResponse } from './problem.ts';
import { afterOf, entityOf } from './request-headers.ts';
import { withToken } from './with-token.ts';

type C = Context<ApiEnv>;

/** A whole space as NDJSON, one record a line, out and in. `http.md`, section 4. */
export const transferRoutes = new Hono<ApiEnv>()
  .use('/export', cloudHere, adminOnly)
  .use('/import', cloudHere, adminOnly)

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
  })

  /** Stops at the first line that is wrong; what came before it stays, and the same lines again change nothing. */
  .post('/import', async (c) => {
    if (c.req.header('Content-Encoding') !== undefined) {
      throw new SyncError('unsupported_encoding', 'an import comes as plain text');
    }
    const counts = { imported: 0, unchanged: 0 };
    let seen: CausalContext = await afterOf(c);
    const take = async (writes: readonly Write[]) => {
      if (writes.length === 0) return;
      const { result, seen: after } = await cloud(c).importRecords(writes, seen);
      seen = after;
      const { imported, unchanged } = fromResult(result);
      counts.imported += imported;
      counts.unchanged += unchanged;
    };

    let line = 0;
    let waiting: Write[] = [];
    /** Of those that wait. */
    let lines: number[] = [];
    let chars = 0;
    try {
      for await (const text of linesOf(c.req.raw.body)) {
        line += 1;
        if (text.trim() === '') continue;
        const write = writeOf(c, text);
        const isFull = waiting.length === LIMITS.importTogether || chars + text.length > LIMITS.importChars;
        if (isFull) {
          await take(waiting);
          [waiting, lines, chars] = [[], [], 0];
        }
        waiting.push(write);
        lines.push(line);
        chars += text.length;
      }
      await take(waiting);
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      const { index } = error.details;
      const at = (index === undefined ? undefined : lines[index]) ?? line;
      const details = { ...error.details, ...counts, index: at - 1 };
      return await withToken(c, seen, () =>
        problemResponse(new SyncError(error.code, `line ${at}: ${error.message}`, details)),
      );
    }
    return await withToken(c, seen, () => c.json({ success: true, ...counts }));
  });

function cloud(c: C) {
  return c.env.CLOUD.getByName(c.var.grant.space);
}

const importLine = z.object({ entityType: z.string(), entityId: z.string(), data: record });

function writeOf(c: C, text: string): Write {
  const { entityType, entityId, data } = parseWith(importLine, parseJson(text));
  const entity = entityOf(entityType, entityId);
  requireWrite(c.var.grant, entity.entityType);
  return { ...entity, kind: 'put', data };
}

/** @throws SyncError `too_large` for a line that no record needs; `bad_json` for what is no UTF-8. */
async function* linesOf(body: ReadableStream<Uint8Array> | null): AsyncGenerator<string> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
  let rest = '';
  const decoded = (bytes?: Uint8Array) => {
    try {
      return bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true });
    } catch {
      throw new SyncError('bad_json', 'the text is not UTF-8');
    }
  };
  for await (const bytes of body ?? []) {
    const lines = (rest + decoded(bytes)).split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
    if (rest.length > LIMITS.bodyBytes)
      throw new SyncError('too_large', `a line may have ${LIMITS.bodyBytes} characters`);
  }
  rest += decoded();
  if (rest !== '') yield rest;
}

export function recordOf(entity: EntityVersion) {
  const { entityType, entityId, data, version, seq } = entity;
  return { entityType, entityId, data, version, seq, updatedAt: writtenBy(entity).updatedAt };
}
