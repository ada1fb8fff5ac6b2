import type { NodeId } from '../core/ids.ts';
import { parseJson } from '../protocol/codec.ts';
import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { CLOSE_CODES, LIVE_SUBPROTOCOL, poke } from '../protocol/live-messages.ts';
import { backoffMs } from '../sync/backoff.ts';
import type { Clock, Entropy } from '../sync/ports.ts';
import { within } from '../sync/within.ts';

/** What is needed of a WebSocket that `fetch` opens, as it does in Workers. */
interface Opened {
  accept(): void;
  close(code: number, reason: string): void;
  addEventListener(type: 'message' | 'close' | 'error', listener: (event: object) => void): void;
}

type Fetch = (
  url: string,
  init: RequestInit,
) => Promise<{ readonly status: number; readonly webSocket?: Opened | null }>;

export interface LiveSocketOptions {
  /** `https://host/v1/sync/live`. */
  readonly url: string;
  /** Called before each connection. */
  readonly token: () => Promise<string>;
  readonly clock: Clock;
  readonly entropy: Entropy;
  readonly fetch?: Fetch;
  /** It is open; nothing was told before. */
  readonly onOpen: () => void;
  readonly onPoke: (head: number, source: NodeId | undefined) => void;
  /** It is not open any more, or could not be opened: {@link LiveSocket.retryAtMs} says when to ask for it again. */
  readonly onFailed?: (() => void) | undefined;
}

/**
 * A node's live socket to a cloud elsewhere, which pokes it. It is kept by being asked for: whoever wants it open says so
 * again now and then, and each time it is opened if it isn't, and the wait after the last failure is over. So there is no
 * timer, which would keep a Durable Object awake. `http.md`, section 5.
 */
export class LiveSocket {
  readonly #options: LiveSocketOptions;
  #isWanted = false;
  #isConnecting = false;
  #socket: Opened | undefined;
  #failures = 0;
  #retryAtMs = 0;

  constructor(options: LiveSocketOptions) {
    this.#options = options;
  }

  /** When the wait after the last failure ends, ms since 1970; null: it is open, or about to be, or not wanted. */
  get retryAtMs(): number | null {
    return this.#isWanted && this.#socket === undefined && !this.#isConnecting ? this.#retryAtMs : null;
  }

  /** Says whether the socket is to be open. Never throws. @returns when what has to be done for it is done. */
  async keep(isWanted: boolean): Promise<void> {
    this.#isWanted = isWanted;
    if (!isWanted) this.#end();
    else if (this.#socket === undefined && !this.#isConnecting && this.#options.clock.nowMs() >= this.#retryAtMs) {
      await this.#connect();
    }
  }

  async #connect(): Promise<void> {
    this.#isConnecting = true;
    const patience = new AbortController();
    try {
      const request = this.#request(patience.signal);
      const socket = await within(this.#options.clock, LIMITS.exchangeTimeoutMs, request);
      if (socket === undefined) throw new SyncError('cloud_unavailable', 'no answer in time');
      this.#opened(socket);
    } catch {
      // Pokes are hints: without them the node asks by itself, and is told there what is wrong.
      patience.abort();
      this.#failed();
    } finally {
      this.#isConnecting = false;
    }
  }

  async #request(signal: AbortSignal): Promise<Opened> {
    const { url, token } = this.#options;
    const send: Fetch = this.#options.fetch ?? fetch;
    const headers = {
      Upgrade: 'websocket',
      Authorization: `Bearer ${await token()}`,
      'Sec-WebSocket-Protocol': LIVE_SUBPROTOCOL,
    };
    const { webSocket, status } = await send(url, { headers, signal });
    if (!webSocket) throw new SyncError('cloud_unavailable', `the cloud answered ${status}`);
    return webSocket;
  }

  #opened(socket: Opened): void {
    this.#socket = socket;
    this.#failures = 0;
    socket.addEventListener('message', (event) => this.#received('data' in event ? event.data : undefined));
    for (const end of ['close', 'error'] as const) {
      socket.addEventListener(end, (event) => this.#closed(socket, 'code' in event ? event.code : undefined));
    }
    socket.accept();
    if (this.#isWanted) this.#options.onOpen();
    else this.#end();
  }

  #received(data: unknown): void {
    const parsed = poke.safeParse(typeof data === 'string' ? tryJson(data) : undefined);
    if (parsed.success) this.#options.onPoke(parsed.data.head, parsed.data.source);
  }

  #closed(socket: Opened, code: unknown): void {
    if (this.#socket !== socket) return;
    this.#socket = undefined;
    // A token that has run out is no failure: there is a new one.
    if (code === CLOSE_CODES + ERRORS.unauthenticated.status) void this.keep(this.#isWanted);
    else this.#failed();
  }

  #failed(): void {
    const { clock, entropy } = this.#options;
    this.#failures += 1;
    this.#retryAtMs = clock.nowMs() + backoffMs(this.#failures, entropy.fraction());
    this.#options.onFailed?.();
  }

  #end(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    try {
      socket?.close(1000, 'nobody is there');
    } catch {
      // It has ended already.
    }
  }
}

function tryJson(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return undefined;
  }
}
