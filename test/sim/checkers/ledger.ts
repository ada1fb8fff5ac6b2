import { dotOf } from '../../../src/core/change.ts';
import { has } from '../../../src/core/dot-set.ts';
import { type NodeHost, queueOn } from '../node-host.ts';
import type { Op } from '../op.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';

/**
 * I1: every acknowledged write is in its node's queue, or the cloud has decided on it, or it is dead with its reason. A
 * node whose disk is lost loses what only that disk had; nothing else does.
 */
export class Ledger {
  readonly #space: () => Space;
  readonly #open = new Map<NodeHost, Set<Op>>();

  constructor(space: () => Space) {
    this.#space = space;
  }

  acknowledged(op: Op, node: NodeHost): void {
    const open = this.#open.get(node);
    if (open === undefined) this.#open.set(node, new Set([op]));
    else open.add(op);
  }

  /** The node's disk is gone. */
  lostDisk(node: NodeHost): void {
    for (const op of this.#open.get(node) ?? []) {
      if (op.fate === undefined) this.#space().ops.lose(op);
    }
    this.#open.delete(node);
  }

  check(node: NodeHost): void {
    const { ops } = this.#space();
    const queue = queueOn(node.disk);
    const byStamp = new Map(queue.map((queued) => [queued.change.stamp as string, queued]));
    const open = this.#open.get(node) ?? new Set<Op>();
    for (const op of open) {
      const queued = op.stamp === undefined ? undefined : byStamp.get(op.stamp);
      if (queued === undefined) {
        if (!op.isLost) this.#checkDecided(op, node);
        open.delete(op);
        continue;
      }
      if (queued.change.id !== op.dot) ops.rename(op, queued.change.id);
      const isDead = queued.error !== null;
      require(!isDead || op.fate?.status === 'rejected', 'I1', () => `${op.dot} is dead, but was not refused`);
      require(queued.error?.code !== '', 'I1', () => `${op.dot} is dead without a reason`);
    }
    this.#checkQueue(node);
  }

  #checkDecided(op: Op, node: NodeHost): void {
    require(op.fate !== undefined, 'I1', () => `${op.dot} is lost: it left its queue, and the cloud never had it`);
    const isRefused = op.fate?.status === 'rejected' && op.stamp !== undefined;
    require(!isRefused, 'I1', () => `${op.dot} was refused, and is not kept with its reason`);
    const received = this.#space().cloud.disk.readNode(node.nodeId)?.received;
    const isKnown = received !== undefined && has(received, dotOf({ id: op.dot }).counter);
    require(isKnown, 'I1', () => `the cloud no longer knows ${op.dot}`);
  }

  /** The queue in memory is the one on the disk, and its numbers add up. */
  #checkQueue(node: NodeHost): void {
    if (node.process === undefined) return;
    const stored = queueOn(node.disk);
    const ids = new Set(stored.map(({ change }) => change.id));
    const queued = [...node.process.replica.queued()];
    const isSame = queued.length === ids.size && queued.every(({ change }) => ids.has(change.id));
    require(isSame, 'I1', () => `the queue of ${node.nodeId} in memory is not the one on its disk`);
    const { pending, syncing, failed, dead, total, bytes } = node.process.replica.queueStats();
    const sum = pending + syncing + failed + dead;
    require(sum === total && total === stored.length, 'I1', () => `${sum} of ${total} changes at ${node.nodeId}`);
    const storedBytes = stored.reduce((all, one) => all + one.bytes, 0);
    require(bytes === storedBytes, 'I1', () => `${node.nodeId} counts ${bytes} bytes, and has ${storedBytes}`);
  }
}
