import type { Change } from '../../src/core/change.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { CLOUD, type EntityKey, entityKey } from '../../src/core/ids.ts';
import type { ChangeResult } from '../../src/protocol/messages.ts';
import type { NodeHost } from './node-host.ts';

/** What the cloud did with a write. */
export interface Fate {
  /** `cancelled`: made and deleted again before it left. */
  readonly status: ChangeResult['status'] | 'cancelled';
  /** Of whose history this is said; null: of every one. */
  readonly epoch: string | null;
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
  /** How much of a history that was lost. */
  readonly lost: number;
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
  /** What its writer had seen, of the history that there is now. */
  past: Past;
  /** It says all of the record, and so may pass for a successor of what its writer had seen elsewhere. */
  isWhole: boolean;
  /** Its node had been in no history when it took it. */
  isOfNewcomer: boolean;
  /** What of it was at the node that took the write: nobody may see this write without it. */
  readonly causes: Set<Op>;
  fate: Fate | undefined;
  /** What clouds did with it that have been lost since. */
  readonly formerFates: Fate[];
  /** The later write that it went into before it left: what becomes of that becomes of it. */
  into: Op | undefined;
  readonly absorbed: Set<Op>;
  /** It was refused once, and sent again by whoever looks after the node, under another dot. */
  isRetried: boolean;
  /** The only disk that had it was lost. */
  isLost: boolean;
  /** It was told of under another dot than the one that it has. */
  isRenumbered: boolean;
}

export const NOTHING: Past = { cloud: 0, ops: new Set(), shown: new Set(), lost: 0 };

/** What is left of it when the cloud is lost: the names of writes. */
export function afterLoss({ cloud, shown, lost }: Past): Past {
  return { ...NOTHING, shown, lost: Math.max(cloud, lost) };
}

export const CANCELLED: Fate = { status: 'cancelled', epoch: null, seq: undefined, position: 0 };

/** The write that stands for this one in a queue, or on its way. */
export function carrierOf(op: Op): Op {
  let carrier = op;
  while (carrier.into !== undefined) carrier = carrier.into;
  return carrier;
}

/** The write, and all that went into it. */
export function* allOf(op: Op): Generator<Op> {
  yield op;
  for (const absorbed of op.absorbed) yield* allOf(absorbed);
}

/** All writes of a space. A dot may stand for two of them, of two lives of a node that lost its disk. */
export class Ops {
  /** By dot and stamp. */
  readonly #byDot = new Map<string, Op>();
  readonly #lost = new Map<string, Op>();
  /** Those that the cloud has, by the version that they made. */
  readonly #byVersion = new Map<string, Op>();

  /** @returns the write, as it is known from now on. */
  add(op: Op): Op {
    // The row of a write is there before its writer is told, and others may have read it by then.
    const untold = this.#byDot.get(nameOf(op));
    if (untold !== undefined && untold.disk === undefined) return Object.assign(untold, op, whatBecameOf(untold));
    this.#byDot.set(nameOf(op), op);
    return op;
  }

  absorb(earlier: Op, later: Op): void {
    earlier.into = later;
    later.absorbed.add(earlier);
  }

  decide(op: Op, fate: Fate): void {
    for (const each of allOf(op)) each.fate = fate;
  }

  /** The write that waits under a dot; of one that nobody was told of, as little as is known. */
  waiting(change: Change): Op {
    const stamp = change.consistency === 'strong' ? undefined : change.stamp;
    const name = nameOf({ dot: change.id, stamp });
    const known = this.#byDot.get(name) ?? this.#lost.get(name);
    if (known !== undefined) return known;
    return this.add({ ...unknownOp(change.id, change.nodeId, entityKey(change)), stamp });
  }

