import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from './api-client.ts';

interface Traffic {
  readonly bytesUp: number;
  readonly bytesDown: number;
}

/** A node that is asked so often is never idle long enough to be put to sleep, where it would forget its count. */
const READ_EVERY_MS = 2_000;
const NONE: Traffic = { bytesUp: 0, bytesDown: 0 };

/**
 * Reads what nodes have sent and received, again and again: a node counts since it was last started, so one number at
 * the end could miss what was before.
 */
export class TrafficMeter {
  readonly #api: ApiClient;
  readonly #nodes: readonly string[];
  readonly #earlier = new Map<string, Traffic>();
  readonly #current = new Map<string, Traffic>();

  constructor(api: ApiClient, nodes: readonly string[]) {
    this.#api = api;
    this.#nodes = nodes;
  }

  /** Measures while `body` runs. */
  async during<T>(body: () => Promise<T>): Promise<T> {
    const ended = new AbortController();
    const reading = this.#readUntil(ended.signal);
    try {
      const result = await body();
      await this.#read();
      return result;
    } finally {
      ended.abort();
      await reading;
    }
  }

  totalOf(node: string): Traffic {
    return sum(this.#earlier.get(node) ?? NONE, this.#current.get(node) ?? NONE);
  }

  async #readUntil(ended: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      // What is wrong with the server the story itself will meet, and tell.
      await this.#read().catch(() => {});
      await sleep(READ_EVERY_MS, undefined, { signal: ended }).catch(() => {});
    }
  }

  async #read(): Promise<void> {
    for (const node of this.#nodes) {
      const { traffic } = await this.#api.status(node);
      const before = this.#current.get(node) ?? NONE;
      const wasRestarted = traffic.bytesUp < before.bytesUp || traffic.bytesDown < before.bytesDown;
      if (wasRestarted) this.#earlier.set(node, this.totalOf(node));
      this.#current.set(node, traffic);
    }
  }
}

function sum(a: Traffic, b: Traffic): Traffic {
  return { bytesUp: a.bytesUp + b.bytesUp, bytesDown: a.bytesDown + b.bytesDown };
}
