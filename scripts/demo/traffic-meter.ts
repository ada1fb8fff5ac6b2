import type { NodeStatus } from './answers.ts';
import type { ApiClient } from './api-client.ts';
import { meanwhile } from './meanwhile.ts';

export type Traffic = NodeStatus['traffic'];

/** A node that is asked so often is never idle long enough to be put to sleep, where it would forget its count. */
const READ_EVERY_MS = 2_000;
export const NO_TRAFFIC: Traffic = { uploaded: 0, roundTrips: 0, bytesUp: 0, bytesDown: 0 };

/**
 * Reads what nodes have sent and received, again and again: a node counts since it was last started, so one number at
 * the end could miss what was before.
 */
export class TrafficMeter {
  readonly #api: Pick<ApiClient, 'status'>;
  readonly #nodes: readonly string[];
  readonly #earlier = new Map<string, Traffic>();
  readonly #current = new Map<string, Traffic>();

  constructor(api: Pick<ApiClient, 'status'>, nodes: readonly string[]) {
    this.#api = api;
    this.#nodes = nodes;
  }

  /** Measures while `body` runs. */
  async during<T>(body: () => Promise<T>): Promise<T> {
    return await meanwhile(
      READ_EVERY_MS,
      () => this.read(),
      async () => {
        const result = await body();
        await this.read();
        return result;
      },
    );
  }

  async read(): Promise<void> {
    for (const node of this.#nodes) this.#note(node, (await this.#api.status(node)).traffic);
  }

  /** Up to the last time that it was read. */
  totalOf(node: string): Traffic {
    return plus(this.#earlier.get(node) ?? NO_TRAFFIC, this.#current.get(node) ?? NO_TRAFFIC);
  }

  #note(node: string, traffic: Traffic): void {
    const before = this.#current.get(node) ?? NO_TRAFFIC;
    const wasRestarted = traffic.bytesUp < before.bytesUp || traffic.bytesDown < before.bytesDown;
    if (wasRestarted) this.#earlier.set(node, this.totalOf(node));
    this.#current.set(node, traffic);
  }
}

export function plus(a: Traffic, b: Traffic): Traffic {
  return combined(a, b, (one, other) => one + other);
}

export function minus(a: Traffic, b: Traffic): Traffic {
  return combined(a, b, (one, other) => one - other);
}

function combined(a: Traffic, b: Traffic, of: (one: number, other: number) => number): Traffic {
  return {
    uploaded: of(a.uploaded, b.uploaded),
    roundTrips: of(a.roundTrips, b.roundTrips),
    bytesUp: of(a.bytesUp, b.bytesUp),
    bytesDown: of(a.bytesDown, b.bytesDown),
  };
}
