import * as z from 'zod';
import { decodeText, encodeText } from '../protocol/codec.ts';
import { type ErrorDetails, isErrorCode, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, connectAnswer, handshakeAnswer } from '../protocol/messages.ts';
import { parseAnswer } from '../protocol/parse.ts';
import type { Clock, Metered, Upstream } from '../sync/ports.ts';
import { within } from '../sync/within.ts';

export interface HttpUpstreamOptions {
  /** `https://host/v1`, without a slash at the end. */
  readonly url: string;
  /** Called before each request; it may cache. */
  readonly token: () => Promise<string>;
  readonly clock: Clock;
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
  { url, token, clock, fetch: send = fetch }: HttpUpstreamOptions,
  path: string,
  sessionId: string | undefined,
  message: unknown,
  schema: z.ZodType<T>,
): Promise<Metered<T>> {
  const { bytes, encoding } = encodeText(JSON.stringify(message));
  const headers = new Headers({ 'Content-Type': 'application/json', Authorization: `Bearer ${await token()}` });
  if (encoding !== 'identity') headers.set('Content-Encoding', encoding);
  if (sessionId !== undefined) headers.set('X-Session-Id', sessionId);
  const timeout = new AbortController();

  const request = async () => {
    const { signal } = timeout;
    const response = await send(`${url}/${path}`, { method: 'POST', headers, body: bytes, signal });
    const body = new Uint8Array(await response.arrayBuffer());
    return { response, text: decodeText(body, 'identity', LIMITS.exchangeAnswerBytes), bytesDown: body.byteLength };
  };
  const answer = await unreachableAsError(() => within(clock, LIMITS.exchangeTimeoutMs, request()));
  if (answer === undefined) {
    timeout.abort();
    throw new SyncError('cloud_unavailable', `no answer within ${LIMITS.exchangeTimeoutMs} ms`);
  }
  const { response, text, bytesDown } = answer;
  if (!response.ok) throw toError(response, text);
  const json = tryJson(text);
  // A page of something between here and the cloud, which says nothing of what the cloud did.
  if (json === undefined) throw new SyncError('cloud_unavailable', 'what answered is not the cloud');
  return { value: parseAnswer(schema, json), bytesUp: bytes.byteLength, bytesDown };
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
