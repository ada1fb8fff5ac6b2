import type { Priority } from '../core/change.ts';
import type { NodeId } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { BatchAnswer, IncomingBatch } from '../protocol/messages.ts';
import { freshNode, type NodeCondition, withExchange } from './node-record.ts';
import type { Plan } from './plan.ts';
import type { Clock, CloudStore } from './ports.ts';

/** A node, as the cloud can tell. */
export interface RegisteredNode {
  readonly nodeId: NodeId;
  /** Null: others have brought changes of it, and it never came itself. */
  readonly lastSeenAtMs: number | null;
  readonly cursor: number;
  /** How many changes of the history it hasn't got. */
  readonly lag: number;
  /** How many changes wait at it, and of each priority. */
  readonly pending: number;
  readonly queue: Readonly<Record<Priority, number>>;
  /** How long the oldest of them has waited, ms; null: none waits. */
  readonly oldestMs: number | null;
  readonly dead: number;
  readonly online: boolean;
  /** `syncing`: something has yet to come, or to go. */
  readonly state: 'idle' | 'syncing' | 'offline';
  readonly plan: Plan['strategy'];
  readonly digestMismatches: number;
}

export interface NodePage {
  readonly items: readonly RegisteredNode[];
  /** What to send as `after` for the rest; null: there is none. */
  readonly next: string | null;
}

export interface NodeRegistryOptions {
  readonly store: CloudStore;
  readonly clock: Clock;
  readonly head: () => number;
  /** Whether a node waits to be told of news. */
  readonly isLive: (nodeId: NodeId) => boolean;
}

/**
 * How the nodes of a space are: by their last exchange, and for those that have not come since the cloud began, as it was
 * written with their record, which is up to a minute older where they only read.
 */
export class NodeRegistry {
  readonly #options: NodeRegistryOptions;
  readonly #known = new Map<NodeId, NodeCondition>();

  constructor(options: NodeRegistryOptions) {
    this.#options = options;
  }

  /** A node has had its exchange. @returns how it is now. */
  heard(
    batch: Pick<IncomingBatch, 'sourceNodeId' | 'pending' | 'report'>,
    { cursor }: Pick<BatchAnswer, 'cursor'>,
  ): NodeCondition {
    const { sourceNodeId: nodeId } = batch;
    const condition = {
      ...withExchange(this.condition(nodeId), batch, cursor),
      lastSeenAtMs: this.#options.clock.nowMs(),
    };
    this.#keep(nodeId, condition);
    return condition;
  }

  /** By id, behind `after`. */
  list(after: string, limit: number): NodePage {
    const ids = this.#options.store.listNodeIds(after, limit + 1);
    const items = ids.slice(0, limit).map((nodeId) => this.get(nodeId));
    return { items, next: ids.length > limit ? (items.at(-1)?.nodeId ?? null) : null };
  }

  get(nodeId: NodeId): RegisteredNode {
    const { clock, head, isLive } = this.#options;
    const { cursor, lastSeenAtMs, pending, report = {} } = this.condition(nodeId);
    const lag = Math.max(0, head() - cursor);
    const silentMs = Math.max(0, clock.nowMs() - lastSeenAtMs);
    // One that was told of news and hasn't come for them isn't there any more, whatever it said.
    const online = silentMs < ONLINE_MS || (isLive(nodeId) && lag === 0);
    return {
      nodeId,
      lastSeenAtMs: lastSeenAtMs === 0 ? null : lastSeenAtMs,
      cursor,
      lag,
      pending,
      queue: { critical: 0, high: 0, normal: 0, ...report.queue },
      oldestMs: report.oldestMs === undefined ? null : report.oldestMs + silentMs,
      dead: report.dead ?? 0,
      online,
      state: online ? (lag > 0 || pending > 0 ? 'syncing' : 'idle') : 'offline',
      plan: report.plan ?? 'full',
      digestMismatches: report.digestMismatches ?? 0,
    };
  }

  /** What is known of it. */
  condition(nodeId: NodeId): NodeCondition {
    const known = this.#known.get(nodeId);
    if (known !== undefined) return known;
    const { cursor, lastSeenAtMs, pending, report } = this.#options.store.readNode(nodeId) ?? freshNode(nodeId);
    const stored = { cursor, lastSeenAtMs, pending, report };
    this.#keep(nodeId, stored);
    return stored;
  }

  #keep(nodeId: NodeId, condition: NodeCondition): void {
    this.#known.delete(nodeId);
    this.#known.set(nodeId, condition);
    const [oldest] = this.#known.keys();
    if (this.#known.size > LIMITS.registryNodes && oldest !== undefined) this.#known.delete(oldest);
  }
}

/** Three of the pulls that a node in use makes. */
const ONLINE_MS = 90_000;
