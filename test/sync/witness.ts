import { expect } from 'vitest';
import { dotOf } from '../../src/core/change.ts';
import { has } from '../../src/core/dot-set.ts';
import { type EntityVersion, versionDot } from '../../src/core/entity.ts';
import { CLOUD, type EntityKey, entityKey } from '../../src/core/ids.ts';
import type { Node, World } from './world.ts';

/** What was acknowledged: `mark` is in its record and in no other write's. */
interface Acknowledged {
  readonly node: Node;
  readonly key: EntityKey;
  readonly mark: string | undefined;
  /** What the writer had seen of the cloud. */
  readonly cursor: number;
  /** Whether it may have gone into a later one of the same record, before anybody heard of it. */
  readonly mayCoalesce: boolean;
}

/** Sees all that is acknowledged and each version that the cloud makes, and tells what got lost between the two. */
export class Witness {
  readonly #world: World;
  readonly #acknowledged = new Map<string, Acknowledged>();
  readonly #versions = new Map<EntityKey, EntityVersion[]>();

  constructor(world: World) {
    this.#world = world;
    const { cloudStore } = world;
    const write = cloudStore.writeEntity.bind(cloudStore);
    cloudStore.writeEntity = (entity) => {
      const key = entityKey(entity);
      this.#versions.set(key, [...(this.#versions.get(key) ?? []), entity]);
      write(entity);
    };
  }

  acknowledged(id: string, seen: Acknowledged): void {
    this.#acknowledged.set(id, seen);
    // Made and deleted before anybody heard of it: there is nothing that could be lost.
    const { node, key } = seen;
    const last = Math.max(0, ...queuedOf(node, key));
    for (const [other, { node: writer, key: entity, mayCoalesce }] of this.#acknowledged) {
      const isGone = mayCoalesce && writer === node && entity === key && dotOf({ id: other }).counter > last;
      if (isGone) this.#acknowledged.delete(other);
    }
  }

  /** At any moment, what was acknowledged is in the queue, or the cloud has it. */
  expectNothingLost(): void {
    for (const [id, { node, key, mayCoalesce }] of this.#acknowledged) {
      const { counter } = dotOf({ id });
      const isQueued = queuedOf(node, key).some((other) => other === counter || (mayCoalesce && other > counter));
      const received = this.#world.cloudStore.readNode(node.nodeId)?.received;
      expect(isQueued || (received !== undefined && has(received, counter)), `${id} is lost`).toBe(true);
    }
  }

  /** When all is in the cloud: in a record, as it was or merged with others, or in a conflict. */
  expectAllRecorded(): void {
    const conflicts = this.#world.cloudStore.listConflicts({ status: 'all', after: '', limit: 10_000 });
    const recorded = new Set<unknown>();
    for (const versions of this.#versions.values()) for (const { data } of versions) recorded.add(data?.['mark']);
    for (const { local, remote } of conflicts) for (const { data } of [local, remote]) recorded.add(data?.['mark']);
    for (const [id, { mark, mayCoalesce }] of this.#acknowledged) {
      if (mayCoalesce) continue;
      expect(
        mark === undefined || recorded.has(mark),
        `what ${id} wrote is neither in a record nor in a conflict`,
      ).toBe(true);
    }
    const replaced = new Set(conflicts.map(({ local, remote }) => `${local.version} by ${remote.version}`));
    for (const versions of this.#versions.values()) {
      for (const [index, next] of versions.entries()) {
        const before = versions[index - 1];
        // Of two deletes nothing is lost.
        const isDeletedAgain = before?.data === null && next.data === null;
        if (before === undefined || isDeletedAgain || this.#hadSeen(next, before)) continue;
        const how = `${before.version} by ${next.version}`;
        expect(replaced.has(how), `${how} was replaced unseen, and there is no conflict`).toBe(true);
      }
    }
  }

  /** Whether the writer of a version knew the one before; the cloud itself does. */
  #hadSeen(next: EntityVersion, before: EntityVersion): boolean {
    const [dot, earlier] = [versionDot(next), versionDot(before)];
    const writer = this.#acknowledged.get(next.version);
    if (dot.node === CLOUD || writer === undefined) return true;
    return before.seq <= writer.cursor || (earlier.node === dot.node && earlier.counter < dot.counter);
  }
}

/** Counters of what waits at a node for a record. */
function queuedOf({ replica }: Node, key: EntityKey): number[] {
  return [...replica.queued()]
    .filter(({ change }) => entityKey(change) === key)
    .map(({ change }) => dotOf(change).counter);
}
