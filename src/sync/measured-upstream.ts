import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type {
  Batch,
  BatchAnswer,
  ConnectAnswer,
  ConnectRequest,
  HandshakeAnswer,
  HandshakeRequest,
} from '../protocol/messages.ts';
import { type LinkQuality, measure, UNMEASURED } from './plan.ts';
import type { Clock, Metered, Upstream } from './ports.ts';

/**
 * The way upstream, and how good it is. An exchange counts by the time that it takes, and any call that the cloud is not
 * reached by as a failure. How long a connect or a handshake takes doesn't count: they wake up a cloud that sleeps.
 */
export class MeasuredUpstream implements Upstream {
  readonly #upstream: Upstream;
  readonly #clock: Clock;
  #quality = UNMEASURED;

  constructor(upstream: Upstream, clock: Clock) {
    this.#upstream = upstream;
    this.#clock = clock;
  }

  /** Since this was made. */
  get quality(): LinkQuality {
    return this.#quality;
  }

  connect(request: ConnectRequest): Promise<Metered<ConnectAnswer>> {
    return this.#watched(this.#upstream.connect(request));
  }

  handshake(sessionId: string, request: HandshakeRequest): Promise<Metered<HandshakeAnswer>> {
    return this.#watched(this.#upstream.handshake(sessionId, request));
  }

  async exchange(sessionId: string, batch: Batch, compress: boolean): Promise<Metered<BatchAnswer>> {
    const sentAtMs = this.#clock.nowMs();
    const answer = await this.#watched(this.#upstream.exchange(sessionId, batch, compress));
    // The clock may have jumped meanwhile.
    const tookMs = Math.min(Math.max(0, this.#clock.nowMs() - sentAtMs), LIMITS.exchangeTimeoutMs);
    this.#quality = measure(this.#quality, tookMs);
    return answer;
  }

  /** What the cloud refuses has reached it: that says nothing of the way. */
  async #watched<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      const isLost = error instanceof SyncError && error.code === 'cloud_unavailable';
      if (isLost) this.#quality = measure(this.#quality, null);
      throw error;
    }
  }
}
