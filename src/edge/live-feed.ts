import type { EntityType } from '../core/ids.ts';
import { admits } from '../core/type-filter.ts';
import { parseJson } from '../protocol/codec.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { subscribe } from '../protocol/live-messages.ts';
import { parseWith } from '../protocol/parse.ts';
import type { Clock } from '../sync/ports.ts';
import type { VisibleChange, Watcher } from '../sync/visible-changes.ts';
import { liveAnswer, liveGrantOf } from '../transport/live-upgrade.ts';
import { type SocketHost, Sockets } from '../transport/sockets.ts';
import { StatusFeed } from './status-feed.ts';

/** Who is at a live socket: what they may read (null: all), and what they want of it. */
interface Listener {
  readonly readTypes: readonly EntityType[] | null;
  /** The types that were asked for, or all that they may read; undefined: they haven't subscribed yet. */
  readonly wanted?: readonly EntityType[] | 'all';
}

/** The live sockets of an edge node: tells those who subscribed of visible changes and of its status. */
export class LiveFeed implements Watcher {
  readonly #sockets: Sockets<Listener>;
  readonly #status: StatusFeed;
  /** Whether anybody wants a type, as far as that has been looked up since the last subscription. */
  readonly #watched = new Map<EntityType, boolean>();

  /** @param status the body of the node's status, as it is. */
  constructor(host: SocketHost, clock: Clock, status: () => object) {
    this.#sockets = new Sockets(host, clock, 'feed', LIMITS.liveSockets);
    this.#status = new StatusFeed(status, (message) => this.#tellAll(message), clock);
  }

  /** Whether somebody wants to be told of news. */
  get isWatched(): boolean {
    for (const [, { wanted }] of this.#sockets.all()) if (wanted !== undefined) return true;
    return false;
  }

  accept(request: Request): Promise<Response> {
    return liveAnswer(() => {
      const { readTypes, expiresAtMs } = liveGrantOf(request);
      return this.#sockets.accept({ readTypes }, expiresAtMs);
    });
  }

  receive(socket: WebSocket, message: string | ArrayBuffer): void {
    const received = this.#sockets.receive(socket, message);
    if (received === undefined) return;
    try {
      this.#subscribe(socket, received.text, received.state);
      this.#sockets.send(socket, this.#status.message());
    } catch (error) {
      if (!(error instanceof SyncError)) throw error;
      this.#sockets.end(socket, error);
    }
  }

  forget(socket: WebSocket): void {
    this.#watched.clear();
    this.#sockets.forget(socket);
  }

  /** Asked for each record of a pull, so that it is not always looked up. */
  watches(entityType: EntityType): boolean {
    const isKnown = this.#watched.get(entityType);
    if (isKnown !== undefined) return isKnown;
    const isWatched = [...this.#sockets.all()].some(([, listener]) => isFor(listener, entityType));
    if (this.#watched.size >= LIMITS.filterTypes) this.#watched.clear();
    this.#watched.set(entityType, isWatched);
    return isWatched;
  }

  changed(change: VisibleChange): void {
    const message = JSON.stringify({ type: 'change', ...change });
    for (const [socket, listener] of this.#sockets.all()) {
      if (isFor(listener, change.entityType)) this.#sockets.send(socket, message);
    }
  }

  /** The link has gone into another state. */
  stateChanged(): void {
    if (!this.isWatched) return;
    this.#status.now();
    void this.#status.soon();
  }

  /** The status may have changed. @returns when that has been told. */
  async statusMayHaveChanged(): Promise<void> {
    if (this.isWatched) await this.#status.soon();
  }

  /** @throws SyncError `bad_json`, `bad_request`, `bad_name`, `forbidden`, `too_large` */
  #subscribe(socket: WebSocket, text: string, { readTypes }: Listener): void {
    const { entityTypes = [] } = parseWith(subscribe, parseJson(text));
    const foreign = entityTypes.find((entityType) => !admits(readTypes ?? undefined, entityType));
    if (foreign !== undefined) throw new SyncError('forbidden', `the token may not read ${foreign}`);
    this.#watched.clear();
    this.#sockets.set(socket, { readTypes, wanted: entityTypes.length === 0 ? 'all' : entityTypes });
  }

  #tellAll(message: string): void {
    for (const [socket, { wanted }] of this.#sockets.all()) {
      if (wanted !== undefined) this.#sockets.send(socket, message);
    }
  }
}

function isFor({ readTypes, wanted }: Listener, entityType: EntityType): boolean {
  if (wanted === undefined) return false;
  return admits(wanted === 'all' ? (readTypes ?? undefined) : wanted, entityType);
}
