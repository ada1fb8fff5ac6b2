import * as z from 'zod';
import { decodeText, encodeText, parseJson } from '../protocol/codec.ts';
import { type ErrorDetails, isErrorCode, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, connectAnswer, handshakeAnswer } from '../protocol/messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Metered, Upstream } from '../sync/ports.ts';

export interface HttpUpstreamOptions {
  /** `https://host/v1`, without a slash at the end. */
  readonly url: string;
  /** Called before each request; it may cache. */
  readonly token: () => Promise<string>;
  readonly fetch?: typeof fetch;
}

/** A cloud elsewhere, over HTTP. `http.md`, section 5. */
export function httpUpstream(options: HttpUpstreamOptions): Upstream {
  return {
    connect: (request) => post(options, 'sync/connect', undefined, request, connectAnswer),
    handshake: (sessionId, request) => post(options, 'sync/handshake', sessionId, request, handshakeAnswer),
    exchange: (sessionId, batch) => post(options, 'sync', sessionId, batch, batchAnswer),
  };
}

async function post<T>(
  { url, token, fetch: send = fetch }: HttpUpstreamOptions,
  path: string,
  sessionId: string | undefined,
  message: unknown,
  schema: z.ZodType<T>,
): Promise<Metered<T>> {
  const { bytes, encoding } = encodeText(JSON.stringify(message));
  const headers = new Headers({ 'Content-Type': 'application/json', Authorization: `Bearer ${await token()}` });
  if (encoding !== 'identity') headers.set('Content-Encoding', encoding);
  if (sessionId !== undefined) headers.set('X-Session-Id', sessionId);
  const signal = AbortSignal.timeout(LIMITS.exchangeTimeoutMs);

  const { response, body } = await unreachableAsError(async () => {
    const response = await send(`${url}/${path}`, { method: 'POST', headers, body: bytes, signal });
    return { response, body: new Uint8Array(await response.arrayBuffer()) };
  });
  const text = decodeText(body, 'identity', LIMITS.exchangeAnswerBytes);
  if (!response.ok) throw toError(response, text);
  return { value: parseWith(schema, parseJson(text)), bytesUp: bytes.byteLength, bytesDown: body.byteLength };
}

async function unreachableAsError<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw new SyncError('cloud_unavailable', error instanceof Error ? error.message : 'the cloud did not answer');
  }
}

const problem = z.object({
  code: z.string(),
  detail: z.string().default(''),
  retryAfterMs: z.number().optional(),
  supported: z.array(z.number()).optional(),
});

/** A problem document's failure; what is none came from something between here and the cloud. */
function toError(response: Response, text: string): SyncError {
  const parsed = problem.safeParse(tryJson(text));
  const retryAfterMs = Number(response.headers.get('Retry-After') ?? Number.NaN) * 1000;
  const details: ErrorDetails = Number.isFinite(retryAfterMs) ? { retryAfterMs } : {};
  if (parsed.success && isErrorCode(parsed.data.code)) {
    const { code, detail, ...said } = parsed.data;
    return new SyncError(code, detail, { ...details, ...said });
  }
  if (response.status === 429) return new SyncError('rate_limited', 'the cloud answered 429', details);
  return new SyncError('cloud_unavailable', `the cloud answered ${response.status}`, details);
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
