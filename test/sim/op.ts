import type { Change } from '../../src/core/change.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { CLOUD, type EntityKey, entityKey } from '../../src/core/ids.ts';
import type { ChangeResult } from '../../src/protocol/messages.ts';
import type { NodeHost } from './node-host.ts';

/** What the cloud did with a write. */
export interface Fate {
  readonly status: ChangeResult['status'];
  /** The version that it made; undefined: none. */
  readonly seq: number | undefined;
  /** Whoever has the history up to here has the write, or what it lost to. */
  readonly position: number;
}

/** What somebody had seen: the history up to a seq, and writes that may not be in it yet. */
export interface Past {
  readonly cloud: number;
  /** Written or read, or seen by who wrote what was. */
  readonly ops: ReadonlySet<Op>;
  /** Those too that waited at a node when it was read there: a token can't tell them from the others. */
  readonly shown: ReadonlySet<Op>;
}

/** One write, as the checkers know it. */
export interface Op {
  /** A node that lost its disk may give a waiting change another one. */
  dot: string;
  readonly nodeId: string;
  /** The client's name; undefined: nobody who was told that it was done. */
  writer: string | undefined;
  /** Which disk of the node it was written to; undefined: it isn't known. */
  readonly disk: number | undefined;
  /** Undefined for a strong write, which isn't queued. */
  readonly stamp: string | undefined;
  readonly key: EntityKey;
  /** What its writer had seen. */
  readonly past: Past;
  /** What of it was at the node that took the write: nobody may see this write without it. */
  readonly causes: Set<Op>;
  fate: Fate | undefined;
  /** The only disk that had it was lost. */
  isLost: boolean;
  /** It was told of under another dot than the one that it has. */
  isRenumbered: boolean;
}

export const NOTHING: Past = { cloud: 0, ops: new Set(), shown: new Set() };

/** All writes of a space. A dot may stand for two of them, while a node that lost its disk doesn't know it has been. */
export class Ops {
  /** Those that no cloud has decided on may wait under this dot. */
  readonly #byDot = new Map<string, Op>();
  /** Those that the cloud has, by the version that they made. */
  readonly #byVersion = new Map<string, Op>();

  add(op: Op): void {
    this.#byDot.set(op.dot, op);
  }

  /** The write that waits under a dot; of one that nobody was told of, as little as is known. */
  waiting(change: Change): Op {
    const stamp = change.consistency === 'strong' ? undefined : change.stamp;
    const known = this.#byDot.get(change.id);
    if (known !== undefined && known.stamp === stamp) return known;
    const op = { ...unknownOp(change.id, change.nodeId, entityKey(change)), stamp };
    if (known === undefined) this.add(op);
    return op;
  }

  /** The write behind a version in the history. */
  behind({ version, seq, entityType, entityId }: EntityVersion): Op {
    const known = this.#byVersion.get(version);
    if (known !== undefined) return known;
    const fate = { status: 'applied', seq, position: seq } as const;
    return { ...unknownOp(version, CLOUD, entityKey({ entityType, entityId })), fate };
  }

  nameVersion(version: string, op: Op): void {
    this.#byVersion.set(version, op);
  }

  rename(op: Op, dot: string): void {
    if (this.#byDot.get(op.dot) === op) this.#byDot.delete(op.dot);
    op.dot = dot;
    op.isRenumbered = true;
    this.add(op);
  }

  /** The dot may be given out again. */
  lose(op: Op): void {
    op.isLost = true;
    if (this.#byDot.get(op.dot) === op) this.#byDot.delete(op.dot);
  }
}

function unknownOp(dot: string, nodeId: string, key: EntityKey): Op {
  return {
    dot,
    nodeId,
    writer: undefined,
    disk: undefined,
    stamp: undefined,
    key,
    past: NOTHING,
    causes: new Set(),
    fate: undefined,
    isLost: false,
    isRenumbered: false,
  };
}

/** What waits at a node. */
export function waitingAt({ process }: NodeHost, ops: Ops): Op[] {
  return [...(process?.replica.queued() ?? [])].map(({ change }) => ops.waiting(change));
}

/** Whether what a node shows has the write in it: it waits there, or the node has the history that decided on it. */
export function isIncluded(op: Op, node: NodeHost): boolean {
  if (op.isLost) return true;
  if (op.fate !== undefined && op.fate.position <= (node.process?.replica.meta.cursor ?? 0)) return true;
  if (op.nodeId !== node.nodeId || node.process === undefined) return false;
  for (const { change } of node.process.replica.queued()) if (change.id === op.dot) return true;
  return false;
}
