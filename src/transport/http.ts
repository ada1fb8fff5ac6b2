import * as z from 'zod/mini';
import { decodeUtf8, encodeText } from '../protocol/codec.ts';
import { type ErrorCode, type ErrorDetails, isErrorCode, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { batchAnswer, connectAnswer, handshakeAnswer } from '../protocol/messages.ts';
import { parseAnswer } from '../protocol/parse.ts';
import type { Caller } from '../sync/caller.ts';
import type { Clock, MessageBytes, Upstream } from '../sync/ports.ts';
import type { Carrier } from '../sync/relay.ts';
import { within } from '../sync/within.ts';

export interface HttpUpstreamOptions {
  /** Of the cloud, `https://host/v1`, or of a relay, `https://host/v1/edge/<node>`; without a slash at the end. */
  readonly url: string;
  /** Called before each request; it may cache. */
  readonly token: () => Promise<string>;
  readonly clock: Clock;
  readonly fetch?: typeof fetch;
}

/** A cloud elsewhere, over HTTP. `http.md`, section 5. */
export function httpUpstream(options: HttpUpstreamOptions): Upstream {
  const typed = async <T>(
    path: string,
    sessionId: string | undefined,
    message: object,
    schema: z.core.$ZodType<T>,
    compress = false,
  ) => {
    const { json, ...bytes } = await post(options, path, sessionId, JSON.stringify(message), compress);
    return { value: parseAnswer(schema, json), ...bytes };
  };
  return {
    connect: (request) => typed('connect', undefined, request, connectAnswer),
    handshake: (sessionId, request) => typed('handshake', sessionId, request, handshakeAnswer),
    exchange: (sessionId, batch, compress) => typed('exchange', sessionId, batch, batchAnswer, compress),
  };
}

export interface HttpCarrierOptions extends Omit<HttpUpstreamOptions, 'token'> {
  /** A token that allows what the caller may do, and no more. */
  readonly tokenFor: (caller: Caller) => Promise<string>;
}

/** As {@link httpUpstream}, for the nodes below a relay. */
export function httpCarrier({ tokenFor, ...options }: HttpCarrierOptions): Carrier {
  const carry = async (path: string, sessionId: string | undefined, text: string, caller: Caller): Promise<string> => {
    // Whether those below compress is between them and the cloud; on the way from here it takes what is compressed.
    return (await post({ ...options, token: () => tokenFor(caller) }, path, sessionId, text, true)).text;
  };
  return {
    connect: (request, caller) => carry('connect', undefined, request, caller),
    handshake: (sessionId, request, caller) => carry('handshake', sessionId, request, caller),
    exchange: (sessionId, batch, caller) => carry('exchange', sessionId, batch, caller),
    disconnect: (sessionId, caller) => carry('disconnect', sessionId, '{}', caller),
  };
}

async function post(
  { url, token, clock, fetch: send = fetch }: HttpUpstreamOptions,
  path: string,
  sessionId: string | undefined,
  message: string,
  compress: boolean,
): Promise<{ text: string; json: unknown } & MessageBytes> {
  const { bytes, encoding, plainBytes } = await encodeText(message, compress ? 'deflate' : undefined);
  const headers = new Headers({ 'Content-Type': 'application/json', Authorization: `Bearer ${await token()}` });
  if (encoding !== 'identity') headers.set('Content-Encoding', encoding);
  if (sessionId !== undefined) headers.set('X-Session-Id', sessionId);
  const timeout = new AbortController();
  const inTime = async <T>(carriedBytes: number, call: () => Promise<T>): Promise<T> => {
    const waitMs = patienceMs(carriedBytes);
    const answer = await unreachableAsError(() => within(clock, waitMs, call()));
    if (answer !== undefined) return answer;
    timeout.abort();
    throw new SyncError('cloud_unavailable', `no answer within ${waitMs} ms`);
  };
  const { signal } = timeout;
  const response = await inTime(bytes.byteLength, () =>
    // A copy: the types of browsers take none that threads might share.
    send(`${url}/sync/${path}`, { method: 'POST', headers, body: bytes.slice(), signal }),
  );
  const { text, plainBytesDown } = await inTime(bytesOnWire(response) ?? LIMITS.pageBytes, async () => {
    const body = new Uint8Array(await response.arrayBuffer());
    return { text: decodeUtf8(body, LIMITS.exchangeAnswerBytes), plainBytesDown: body.byteLength };
  });
  if (!response.ok) throw toError(response, text, clock.nowMs());
  const json = tryJson(text);
  // A page of something between here and the cloud, which says nothing of what the cloud did.
  if (json === undefined) throw new SyncError('cloud_unavailable', 'what answered is not the cloud');
  const bytesDown = bytesOnWire(response) ?? plainBytesDown;
  return { text, json, bytesUp: bytes.byteLength, bytesDown, plainBytesUp: plainBytes, plainBytesDown };
}

/** How long it may take until these bytes have gone over a slow link, and the other side has done its part. */
function patienceMs(bytes: number): number {
  return LIMITS.exchangeTimeoutMs + Math.ceil(Math.min(bytes, LIMITS.exchangeAnswerBytes) / SLOWEST_BYTES_PER_MS);
}

/** 4 KB/s, as GPRS does it. */
const SLOWEST_BYTES_PER_MS = 4;

/** As it came, before whoever fetched it inflated it; undefined: that isn't told. */
function bytesOnWire({ headers }: Response): number | undefined {
  const length = Number(headers.get('Content-Length') ?? Number.NaN);
  return Number.isSafeInteger(length) ? length : undefined;
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
  detail: z._default(z.string(), ''),
  retryAfterMs: z.optional(z.number()),
  supported: z.optional(z.array(z.number())),
});

/** A problem document's failure; what is none came from something between here and the cloud. */
function toError(response: Response, text: string, nowMs: number): SyncError {
  const parsed = problem.safeParse(tryJson(text));
  const retryAfterMs = retryAfterOf(response.headers.get('Retry-After') ?? '', nowMs);
  const details: ErrorDetails = Number.isFinite(retryAfterMs) ? { retryAfterMs } : {};
  if (parsed.success && isErrorCode(parsed.data.code)) {
    const { code, detail, ...said } = parsed.data;
    return new SyncError(code, detail, { ...details, ...said });
  }
  const code = CODES_ON_THE_WAY.get(response.status) ?? 'cloud_unavailable';
  return new SyncError(code, `the cloud, or what is on the way to it, answered ${response.status}`, details);
}

/** What means the same, whoever answers it: what lets less pass than the cloud, or asks for another token. */
const CODES_ON_THE_WAY: ReadonlyMap<number, ErrorCode> = new Map([
  [401, 'unauthenticated'],
  [403, 'forbidden'],
  [413, 'too_large'],
  [426, 'protocol_unsupported'],
  [429, 'rate_limited'],
]);

/** Seconds, or a date (RFC 9110, section 10.2.3). @returns ms; NaN: it says nothing. */
function retryAfterOf(header: string, nowMs: number): number {
  return /^\d+$/.test(header) ? Number(header) * 1000 : Math.max(0, Date.parse(header) - nowMs);
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
