import type { NodeId } from '../core/ids.ts';
import { SyncError } from '../protocol/errors.ts';
import type { Caller } from './caller.ts';

/**
 * The sync protocol as JSON texts (`http.md`, section 5), for those who carry it and need not read it. Each call is one
 * round trip; it answers, or throws a `SyncError`.
 */
export interface Carrier {
  connect(request: string, caller: Caller): Promise<string>;
  handshake(sessionId: string, request: string, caller: Caller): Promise<string>;
  exchange(sessionId: string, batch: string, caller: Caller): Promise<string>;
  disconnect(sessionId: string, caller: Caller): Promise<string>;
}

export interface RelayOptions {
  /** The node that relays. */
  readonly nodeId: NodeId;
  /** The way to the tier above, which may be a relay too. */
  readonly above: Carrier;
  readonly isOnline: () => boolean;
}

/**
 * A node between others and the cloud. It carries what they say under their own names and answers for nobody: what it
 * has not brought to the cloud it has not taken, so it has nothing that could be lost, and the sessions, the queues and
 * the conflicts of those below are between them and the cloud. `docs/decisions/0008-relays-carry.md`.
 */
export class Relay implements Carrier {
  readonly #options: RelayOptions;

  constructor(options: RelayOptions) {
    this.#options = options;
  }

  /** @throws SyncError `cloud_unavailable`, and what the tier above throws; so do all of them. */
  async connect(request: string, caller: Caller): Promise<string> {
    // Two that write under one name fork it.
    if (caller.nodeId === this.#options.nodeId) {
      throw new SyncError('forbidden', `${caller.nodeId} is this node itself; a node below needs a name of its own`);
    }
    return await this.#above().connect(request, caller);
  }

  async handshake(sessionId: string, request: string, caller: Caller): Promise<string> {
    return await this.#above().handshake(sessionId, request, caller);
  }

  async exchange(sessionId: string, batch: string, caller: Caller): Promise<string> {
    return await this.#above().exchange(sessionId, batch, caller);
  }

  async disconnect(sessionId: string, caller: Caller): Promise<string> {
    return await this.#above().disconnect(sessionId, caller);
  }

  #above(): Carrier {
    const { above, isOnline, nodeId } = this.#options;
    if (!isOnline()) throw new SyncError('cloud_unavailable', `${nodeId}, which is between, is cut off from the cloud`);
    return above;
  }
}
