import { type JsonObject, jsonEqual } from '../../src/core/json.ts';
import type { Key } from './api-client.ts';

/** What a node has promised to keep. */
interface Acknowledged {
  readonly node: string;
  /** `null`: deleted. */
  readonly data: JsonObject | null;
}

/** The writes that were acknowledged, kept by the demo itself, so that none can get lost unnoticed. */
export class Ledger {
  readonly #writes = new Map<string, Acknowledged[]>();
  readonly #counts = new Map<string, number>();

  add(key: Key, acknowledged: Acknowledged): void {
    const name = nameOf(key);
    const writes = this.#writes.get(name);
    if (writes === undefined) this.#writes.set(name, [acknowledged]);
    else writes.push(acknowledged);
    this.#counts.set(acknowledged.node, this.countOf(acknowledged.node) + 1);
  }

  countOf(node: string): number {
    return this.#counts.get(node) ?? 0;
  }

  /** Of all records that were ever written. */
  get names(): string[] {
    return [...this.#writes.keys()];
  }

  get count(): number {
    return [...this.#counts.values()].reduce((sum, count) => sum + count, 0);
  }

  /**
   * What the final state doesn't hold of what was acknowledged, in words; none: nothing was lost. Of a record that
   * is in `winners` the last write of that node counts, of any other one the last write of all.
   */
  missingIn(state: ReadonlyMap<string, JsonObject>, winners: ReadonlyMap<string, string>): string[] {
    const missing: string[] = [];
    for (const [name, writes] of this.#writes) {
      const winner = winners.get(name);
      const expected = writes.findLast(({ node }) => winner === undefined || node === winner);
      const found = state.get(name) ?? null;
      if (expected !== undefined && jsonEqual(expected.data, found)) continue;
      missing.push(
        `${name}: ${winner ?? 'the last writer'} wrote ${JSON.stringify(expected?.data)}, found ${JSON.stringify(found)}`,
      );
    }
    return missing;
  }
}

/** One string for one record. */
export function nameOf({ entityType, entityId }: Key): string {
  return `${entityType}/${entityId}`;
}
