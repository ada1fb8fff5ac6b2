import type { NodeId } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import { CLOSE, type Poke } from '../protocol/live-messages.ts';
import type { Clock } from '../sync/ports.ts';
import { liveAnswer, liveGrantOf } from '../transport/live-upgrade.ts';
import { type SocketHost, Sockets } from '../transport/sockets.ts';

/** Who listens, and when they were poked without having pulled since; null: they have. */
interface Listener {
  readonly node: NodeId;
  readonly pokedAtMs: number | null;
}

/**
 * The nodes that are told of news by a socket: those that are not of this deployment. Unlike {@link PokeBoard}'s they are
 * live as long as they are connected, also while this object sleeps. One poke is under way to each: the next exchange of
 * the node says that it has heard it, and brings what has come since.
 */
export class PokeSockets {
  readonly #sockets: Sockets<Listener>;
  readonly #clock: Clock;

  constructor(host: SocketHost, clock: Clock) {
    this.#sockets = new Sockets(host, clock, LIMITS.pokeSockets);
    this.#clock = clock;
  }

  accept(request: Request): Promise<Response> {
    return liveAnswer(() => {
      const { node, expiresAtMs } = liveGrantOf(request);
      const accepted = this.#sockets.accept({ node, pokedAtMs: null }, expiresAtMs);
      const own = this.#of(node);
      for (const [socket] of own.slice(0, Math.max(0, own.length - LIMITS.pokeSocketsPerNode))) {
        this.#sockets.close(socket, CLOSE.policyViolation, 'there are newer sockets of this node');
      }
      return accepted;
    });
  }

  /** Nothing is to be said here; who says much is closed. */
  receive(socket: WebSocket, message: string | ArrayBuffer): void {
    if (this.#sockets.receive(socket, message) === undefined) return;
    const error = { type: 'error', code: 'bad_request', detail: 'this socket takes no messages' };
    this.#sockets.send(socket, JSON.stringify(error));
  }

  forget(socket: WebSocket): void {
    this.#sockets.forget(socket);
  }

  /** A node has pulled. */
  heard(node: NodeId): void {
    for (const [socket, listener] of this.#of(node)) {
      if (listener.pokedAtMs !== null) this.#sockets.set(socket, { node, pokedAtMs: null });
    }
  }

  /** Pokes all but the source of the news. Never throws. */
  pokeAll(head: number, source: NodeId | undefined): void {
    const nowMs = this.#clock.nowMs();
    const message: Poke = { type: 'poke', head };
    const text = JSON.stringify(message);
    for (const [socket, { node, pokedAtMs }] of this.#sockets.all()) {
      const isUnderWay = pokedAtMs !== null && Math.abs(nowMs - pokedAtMs) < LOST_AFTER_MS;
      if (node === source || isUnderWay) continue;
      this.#sockets.set(socket, { node, pokedAtMs: nowMs });
      this.#sockets.send(socket, text);
    }
  }

  #of(node: NodeId): [WebSocket, Listener][] {
    return [...this.#sockets.all()].filter(([, listener]) => listener.node === node);
  }
}

/** A node that was poked and hasn't pulled by then has not heard it, or could not. */
const LOST_AFTER_MS = 5_000;