  /** Whether somebody waits for a strong write to the same entity at the same node. */
  hasStrongUnderWay({ nodeId, key }: Op): boolean {
    return [...this.#byDot.values()].some((op) => {
      return op.stamp === undefined && op.nodeId === nodeId && op.key === key && op.fate === undefined;
    });
  }

  /** Whether its node had written something to the same entity before that was refused: a whole record has that in it. */
  isBehindRefused({ nodeId, key }: Op): boolean {
    return [...this.#byDot.values()].some((op) => {
      const isRefused = [op.fate, ...op.formerFates].some((fate) => fate?.status === 'rejected');
      return op.nodeId === nodeId && op.key === key && isRefused;
    });
  }

  /** The write behind a version in the history. */
  behind({ version, seq, entityType, entityId }: EntityVersion, epoch: string | null): Op {
    const known = this.#byVersion.get(version);
    if (known !== undefined) return known;
    const fate = { status: 'applied', epoch, seq, position: seq } as const;
    return { ...unknownOp(version, CLOUD, entityKey({ entityType, entityId })), fate };
  }

  nameVersion(version: string, op: Op): void {
    this.#byVersion.set(version, op);
  }

  /** It waits under another dot from now on, with the stamp that it had; that may be one that a cloud put right. */
  rename(op: Op, { id, stamp }: Pick<Change, 'id' | 'stamp'>): void {
    this.#byDot.delete(nameOf(op));
    op.dot = id;
    this.add(op);
    this.restamp(op, stamp);
  }

  /** It is kept with the stamp that the cloud took it with, and known by both. */
  restamp(op: Op, stamp: string): void {
    this.#byDot.set(nameOf({ dot: op.dot, stamp }), op);
  }

  /**
   * The cloud is lost, and with it what it did with any write, and what anybody had seen of its history.
   *
   * @param isKept whether a node can give the write back.
   */
  loseCloud(isKept: (op: Op) => boolean): void {
    this.#byVersion.clear();
    for (const op of [...this.#byDot.values()].flatMap((one) => [...allOf(one)])) {
      op.causes.clear();
      op.past = afterLoss(op.past);
      if (op.fate?.epoch === null) continue;
      if (op.fate !== undefined) op.formerFates.push(op.fate);
      if (op.fate !== undefined && !isKept(op)) op.isLost = true;
      // No node keeps a strong write to give it back: what has its name from now on is another, or nobody was told of it.
      if (op.fate !== undefined && op.stamp === undefined) this.#byDot.delete(nameOf(op));
      // What is dead is not sent again by itself.
      if (op.fate?.status !== 'rejected') op.fate = undefined;
    }
  }

  /** Whether a write of that name was on a disk that was lost. */
  hasLost(dot: string): boolean {
    return [...this.#lost.values()].some((op) => op.dot === dot);
  }

  /** It may have left before, and arrive yet. */
  lose(op: Op): void {
    op.isLost = true;
    this.#byDot.delete(nameOf(op));
    this.#lost.set(nameOf(op), op);
  }
}

function whatBecameOf({
  absorbed,
  into,
  fate,
  formerFates,
}: Op): Pick<Op, 'absorbed' | 'into' | 'fate' | 'formerFates'> {
  return { absorbed, into, fate, formerFates };
}

function nameOf({ dot, stamp = 'strong' }: Pick<Op, 'dot' | 'stamp'>): string {
  return `${dot} ${stamp}`;
}

/** A write of which no more is known. */
export function unknownOp(dot: string, nodeId: string, key: EntityKey): Op {
  return {
    dot,
    nodeId,
    writer: undefined,
    disk: undefined,
    stamp: undefined,
    key,
    past: NOTHING,
    isWhole: false,
    isOfNewcomer: false,
    causes: new Set(),
    fate: undefined,
    formerFates: [],
    into: undefined,
    absorbed: new Set(),
    isRetried: false,
    isLost: false,
    isRenumbered: false,
  };
}

/** What waits at a node, and what it keeps for those below it. */
export function waitingAt(node: NodeHost, ops: Ops): Op[] {
  const own = [...(node.process?.replica.queued() ?? [])].map(({ change }) => ops.waiting(change));
  return [...own, ...keptAt(node, ops)];
}

export function keptAt({ process }: NodeHost, ops: Ops): Op[] {
  return [...(process?.replica.beside.all() ?? [])].map(({ change }) => ops.waiting(change));
}

/** Whether what a node shows has the write in it: it waits there, or the node has the history that decided on it. */
export function isIncluded(op: Op, node: NodeHost): boolean {
  if (op.isLost || op.isRetried) return true;
  const { cursor, epoch } = node.process?.replica.meta ?? { cursor: 0, epoch: null };
  const isThere = (fate: Fate | undefined) => {
    return (
      fate !== undefined && fate.position <= cursor && (fate.epoch === epoch || fate.epoch === null || epoch === null)
    );
  };
  if (isThere(op.fate) || op.formerFates.some(isThere)) return true;
  const { dot } = carrierOf(op);
  if (dot !== undefined && node.process?.replica.beside.has(dot)) return true;
  if (op.nodeId !== node.nodeId || node.process === undefined) return false;
  for (const { change } of node.process.replica.queued()) if (change.id === dot) return true;
  return false;
}
