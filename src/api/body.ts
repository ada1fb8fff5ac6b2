import type { Context } from 'hono';
import type * as z from 'zod';
import { isJsonObject, type JsonObject } from '../core/json.ts';
import { parseJson } from '../protocol/codec.ts';
import { SyncError } from '../protocol/errors.ts';
import { decodeText } from '../protocol/inflate.ts';
import { LIMITS } from '../protocol/limits.ts';
import { parseWith } from '../protocol/parse.ts';
import { checkContent } from '../protocol/record.ts';

/**
 * The text of a body, plain or `Content-Encoding: deflate`.
 *
 * @throws SyncError `too_large` (before it is read to the end), `unsupported_encoding`, `bad_json`
 */
export async function readText(c: Context): Promise<string> {
  const encoding = (c.req.header('Content-Encoding') ?? 'identity').trim().toLowerCase();
  return decodeText(await readBytes(c.req.raw), encoding, LIMITS.batchBytes);
}

/** @throws SyncError as {@link readJson}, and `bad_request` for what isn't a JSON object. */
export async function readObject(c: Context): Promise<JsonObject> {
  const value = await readJson(c);
  if (!isJsonObject(value)) throw new SyncError('bad_request', 'the body has to be a JSON object');
  return value;
}

/** What a body that may be left out holds; an empty object, if it is. @throws SyncError as {@link readJson} */
export async function readOptional(c: Context): Promise<unknown> {
  const text = await readText(c);
  return text.trim() === '' ? {} : checkedJson(text);
}

/** @throws SyncError as {@link readJson}, and `bad_request` with the issues. */
export async function readMessage<T>(c: Context, schema: z.core.$ZodType<T>): Promise<T> {
  return parseWith(schema, await readJson(c));
}

/**
 * A body with one record or change, or less. Checked here already, since not even a Durable Object's stub takes what is
 * nested too deeply.
 *
 * @throws SyncError as {@link readText}, and `bad_json`, `too_deep`, `invalid_data`.
 */
async function readJson(c: Context): Promise<unknown> {
  return checkedJson(await readText(c));
}

function checkedJson(text: string): unknown {
  const value = parseJson(text);
  checkContent(value, LIMITS.changeDepth);
  return value;
}

async function readBytes(request: Request): Promise<Uint8Array> {
  const tooLarge = new SyncError('too_large', `a body may have ${LIMITS.bodyBytes} bytes`);
  if (Number(request.headers.get('Content-Length') ?? 0) > LIMITS.bodyBytes) throw tooLarge;
  const chunks: Uint8Array[] = [];
  let total = 0;
  for await (const chunk of request.body ?? []) {
    total += chunk.byteLength;
    if (total > LIMITS.bodyBytes) throw tooLarge;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(total);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
