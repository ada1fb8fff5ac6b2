import type { NodeId } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Clock } from '../sync/ports.ts';
import { within } from '../sync/within.ts';

/** Where the board is kept while its object sleeps. */
export interface PokeStore {
  load(): Iterable<NodeId>;
  save(nodeId: NodeId): void;
  remove(nodeId: NodeId): void;
}

/** That there is something to pull. */
export interface News {
  readonly head: number;
  /** The node that has brought it all, and so knows; undefined: there is none. */
  readonly source: NodeId | undefined;
}

/**
 * Which nodes of this deployment are live, and want to be told that there is something to pull. A node says with each
 * exchange whether it is; one that has stopped being so says that with the pull after the next poke. So it costs nothing
 * to be live, for either side, as long as there is no news.
 */
export class PokeBoard {
  readonly #poke: (nodeId: NodeId, news: News) => Promise<void>;
  readonly #store: PokeStore;
  readonly #clock: Clock;
  readonly #live: Set<NodeId>;
  /** What has changed since a poke went out that is under way; undefined: nothing. */
  readonly #underWay = new Map<NodeId, News | undefined>();

  constructor(poke: (nodeId: NodeId, news: News) => Promise<void>, store: PokeStore, clock: Clock) {
    this.#poke = poke;
    this.#store = store;
    this.#clock = clock;
    this.#live = new Set(store.load());
  }

  has(nodeId: NodeId): boolean {
    return this.#live.has(nodeId);
  }

  see(nodeId: NodeId, isLive: boolean): void {
    if (isLive === this.#live.has(nodeId)) return;
    if (isLive) {
      this.#live.add(nodeId);
      this.#store.save(nodeId);
    } else {
      this.#live.delete(nodeId);
      this.#store.remove(nodeId);
    }
  }

  /** Pokes all who are live but the source of the news; at most one poke is under way to each. Never throws. */
  async pokeAll(news: News): Promise<void> {
    const targets = [...this.#live].filter((nodeId) => nodeId !== news.source);
    await Promise.all(targets.map((nodeId) => this.#tell(nodeId, news)));
  }

  async #tell(nodeId: NodeId, news: News): Promise<void> {
    if (this.#underWay.has(nodeId)) {
      this.#underWay.set(nodeId, both(this.#underWay.get(nodeId), news));
      return;
    }
    let tries = 0;
    for (let next: News | undefined = news; next !== undefined && tries < TRIES; ) {
      this.#underWay.set(nodeId, undefined);
      const told: News = next;
      if (await this.#isTold(nodeId, told)) {
        tries = 0;
        next = this.#underWay.get(nodeId);
      } else {
        // It may have no other reason to ask. Where it stays away, it is told with the next news, or asks when it is back.
        tries += 1;
        await this.#clock.sleep(tries * RETRY_MS);
        next = both(this.#underWay.get(nodeId), told);
      }
    }
    this.#underWay.delete(nodeId);
  }

  async #isTold(nodeId: NodeId, news: News): Promise<boolean> {
    try {
      const told = this.#poke(nodeId, news).then(() => true);
      return (await within(this.#clock, LIMITS.pokeMs, told)) === true;
    } catch {
      return false;
    }
  }
}

/** The later news, which each source knows only its own part of. */
function both(one: News | undefined, other: News): News {
  if (one === undefined) return other;
  return { head: Math.max(one.head, other.head), source: one.source === other.source ? one.source : undefined };
}

/** An object that is moved or updated is back within seconds. */
const TRIES = 4;
const RETRY_MS = 1_000;
