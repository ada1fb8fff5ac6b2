import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { onTestFinished } from 'vitest';
import { made } from './space.ts';

export type Message = Record<string, unknown> & { readonly type: string };

export interface Knock {
  /** Of the token; an admin's, where nothing else is said. */
  readonly claims?: Record<string, unknown>;
  readonly headers?: Record<string, string>;
  /** Where the token goes: in a header, or as a subprotocol, as browsers send it. */
  readonly by?: 'header' | 'subprotocol';
}

/** The answer to a request for a live socket. */
export async function knock(space: string, path: string, { claims, headers, by = 'header' }: Knock = {}) {
  const token = await sign({ space, role: 'admin', ...claims } as never, env.CAUSEWAY_SECRET, 'HS256');
  const credentials: Record<string, string> =
    by === 'header'
      ? { Authorization: `Bearer ${token}`, 'Sec-WebSocket-Protocol': 'causeway.v1' }
      : { 'Sec-WebSocket-Protocol': `causeway.v1, causeway.bearer.${token}` };
  return await exports.default.fetch(`http://localhost/v1/${path}`, {
    headers: { Upgrade: 'websocket', ...credentials, ...headers },
  });
}

/** A live socket that is open; it is closed when the test ends. */
export async function listen(space: string, path: string, sent: Knock = {}): Promise<Listener> {
  const listener = new Listener(made((await knock(space, path, sent)).webSocket));
  onTestFinished(() => listener.close());
  return listener;
}

/** One that has subscribed, and whose node has synced. */
export async function subscribed(space: string, path: string, sent: Knock & { entityTypes?: string[] } = {}) {
  const listener = await listen(space, path, sent);
  listener.say({ type: 'subscribe', ...(sent.entityTypes && { entityTypes: sent.entityTypes }) });
  // A node that nobody listened to before syncs first.
  await listener.until('status', ({ lastSyncResult, state }) => lastSyncResult !== null && state === 'idle');
  return listener;
}

/** The client's end of a live socket. */
export class Listener {
  readonly #socket: WebSocket;
  readonly #messages: Message[] = [];
  #wake: () => void = () => undefined;
  #closed: { readonly code: number; readonly reason: string } | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      this.#messages.push(JSON.parse(String(data)));
      this.#wake();
    });
    socket.addEventListener('close', ({ code, reason }) => {
      this.#closed = { code, reason };
      this.#wake();
    });
    socket.accept();
  }

  say(message: unknown): void {
    this.#socket.send(typeof message === 'string' || message instanceof Uint8Array ? message : JSON.stringify(message));
  }

  close(): void {
    this.#socket.close();
  }

  /** The next message of a type; those of other types before it are passed over. */
  async next(type: string): Promise<Message> {
    for (;;) {
      const message = this.#messages.shift();
      if (message?.type === type) return message;
      if (message === undefined) await this.#news();
    }
  }

  /** All messages of a type up to the first that is as wanted, that one with them. */
  async until(type: string, isLast: (message: Message) => boolean): Promise<Message[]> {
    const messages: Message[] = [];
    do messages.push(await this.next(type));
    while (!messages.slice(-1).every(isLast));
    return messages;
  }

  /** How the other side closed the socket. */
  async closed(): Promise<{ readonly code: number; readonly reason: string }> {
    while (this.#closed === undefined) await new Promise<void>((resolve) => this.#wakeBy(resolve));
    return this.#closed;
  }

  async #news(): Promise<void> {
    if (this.#closed !== undefined) throw new Error(`the socket was closed: ${JSON.stringify(this.#closed)}`);
    await new Promise<void>((resolve) => this.#wakeBy(resolve));
  }

  #wakeBy(resolve: () => void): void {
    this.#wake = resolve;
  }
}
