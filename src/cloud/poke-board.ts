import type { NodeId } from '../core/ids.ts';

/** Where the board is kept while its object sleeps. */
export interface PokeStore {
  load(): Iterable<[NodeId, liveUntilMs: number]>;
  save(nodeId: NodeId, liveUntilMs: number): void;
  remove(nodeId: NodeId): void;
}

/**
 * Which nodes of this deployment are live, and want to be told that there is something to pull. A node says with each
 * exchange whether it is; one that has stopped being so says that with the pull after the next poke.
 */
export class PokeBoard {
  readonly #poke: (nodeId: NodeId, head: number) => Promise<void>;
  readonly #store: PokeStore;
  readonly #liveUntilMs: Map<NodeId, number>;
  readonly #underWay = new Set<NodeId>();
  /** What changed while a poke was under way. */
  readonly #missed = new Map<NodeId, number>();

  constructor(poke: (nodeId: NodeId, head: number) => Promise<void>, store: PokeStore) {
    this.#poke = poke;
    this.#store = store;
    this.#liveUntilMs = new Map(store.load());
  }

  see(nodeId: NodeId, isLive: boolean, nowMs: number): void {
    if (!isLive) {
      this.#forget(nodeId);
    } else if ((this.#liveUntilMs.get(nodeId) ?? 0) < nowMs + LIVE_MS / 2) {
      // Not each time: a row costs more than a poke in vain.
      this.#liveUntilMs.set(nodeId, nowMs + LIVE_MS);
      this.#store.save(nodeId, nowMs + LIVE_MS);
    }
  }

  /** Pokes all who are live but the source of the news; at most one poke is under way to each. Never throws. */
  async pokeAll(head: number, source: NodeId | undefined, nowMs: number): Promise<void> {
    const targets: NodeId[] = [];
    for (const [nodeId, untilMs] of this.#liveUntilMs) {
      if (untilMs < nowMs) this.#forget(nodeId);
      else if (nodeId !== source) targets.push(nodeId);
    }
    await Promise.all(targets.map((nodeId) => this.#pokeOne(nodeId, head)));
  }

  async #pokeOne(nodeId: NodeId, head: number): Promise<void> {
    if (this.#underWay.has(nodeId)) {
      this.#missed.set(nodeId, head);
      return;
    }
    this.#underWay.add(nodeId);
    try {
      for (let next: number | undefined = head; next !== undefined; next = this.#missed.get(nodeId)) {
        this.#missed.delete(nodeId);
        await this.#poke(nodeId, next);
      }
    } catch {
      // A poke is a hint: a node that can't be told is told by its next pull.
      this.#forget(nodeId);
    } finally {
      this.#underWay.delete(nodeId);
      this.#missed.delete(nodeId);
    }
  }

  #forget(nodeId: NodeId): void {
    if (this.#liveUntilMs.delete(nodeId)) this.#store.remove(nodeId);
  }
}

/** Many times the pause between two pulls of a node that somebody uses: a node that ends without a word is poked so long. */
const LIVE_MS = 600_000;
