import type { HonoJsonWebKey } from 'hono/utils/jwt/jws';
import * as z from 'zod';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';

/**
 * The public keys at a URL, kept here: they are fetched when one is first needed, when they are old, and for a key that
 * isn't among them; the last two only so often, whoever asks. Keys that can't be fetched again go on being good.
 */
export class PublishedKeys {
  readonly #url: string;
  #keys: HonoJsonWebKey[] | undefined;
  #fetchedAtMs = 0;
  #failedAtMs = 0;

  constructor(url: string) {
    this.#url = url;
  }

  /**
   * The keys, with the one of this id if it is published.
   *
   * @throws SyncError `cloud_unavailable`: there are none yet, and none can be had.
   */
  async withKey(kid: string, nowMs: number): Promise<HonoJsonWebKey[]> {
    const keys = this.#keys;
    if (keys?.some((key) => key.kid === kid) && nowMs - this.#fetchedAtMs < KEEP_MS) return keys;
    const triedAtMs = Math.max(this.#fetchedAtMs, this.#failedAtMs);
    if (nowMs - triedAtMs >= FETCH_EVERY_MS) await this.#fetch(nowMs);
    if (this.#keys !== undefined) return this.#keys;
    throw new SyncError('cloud_unavailable', 'the keys that tokens are checked by can not be fetched', {
      retryAfterMs: FETCH_EVERY_MS,
    });
  }

  /** Requests don't share one: a Worker may not wait for what another request began. */
  async #fetch(nowMs: number): Promise<void> {
    try {
      const response = await fetch(this.#url, { signal: AbortSignal.timeout(LIMITS.keyServerMs) });
      if (!response.ok) throw new Error(`the key server answered ${response.status}`);
      this.#keys = keySet.parse(await response.json()).keys;
      this.#fetchedAtMs = nowMs;
    } catch (error) {
      this.#failedAtMs = nowMs;
      console.info(JSON.stringify({ event: 'keys_not_fetched', error: String(error) }));
    }
  }
}

const keySet = z.object({
  keys: z.array(z.custom<HonoJsonWebKey>((key) => typeof key === 'object' && key !== null && 'kty' in key)),
});

/** How long keys are good without being asked for again: issuers publish a new key well before they use it. */
const KEEP_MS = 10 * 60_000;
/** Between two fetches: a token names whatever key its maker likes. */
const FETCH_EVERY_MS = 30_000;
