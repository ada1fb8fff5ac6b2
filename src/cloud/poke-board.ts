import type { NodeId } from '../core/ids.ts';

/**
 * Who is live, and wants to be told that there is something to pull. Only in memory: a node that isn't told any more
 * asks by itself every 30 s, and is here again.
 */
export class PokeBoard {
  readonly #poke: (nodeId: NodeId, head: number) => Promise<void>;
  readonly #liveUntilMs = new Map<NodeId, number>();
  readonly #underWay = new Set<NodeId>();
  /** What changed while a poke was under way. */
  readonly #missed = new Map<NodeId, number>();

  constructor(poke: (nodeId: NodeId, head: number) => Promise<void>) {
    this.#poke = poke;
  }

  see(nodeId: NodeId, isLive: boolean, nowMs: number): void {
    if (isLive) this.#liveUntilMs.set(nodeId, nowMs + LIVE_MS);
    else this.#liveUntilMs.delete(nodeId);
  }

  /** Pokes all who are live but the source of the news; at most one poke is under way to each. Never throws. */
  async pokeAll(head: number, source: NodeId | undefined, nowMs: number): Promise<void> {
    const targets: NodeId[] = [];
    for (const [nodeId, untilMs] of this.#liveUntilMs) {
      if (untilMs < nowMs) this.#liveUntilMs.delete(nodeId);
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
      this.#liveUntilMs.delete(nodeId);
    } finally {
      this.#underWay.delete(nodeId);
      this.#missed.delete(nodeId);
    }
  }
}

/** A little longer than the pause between two pulls of a node that somebody uses. */
const LIVE_MS = 90_000;
