import { canonicalText } from '../../../src/core/canonical.ts';
import { digestTotal } from '../../../src/core/digest.ts';
import type { EntityVersion } from '../../../src/core/entity.ts';
import type { NodeHost } from '../node-host.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';

/**
 * I4: what a node has confirmed is the cloud's state at its cursor, and the cursor never goes back. The same of D1 at
 * its own; and where cursors are equal, digests are (I3).
 */
export class Prefixes {
  readonly #space: () => Space;
  readonly #cursors = new Map<
    NodeHost,
    { readonly disk: number; readonly epoch: string | null; readonly cursor: number }
  >();

  constructor(space: () => Space) {
    this.#space = space;
  }

  checkNode(node: NodeHost): void {
    const meta = node.disk.readMeta();
    if (meta === undefined) return;
    const { cursor, epoch, digestMismatches, digest } = meta;
    const history = this.#space().history.of(epoch);
    const last = this.#cursors.get(node);
    const isSame = last?.disk === node.disks && last.epoch === epoch;
    require(!isSame || last.cursor <= cursor, 'I4', () => `${node.nodeId} went back to ${cursor}`);
    this.#cursors.set(node, { disk: node.disks, epoch, cursor });

    // On its way into another history, a node shows what it had until it has all of that.
    if (cursor === 0 && this.#space().history.generation > 0) return;
    let count = 0;
    for (const key of history.keys()) {
      const expected = liveText(history.at(key, cursor));
      const confirmed = liveText(node.disk.readRecord(key));
      if (confirmed !== undefined) count += 1;
      require(confirmed === expected, 'I4', () => {
        return `${node.nodeId} at ${cursor} has ${key} as ${confirmed}, the cloud had ${expected}`;
      });
    }
    const total = node.disk.countRecords();
    require(total === count, 'I4', () => `${node.nodeId} has ${total} records, the cloud had ${count}`);
    require(digestMismatches === 0, 'I3', () => `${node.nodeId} found that its state was not the cloud's`);
    const theirs = history.digestAt(cursor);
    const isEqual = theirs === undefined || theirs === digestTotal(digest);
    require(isEqual, 'I3', () => `the digest of ${node.nodeId} at ${cursor} is not the cloud's`);
  }

  checkD1(): void {
    const { d1, history: latest } = this.#space();
    const history = latest.of(d1.position.epoch);
    for (const key of history.keys()) {
      // What it has of an older history gives way when there is something newer.
      if (latest.generation > 0 && history.at(key, d1.position.seq) === undefined) continue;
      const expected = liveText(history.at(key, d1.position.seq));
      const projected = liveText(d1.rows.get(key));
      require(projected === expected, 'I4', () => {
        return `D1 at ${d1.position.seq} has ${key} as ${projected}, the cloud had ${expected}`;
      });
    }
  }
}

/** What all who have a version must have of it, as one text; undefined: nothing is there. */
export function liveText(version: EntityVersion | undefined): string | undefined {
  if (version === undefined || version.data === null) return undefined;
  const { data, seq, stamp, version: name } = version;
  return canonicalText({ data, seq, stamp, version: name });
}
