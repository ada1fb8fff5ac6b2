import { z } from 'zod';
import type { CausalContext } from '../core/causal-context.ts';
import type { SpaceId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { vectorClock } from '../protocol/messages.ts';

/**
 * A causal token: what its holder has seen, which it can neither read meaning into nor change, bound to its space.
 * `<base64url of the context's JSON>.<base64url of 128 bits of HMAC-SHA-256>`.
 */
export async function signToken(seen: CausalContext, space: SpaceId, secret: string): Promise<string> {
  const payload = toBase64Url(new TextEncoder().encode(JSON.stringify(seen)));
  return `${payload}.${toBase64Url(await mac(payload, space, secret))}`;
}

/** @throws SyncError `bad_token` for one that was not made here, for this space. */
export async function verifyToken(token: string, space: SpaceId, secret: string): Promise<CausalContext> {
  const bad = new SyncError('bad_token', 'X-Causal-Token was not given out for this space');
  if (token.length > LIMITS.tokenChars) throw bad;
  const [payload, signature, ...rest] = token.split('.');
  if (payload === undefined || signature === undefined || rest.length > 0) throw bad;
  if (!isSame(signature, toBase64Url(await mac(payload, space, secret)))) throw bad;
  const bytes = fromBase64Url(payload);
  const parsed = bytes && causalContext.safeParse(JSON.parse(new TextDecoder().decode(bytes)));
  if (!parsed?.success) throw bad;
  return parsed.data;
}

const causalContext = z.object({
  epoch: z.string().max(64).optional(),
  clock: z.optional(vectorClock),
  atMs: z.number().int().nonnegative().optional(),
});

const MAC_BYTES = 16;

async function mac(payload: string, space: SpaceId, secret: string): Promise<Uint8Array> {
  const encoder = new TextEncoder();
  // A key of its own: what is signed here can't be passed off as a bearer token, or the other way round.
  const key = await crypto.subtle.importKey(
    'raw',
    encoder.encode(`causal-token:${secret}`),
    { name: 'HMAC', hash: 'SHA-256' },
    false,
    ['sign'],
  );
  const signed = await crypto.subtle.sign('HMAC', key, encoder.encode(`${space}\n${payload}`));
  return new Uint8Array(signed).slice(0, MAC_BYTES);
}

/**
 * Takes the same time wherever the two differ. Texts, and not the bytes that they stand for: of these the last character says
 * more than there is, so that some others say the same.
 */
function isSame(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let index = 0; index < a.length; index += 1) difference |= a.charCodeAt(index) ^ b.charCodeAt(index);
  return difference === 0;
}

function toBase64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replace(/=+$/, '');
}

function fromBase64Url(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return undefined;
  try {
    return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (char) => char.charCodeAt(0));
  } catch {
    return undefined;
  }
}
