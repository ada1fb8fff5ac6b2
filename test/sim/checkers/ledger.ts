import { dotOf } from '../../../src/core/change.ts';
import { has } from '../../../src/core/dot-set.ts';
import type { QueuedChange } from '../../../src/sync/ports.ts';
import { type NodeHost, queueOn } from '../node-host.ts';
import { carrierOf, type Op } from '../op.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';
import type { Rows } from './rows.ts';

/**
 * I1: every acknowledged write is in its node's queue, by itself or in a later one, or the cloud has decided on it, or it
 * is dead with its reason. A node whose disk is lost loses what only that disk had; a cloud that is lost loses what no
 * node has kept; nothing else does.
 */
export class Ledger {
  readonly #space: () => Space;
  readonly #rows: Rows;
  readonly #open = new Map<NodeHost, Set<Op>>();
  /** Decided; a cloud that lost that is given it back. */
  readonly #closed = new Map<NodeHost, Set<Op>>();

  constructor(space: () => Space, rows: Rows) {
    this.#space = space;
    this.#rows = rows;
  }

  acknowledged(op: Op, node: NodeHost): void {
    setOf(this.#open, node).add(op);
  }

  /** The node's disk is gone, and with it what waited there, also what nobody was told of. */
  lostDisk(node: NodeHost): void {
    const { ops, cloud } = this.#space();
    const waiting = [...this.#rows.of(node).values()].filter(({ settledAtMs }) => settledAtMs === undefined);
    const untold = waiting.map(({ queued }) => ops.waiting(queued.change));
    for (const op of new Set([...setOf(this.#open, node), ...setOf(this.#closed, node), ...untold])) {
      // What only a lost cloud had decided is known to nobody any more.
      if (op.fate === undefined || op.fate.epoch !== cloud.epoch) ops.lose(op);
    }
    this.#open.delete(node);
    this.#closed.delete(node);
    this.#rows.lostDisk(node);
  }

  /** The cloud is gone: what the nodes have kept waits again. */
  lostCloud(): void {
    const { nodes, ops } = this.#space();
    const kept = new Set<Op>();
    for (const node of nodes) {
      const dots = new Set(node.disk.readQueue(0).map(({ change }) => change.id));
      const open = setOf(this.#open, node);
      for (const op of [...open, ...setOf(this.#closed, node)]) {
        if (op.stamp === undefined || op.isLost || !dots.has(carrierOf(op).dot)) continue;
        kept.add(op);
        open.add(op);
      }
      this.#closed.delete(node);
    }
    ops.loseCloud((op) => kept.has(op));
  }

  check(node: NodeHost): void {
    const stored = node.disk.readQueue(0);
    const waiting = new Map(queueOn(node.disk).map((row) => [row.change.id, row]));
    const open = setOf(this.#open, node);
    for (const op of open) {
      const carrier = carrierOf(op);
      const queued = op.stamp === undefined ? undefined : waiting.get(carrier.dot);
      if (queued === undefined) {
        if (!op.isLost) this.#checkDecided(op, node);
        open.delete(op);
        setOf(this.#closed, node).add(op);
        continue;
      }
      const isDead = queued.error !== null;
      require(!isDead || carrier.fate?.status === 'rejected', 'I1', () => `${op.dot} is dead, but was not refused`);
      require(queued.error?.code !== '', 'I1', () => `${op.dot} is dead without a reason`);
    }
    this.#checkRows(node, stored);
    this.#checkQueue(node, stored, waiting);
  }

  #checkDecided(op: Op, node: NodeHost): void {
    const { cloud, history } = this.#space();
    const { epoch } = node.disk.readMeta() ?? { epoch: null };
    const isCurrent = history.of(epoch) === history;
    const fate = op.fate ?? (isCurrent ? undefined : op.formerFates.at(-1));
    const detail = `${op.dot} is lost: it left its queue, and the cloud never had it`;
    require(fate !== undefined, 'I1', () => detail);
    if (fate?.status === 'cancelled') return;
    const isRefused = fate?.status === 'rejected' && op.stamp !== undefined;
    require(!isRefused, 'I1', () => `${op.dot} was refused, and is not kept with its reason`);
    if (!isCurrent) return;
    const received = cloud.disk.readNode(node.nodeId)?.received;
    const { counter } = dotOf({ id: carrierOf(op).dot });
    require(received !== undefined && has(received, counter), 'I1', () => `the cloud no longer knows ${op.dot}`);
  }

  /** What was written to the rows is there, and nothing else. */
  #checkRows(node: NodeHost, stored: readonly QueuedChange[]): void {
    const rows = this.#rows.of(node);
    require(rows.size === stored.length, 'I1', () =>
      `${node.nodeId} has ${stored.length} rows instead of ${rows.size}`);
    for (const { slot, change } of stored) {
      const row = rows.get(slot)?.queued.change.id;
      require(row === change.id, 'I1', () => `slot ${slot} of ${node.nodeId} has ${change.id} instead of ${row}`);
    }
  }

  /** The queue in memory is what waits on the disk, and its numbers add up. */
  #checkQueue(node: NodeHost, stored: readonly QueuedChange[], waiting: ReadonlyMap<string, QueuedChange>): void {
    if (node.process === undefined) return;
    const queued = [...node.process.replica.queued()];
    const ids = new Set(queued.map(({ change }) => change.id));
    for (const id of waiting.keys()) require(ids.has(id), 'I1', () => `${id} is on the disk, and not in the queue`);
    const bySlot = new Map(stored.map(({ slot, change }) => [slot, change.id]));
    for (const { slot, change } of queued) {
      require(bySlot.get(slot) === change.id, 'I1', () => `${change.id} is in the queue, and not in its slot ${slot}`);
    }
    const { pending, syncing, failed, dead, total, bytes } = node.process.replica.queueStats();
    const sum = pending + syncing + failed + dead;
    require(sum === total && total === queued.length, 'I1', () => `${sum} of ${total} changes at ${node.nodeId}`);
    const queuedBytes = queued.reduce((all, one) => all + one.bytes, 0);
    require(bytes === queuedBytes, 'I1', () => `${node.nodeId} counts ${bytes} bytes, and has ${queuedBytes}`);
  }
}

function setOf<Key>(sets: Map<Key, Set<Op>>, key: Key): Set<Op> {
  const set = sets.get(key) ?? new Set();
  sets.set(key, set);
  return set;
}
