import { ERRORS, SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { CLOSE_CODES, LIVE_SUBPROTOCOL, type LiveError, PING, PONG } from '../protocol/live-messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { Clock } from '../sync/ports.ts';

/** The part of a Durable Object's state that holds sockets. */
export type SocketHost = Pick<DurableObjectState, 'acceptWebSocket' | 'getWebSockets' | 'setWebSocketAutoResponse'>;

/** What is known of a socket, also while its object sleeps: a JSON value of at most `LIMITS.attachmentBytes`. */
interface Attachment<State> {
  readonly expiresAtMs: number | null;
  readonly state: State;
}

interface Open<State> extends Attachment<State> {
  readonly received: Rate;
  readonly sent: Rate;
}

/**
 * The sockets of one kind that clients have opened to a Durable Object. They outlive its sleep: what is known of each is
 * attached to it, and found again at the next start. Nothing here is timed; whether a token is still good, and whether
 * somebody sends or is sent too much, is looked at with each message. A socket that ends so is told why.
 */
export class Sockets<State> {
  readonly #host: SocketHost;
  readonly #clock: Clock;
  readonly #kind: string;
  readonly #max: number;
  readonly #open = new Map<WebSocket, Open<State>>();
  readonly #sent = new Rate();

  constructor(host: SocketHost, clock: Clock, kind: string, max: number) {
    this.#host = host;
    this.#clock = clock;
    this.#kind = kind;
    this.#max = max;
    // Who wants to know whether the line still holds doesn't wake the object for it.
    host.setWebSocketAutoResponse(new WebSocketRequestResponsePair(PING, PONG));
    for (const socket of host.getWebSockets(kind)) this.#note(socket, attachmentOf<State>(socket));
  }

  /**
   * The answer that opens a socket.
   *
   * @param name whose it is, to find it by.
   * @throws SyncError `overloaded`, `too_large`
   */
  accept(state: State, expiresAtMs: number | null, name?: string): Response {
    // Those whose time is over make room.
    if ([...this.all()].length >= this.#max) {
      throw new SyncError('overloaded', `there are ${this.#max} sockets already`, { retryAfterMs: 30_000 });
    }
    const { 0: client, 1: server } = new WebSocketPair();
    const attachment = { expiresAtMs, state };
    attach(server, attachment);
    this.#host.acceptWebSocket(server, [this.#kind, ...(name === undefined ? [] : [this.#tag(name)])]);
    this.#note(server, attachment);
    // Marked here, since nothing that comes behind can: the headers of a switch of protocols are immutable.
    const headers = { 'Sec-WebSocket-Protocol': LIVE_SUBPROTOCOL, 'Cache-Control': 'no-store' };
    return new Response(null, { status: 101, webSocket: client, headers });
  }

  has(socket: WebSocket): boolean {
    return this.#open.has(socket);
  }

  /** Those that are there, in the order in which they came. */
  *all(): Generator<[WebSocket, State]> {
    for (const [socket, { state }] of this.#open) if (this.#isGood(socket)) yield [socket, state];
  }

  /** Those of one name, in the order in which they came. */
  *of(name: string): Generator<[WebSocket, State]> {
    for (const socket of this.#host.getWebSockets(this.#tag(name))) {
      const open = this.#open.get(socket);
      if (open !== undefined && this.#isGood(socket)) yield [socket, open.state];
    }
  }

  /** @throws SyncError `too_large`, and the former state stays. */
  set(socket: WebSocket, state: State): void {
    const open = this.#open.get(socket);
    if (open === undefined) return;
    attach(socket, { expiresAtMs: open.expiresAtMs, state });
    this.#open.set(socket, { ...open, state });
  }

  /** A message's text and the state of its socket; undefined: it is not to be taken, and the socket has ended. */
  receive(socket: WebSocket, message: string | ArrayBuffer): { text: string; state: State } | undefined {
    const open = this.#open.get(socket);
    if (open === undefined || !this.#isGood(socket)) return undefined;
    const bytes = typeof message === 'string' ? utf8Bytes(message) : message.byteLength;
    if (bytes > LIMITS.liveMessageBytes) {
      this.end(socket, new SyncError('too_large', `a message may have ${LIMITS.liveMessageBytes} bytes`));
      return undefined;
    }
    if (open.received.add(1, this.#clock.nowMs()) > LIMITS.liveMessagesPerSecond) {
      this.end(socket, new SyncError('rate_limited', `at most ${LIMITS.liveMessagesPerSecond} messages a second`));
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
    const nowMs = this.#clock.nowMs();
    const isTooMuch =
      open.sent.add(text.length, nowMs) > LIMITS.liveCharsPerSecond ||
      this.#sent.add(text.length, nowMs) > LIMITS.liveCharsPerSecondOfAll;
    if (isTooMuch) {
      this.end(
        socket,
        new SyncError('overloaded', 'there is more than sockets take at once; list, and subscribe again'),
      );
      return;
    }
    try {
      socket.send(text);
    } catch {
      this.forget(socket);
    }
  }

  /** Ends a socket, and tells why: by a message, and by its close code. Never throws. */
  end(socket: WebSocket, { code, message: detail }: SyncError): void {
    this.forget(socket);
    const error: LiveError = { type: 'error', code, detail };
    try {
      socket.send(JSON.stringify(error));
      socket.close(CLOSE_CODES + ERRORS[code].status, code);
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

  #tag(name: string): string {
    return `${this.#kind}/${name}`;
  }

  #isGood(socket: WebSocket): boolean {
    const expiresAtMs = this.#open.get(socket)?.expiresAtMs;
    if (expiresAtMs === undefined) return false;
    if (expiresAtMs === null || this.#clock.nowMs() < expiresAtMs) return true;
    this.end(socket, new SyncError('unauthenticated', 'the token has expired'));
    return false;
  }
}

/** @throws SyncError `too_large` */
function attach(socket: WebSocket, attachment: object): void {
  // As bytes: what the platform makes of a string depends on its characters.
  const bytes = new TextEncoder().encode(JSON.stringify(attachment));
  if (bytes.length > LIMITS.attachmentBytes) {
    throw new SyncError('too_large', `the entity types of a live socket may have ${LIMITS.attachmentBytes} bytes`);
  }
  socket.serializeAttachment(bytes);
}

function attachmentOf<State>(socket: WebSocket): Attachment<State> {
  return JSON.parse(new TextDecoder().decode(socket.deserializeAttachment()));
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

/** Answers the other side's close, which the runtime leaves open: or else it waits for that, and reports an error. */
export function answerClose(socket: WebSocket, code: number): void {
  // 1005 and 1006 say that none was sent, and can't be.
  const isSendable = code === 1000 || (code >= 3000 && code < 5000);
  try {
    socket.close(isSendable ? code : 1000);
  } catch {
    // It was closed from here before.
  }
}
