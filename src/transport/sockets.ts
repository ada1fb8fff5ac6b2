import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { CLOSE, LIVE_SUBPROTOCOL } from '../protocol/live-messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { Clock } from '../sync/ports.ts';

/** The part of a Durable Object's state that holds sockets. */
export type SocketHost = Pick<DurableObjectState, 'acceptWebSocket' | 'getWebSockets'>;

/** What is known of a socket, also while its object sleeps: a JSON value of at most `LIMITS.attachmentChars`. */
interface Attachment<State> {
  readonly expiresAtMs: number | null;
  readonly state: State;
}

interface Open<State> extends Attachment<State> {
  readonly received: Rate;
  readonly sent: Rate;
}

/**
 * The sockets that clients have opened to a Durable Object. They outlive its sleep: what is known of each is attached to
 * it, and found again at the next start. Nothing here is timed; whether a token is still good, and whether somebody sends
 * or is sent too much, is looked at with each message. A socket that ends so is told why.
 */
export class Sockets<State> {
  readonly #host: SocketHost;
  readonly #clock: Clock;
  readonly #max: number;
  readonly #open = new Map<WebSocket, Open<State>>();

  constructor(host: SocketHost, clock: Clock, max: number) {
    this.#host = host;
    this.#clock = clock;
    this.#max = max;
    for (const socket of host.getWebSockets()) {
      const attachment: Attachment<State> = socket.deserializeAttachment();
      this.#note(socket, attachment);
    }
  }

  /**
   * The answer that opens a socket.
   *
   * @throws SyncError `overloaded`, `too_large`
   */
  accept(state: State, expiresAtMs: number | null): Response {
    // Those whose time is over make room.
    if ([...this.all()].length >= this.#max) {
      throw new SyncError('overloaded', `there are ${this.#max} sockets already`, { retryAfterMs: 30_000 });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    const attachment = { expiresAtMs, state };
    attach(server, attachment);
    this.#host.acceptWebSocket(server);
    this.#note(server, attachment);
    // Marked here, since nothing that comes behind can: the headers of a switch of protocols are immutable.
    const headers = { 'Sec-WebSocket-Protocol': LIVE_SUBPROTOCOL, 'Cache-Control': 'no-store' };
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  /** Those that are there, in the order in which they came. */
  *all(): Generator<[WebSocket, State]> {
    for (const [socket, { state }] of this.#open) if (this.#isGood(socket)) yield [socket, state];
  }

  /** @throws SyncError `too_large`, and the former state stays. */
  set(socket: WebSocket, state: State): void {
    const open = this.#open.get(socket);
    if (open === undefined) return;
    attach(socket, { expiresAtMs: open.expiresAtMs, state });
    this.#open.set(socket, { ...open, state });
  }

  /** A message's text and the state of its socket; undefined: it is not to be taken, and the socket is closed. */
  receive(socket: WebSocket, message: string | ArrayBuffer): { text: string; state: State } | undefined {
    const open = this.#open.get(socket);
    if (open === undefined || !this.#isGood(socket)) return undefined;
    const bytes = typeof message === 'string' ? utf8Bytes(message) : message.byteLength;
    if (bytes > LIMITS.liveMessageBytes) {
      this.close(socket, CLOSE.tooBig, `a message may have ${LIMITS.liveMessageBytes} bytes`);
      return undefined;
    }
    if (open.received.add(1, this.#clock.nowMs()) > LIMITS.liveMessagesPerSecond) {
      this.close(socket, CLOSE.policyViolation, `at most ${LIMITS.liveMessagesPerSecond} messages a second`);
      return undefined;
    }
    const text = typeof message === 'string' ? message : new TextDecoder().decode(message);
    return { text, state: open.state };
  }

  /** Sends, where the socket is still good. Never throws. */
  send(socket: WebSocket, text: string): void {
    const open = this.#open.get(socket);
    if (open === undefined || !this.#isGood(socket)) return;
    // The runtime doesn't tell how much waits to be taken.
    if (open.sent.add(text.length, this.#clock.nowMs()) > LIMITS.liveCharsPerSecond) {
      this.close(socket, CLOSE.tryAgainLater, 'there is more than a socket takes at once; read, and subscribe again');
      return;
    }
    try {
      socket.send(text);
    } catch {
      this.forget(socket);
    }
  }

  close(socket: WebSocket, code: number, reason: string): void {
    this.forget(socket);
    try {
      socket.close(code, reason);
    } catch {
      // It is closed already.
    }
  }

  /** The socket has ended. */
  forget(socket: WebSocket): void {
    this.#open.delete(socket);
  }

  #note(socket: WebSocket, attachment: Attachment<State>): void {
    this.#open.set(socket, { ...attachment, received: new Rate(), sent: new Rate() });
  }

  #isGood(socket: WebSocket): boolean {
    const expiresAtMs = this.#open.get(socket)?.expiresAtMs;
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs === null || this.#clock.nowMs() < expiresAtMs) return true;
    this.close(socket, CLOSE.expired, 'the token has expired');
    return false;
  }
}

/** @throws SyncError `too_large` */
function attach(socket: WebSocket, attachment: object): void {
  if (JSON.stringify(attachment).length > LIMITS.attachmentChars) {
    throw new SyncError('too_large', `the entity types of a live socket may have ${LIMITS.attachmentChars} characters`);
  }
  socket.serializeAttachment(attachment);
}

/** How much there was in the second that began with the first of it. */
class Rate {
  #sinceMs = 0;
  #amount = 0;

  /** @returns what there was in this second, the new amount with it. */
  add(amount: number, nowMs: number): number {
    if (Math.abs(nowMs - this.#sinceMs) >= 1_000) {
      this.#sinceMs = nowMs;
      this.#amount = 0;
    }
    this.#amount += amount;
    return this.#amount;
  }
}
