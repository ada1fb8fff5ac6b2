import type { Change } from '../../../src/core/change.ts';
import { entityKey } from '../../../src/core/ids.ts';
import { policyFor } from '../../../src/core/policy.ts';
import { LIMITS } from '../../../src/protocol/limits.ts';
import type { QueuedChange, ReplicaMeta } from '../../../src/sync/ports.ts';
import { isSettled, type NodeHost } from '../node-host.ts';
import { allOf, CANCELLED } from '../op.ts';
import { policies } from '../policies.ts';
import type { QueueCommit } from '../queue-watch.ts';
import type { Space } from '../space.ts';
import { require, Violation } from '../violation.ts';

/** What is in one slot of a queue. */
interface Row {
  readonly queued: QueuedChange;
  /** By the node's own clock, when the cloud was known to have it; undefined: it waits, or is dead. */
  readonly settledAtMs: number | undefined;
  /** For how long at most, by that clock: it jumps, and rows that were free stay so. */
  readonly keptMs: number;
}

/** What is known of one disk. */
interface Disk {
  readonly rows: Map<number, Row>;
  /** Dots of changes that were in a batch. */
  readonly left: Set<string>;
  /** Of all that was in a row, by dot. */
  readonly stamps: Map<string, string>;
  /** Deletions that cancelled out what they were of. */
  readonly deletions: Set<string>;
}

/**
 * I1 in the rows of the queues: what was in a row stays there, or goes into a later change of the same entity before it
 * left, or was made and deleted before it left, or has been in the cloud for as long as it is to be kept. Follows what
 * each write has become.
 */
export class Rows {
  readonly #space: () => Space;
  readonly #disks = new Map<NodeHost, Disk>();

  constructor(space: () => Space) {
    this.#space = space;
  }

  /** What should be in the node's rows. */
  of(node: NodeHost): ReadonlyMap<number, Row> {
    return this.#disk(node).rows;
  }

  lostDisk(node: NodeHost): void {
    this.#disks.delete(node);
  }

  sent(node: NodeHost, dots: readonly string[]): void {
    for (const dot of dots) this.#disk(node).left.add(dot);
  }

  /** The stamp of a change that was in a row; undefined: it never was. */
  stampOf(node: NodeHost, dot: string): string | undefined {
    return this.#disk(node).stamps.get(dot);
  }

  /** Whether a deletion came to stay by what it cancelled out. */
  hasCancelled(node: NodeHost, deletion: string): boolean {
    return this.#disk(node).deletions.has(deletion);
  }

  /** A transaction at a node has come to stay. */
  committed(node: NodeHost, { writes, meta }: QueueCommit): void {
    const disk = this.#disk(node);
    look(disk, node);
    for (const { slot, queued } of writes) {
      const before = disk.rows.get(slot);
      if (queued === undefined) {
        disk.rows.delete(slot);
        if (before !== undefined) this.#removed(before, meta, disk, node);
      } else {
        disk.stamps.set(queued.change.id, queued.change.stamp);
        const isSame = before?.queued.change.id === queued.change.id;
        disk.rows.set(slot, isSame ? { ...before, queued } : { queued, settledAtMs: undefined, keptMs: 0 });
        if (before !== undefined && isSame) this.#kept(before.queued.change, queued.change);
        else if (before !== undefined) this.#replaced(before, queued, disk);
      }
    }
    if (meta !== undefined) this.#settle(disk, meta, node);
  }

  #kept(before: Change, { stamp }: Change): void {
    const { ops, trace } = this.#space();
    if (before.stamp === stamp) return;
    trace.count('outcome: kept with the stamp that the cloud put right');
    ops.restamp(ops.waiting(before), stamp);
  }

  #replaced(before: Row, queued: QueuedChange, { left }: Disk): void {
    const { ops, trace } = this.#space();
    const [earlier, later] = [before.queued.change, queued.change];
    if (before.settledAtMs !== undefined) {
      const isOld = before.keptMs >= LIMITS.retainSyncedMs;
      require(isOld, 'I1', () => `${earlier.id} was kept for ${before.keptMs} ms only, and ${later.id} took its slot`);
      trace.count('outcome: row used again');
      return;
    }
    const op = ops.waiting(earlier);
    const isSameEntity = entityKey(earlier) === entityKey(later);
    const what = `slot ${queued.slot} of ${earlier.id}, which waits, was given to ${later.id}`;
    require(isSameEntity, 'I1', () => what);
    if (earlier.stamp === later.stamp || before.queued.error !== null) {
      const isRetried = before.queued.error !== null;
      trace.count(`outcome: ${isRetried ? 'dead change sent again' : 'renumbered'}`);
      if (isRetried) op.isRetried = true;
      else op.isRenumbered = true;
      if (earlier.stamp === later.stamp) ops.rename(op, later);
      else ops.absorb(op, ops.waiting(later));
      return;
    }
    require(before.queued.order === queued.order, 'I1', () => what);
    require(!left.has(earlier.id), 'I2', () => `${earlier.id} had left, and went into ${later.id}`);
    require(policyFor(policies, later.entityType).coalesce, 'I1', () => `${earlier.id} was to be sent as it is`);
    trace.count('outcome: coalesced');
    ops.absorb(op, ops.waiting(later));
  }

  #removed({ queued, settledAtMs }: Row, meta: ReplicaMeta | undefined, disk: Disk, node: NodeHost): void {
    const { ops, trace } = this.#space();
    const { id, operation } = queued.change;
    const op = ops.waiting(queued.change);
    if (queued.error !== null) {
      trace.count('outcome: dead change discarded');
      for (const each of allOf(op)) each.isLost = true;
      return;
    }
    require(!disk.left.has(id), 'I2', () => `${id} had left, and was taken back`);
    const isUnseen = settledAtMs === undefined && operation === 'create';
    if (!isUnseen || meta === undefined) throw new Violation('I1', `${id} was removed from its row`);
    trace.count('outcome: cancelled');
    ops.decide(op, CANCELLED);
    disk.deletions.add(`${node.nodeId}:${meta.counter}`);
  }

  /** What the cloud has is kept from now on; what another cloud hasn't waits again. */
  #settle({ rows }: Disk, meta: ReplicaMeta, node: NodeHost): void {
    const nowMs = nowOf(node);
    for (const [slot, { queued, settledAtMs = nowMs, keptMs }] of rows) {
      const isKept = isSettled(queued, meta.settled);
      rows.set(slot, isKept ? { queued, settledAtMs, keptMs } : { queued, settledAtMs: undefined, keptMs: 0 });
    }
  }

  #disk(node: NodeHost): Disk {
    const known = this.#disks.get(node) ?? {
      rows: new Map(),
      left: new Set(),
      stamps: new Map(),
      deletions: new Set(),
    };
    this.#disks.set(node, known);
    return known;
  }
}

function look({ rows }: Disk, node: NodeHost): void {
  const nowMs = nowOf(node);
  for (const [slot, row] of rows) {
    const { settledAtMs = nowMs, keptMs } = row;
    rows.set(slot, {
      ...row,
      settledAtMs: row.settledAtMs && Math.min(settledAtMs, nowMs),
      keptMs: Math.max(keptMs, nowMs - settledAtMs),
    });
  }
}

function nowOf({ process }: NodeHost): number {
  return process?.replica.nowMs() ?? 0;
}
