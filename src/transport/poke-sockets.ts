import type { NodeId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Poke } from '../protocol/live-messages.ts';
import type { Clock } from '../sync/ports.ts';
import { liveAnswer, liveGrantOf } from './live-upgrade.ts';
import { type SocketHost, Sockets } from './sockets.ts';

/** Who listens, and when they were poked without having pulled since; null: they have. */
interface Listener {
  readonly node: NodeId;
  readonly pokedAtMs: number | null;
}

/**
 * The nodes that are told of news by a socket: those below that are not of this deployment, at the cloud and at a relay.
 * They are live as long as they are connected, also while this object sleeps. One poke is under way to each: the next
 * exchange of the node says that it has heard it, and brings what has come since.
 */
export class PokeSockets {
  readonly #sockets: Sockets<Listener>;
  readonly #clock: Clock;
  /** A relay hears of a head, and reaches it later: those below are told of it once. */
  #told: number;
  #reached: number;

  /** @param reached how far this object has come, which those who listen know. */
  constructor(host: SocketHost, clock: Clock, reached: number) {
    this.#sockets = new Sockets(host, clock, 'pokes', LIMITS.pokeSockets);
    this.#clock = clock;
    this.#told = reached;
    this.#reached = reached;
  }

  /** Whether anybody listens. */
  get isWatched(): boolean {
    return !this.#sockets.all().next().done;
  }

  has(socket: WebSocket): boolean {
    return this.#sockets.has(socket);
  }

  /** Whether a node listens. */
  hears(node: NodeId): boolean {
    return !this.#sockets.of(node).next().done;
  }

  accept(request: Request): Promise<Response> {
    return liveAnswer(() => {
      const { node, expiresAtMs } = liveGrantOf(request);
      const own = [...this.#sockets.of(node)];
      for (const [socket] of own.slice(0, Math.max(0, own.length + 1 - LIMITS.pokeSocketsPerNode))) {
        this.#sockets.end(socket, new SyncError('rate_limited', 'there are newer sockets of this node'));
      }
      return this.#sockets.accept({ node, pokedAtMs: null }, expiresAtMs, node);
    });
  }

  /** There is nothing to say here. */
  receive(socket: WebSocket, message: string | ArrayBuffer): void {
    if (this.#sockets.receive(socket, message) === undefined) return;
    this.#sockets.end(socket, new SyncError('bad_request', 'this socket takes no messages'));
  }

  forget(socket: WebSocket): void {
    this.#sockets.forget(socket);
  }

  /** A node pulls: what it gets is of a later time than all pokes before. */
  heard(node: NodeId): void {
    for (const [socket, { pokedAtMs }] of this.#sockets.of(node)) {
      if (pokedAtMs !== null) this.#sockets.set(socket, { node, pokedAtMs: null });
    }
  }

  /** A relay has come so far by itself. Where it has gone back, so has the cloud, and nothing of that was told. Never throws. */
  reached(cursor: number): void {
    if (cursor < this.#reached) this.#told = 0;
    this.#reached = cursor;
    this.pokeAll(cursor, undefined);
  }

  /** Pokes all but the source of the news. Never throws. */
  pokeAll(head: number, source: NodeId | undefined): void {
    if (head <= this.#told) return;
    this.#told = head;
    const nowMs = this.#clock.nowMs();
    const message: Poke = { type: 'poke', head, ...(source === undefined ? {} : { source }) };
    const text = JSON.stringify(message);
    for (const [socket, { node, pokedAtMs }] of this.#sockets.all()) {
      const isUnderWay = pokedAtMs !== null && Math.abs(nowMs - pokedAtMs) < LOST_AFTER_MS;
      if (node === source || isUnderWay) continue;
      this.#sockets.set(socket, { node, pokedAtMs: nowMs });
      this.#sockets.send(socket, text);
    }
  }
}

/** A node that was poked and hasn't pulled by then has not heard it, or could not. */
const LOST_AFTER_MS = 5_000;
