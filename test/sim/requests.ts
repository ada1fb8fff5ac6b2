import { entityKey } from '../../src/core/ids.ts';
import { entry } from '../../src/core/vector-clock.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import type { Write } from '../../src/sync/write.ts';
import type { Access, Action } from './actions.ts';
import type { Checks } from './checkers/checks.ts';
import { checkData } from './checkers/isolation.ts';
import { halvesOf } from './checkers/pairs.ts';
import { checkSession } from './checkers/sessions.ts';
import { checkStaleness } from './checkers/staleness.ts';
import type { Increment } from './checkers/tallies.ts';
import type { Turn } from './client.ts';
import { named } from './names.ts';
import type { NodeHost, NodeProcess } from './node-host.ts';
import { afterLoss, CANCELLED, isIncluded, keptAt, type Op, unknownOp, waitingAt } from './op.ts';
import { PAIR } from './policies.ts';
import type { Space } from './space.ts';
import { require, Violation } from './violation.ts';

/** Who asks, and where. */
export interface Request {
  readonly turn: Turn;
  readonly node: NodeHost;
  /** The node's process when it was asked; it may not live to answer. */
  readonly process: NodeProcess;
  readonly access: Access;
  /** How many clouds had been lost when it was asked. */
  readonly generation: number;
}

/** What clients ask of nodes; each answer is held against what the client and all others were told before. */
export class Requests {
  readonly #space: Space;
  readonly #checks: Checks;

  constructor(space: Space, checks: Checks) {
    this.#space = space;
    this.#checks = checks;
  }

  async read(request: Request, action: Extract<Action, { do: 'read' }>): Promise<void> {
    const { turn, node, process } = request;
    const { history, ops, name, trace, cloud } = this.#space;
    const { level, maxStalenessMs, waitMs } = action;
    const key = entityKey(action);
    const floor = this.#checks.registers.floor(key);
    const begin = this.#checks.strong.begin();
    const served = await process.access.satisfy(action.entityType, {
      level,
      maxStalenessMs,
      waitMs,
      after: turn.token,
    });

    const view = process.replica.read(key, served.source);
    const { cursor } = process.replica.meta;
    checkData(name, view?.data, `a read at ${node.nodeId}`);
    if (!this.#isOfNow(request)) return;
    if (level !== 'strong') checkStaleness(served, node, this.#space);
    const confirmed = history.at(key, cursor);
    if (level === 'causal' || level === 'session') checkSession(turn, node, trace);
    const waiting = waitingAt(node, ops);
    if (level === 'strong') {
      // A delete is shown as nothing, and is a version all the same.
      this.#checks.strong.answered('read', whoIn(request), key, view?.version ?? confirmed?.version ?? null, begin);
      this.#checks.registers.read(key, floor, cursor, confirmed?.seq ?? 0);
    }
    const predicted = waiting.find(({ dot }) => dot === view?.version);
    const seen = [predicted, confirmed && ops.behind(confirmed, cloud.epoch)].filter((op) => op !== undefined);
    turn.sees(seen, waiting, cursor, node.tokenFor(process, turn.token));
    trace.note(`${turn.client.name} reads ${key} at ${node.nodeId}: ${view?.version}`);
    trace.count(`outcome: ${level} read`);
  }

  async write(request: Request, write: Write): Promise<Op> {
    const { turn, process, access, node } = request;
    const { changeId } = await process.access.write(write, turn.token, access.waitMs);
    const stamp = this.#checks.rows.stampOf(node, changeId);
    const op = this.#opOf(request, changeId, stamp ?? '', write);
    if (stamp === undefined && this.#checks.rows.hasCancelled(node, changeId)) op.fate = CANCELLED;
    const isAlone = write.coalesce !== false || op.absorbed.size === 0;
    require(isAlone, 'I1', () => `${changeId} was to be sent as a step of its own`);
    this.#acknowledge(request, op);
    return op;
  }

  async writeStrong(request: Request, write: Write): Promise<void> {
    const { turn, node, process, access } = request;
    const key = entityKey(write);
    const floor = this.#checks.registers.floor(key);
    const begin = this.#checks.strong.begin();
    await reachCloud(process);
    const counterBefore = entry(process.replica.vectorClock(), node.nodeId);
    const answer = process.access.writeStrong(write, turn.token, access.waitMs);
    const counter = entry(process.replica.vectorClock(), node.nodeId);
    // The write is under way, under the counter that it took; it may happen though nobody will be told.
    const isUnderWay = counter > counterBefore && !process.life.isOver;
    const op = isUnderWay ? this.#opOf(request, `${node.nodeId}:${counter}`, undefined, write) : undefined;
    const { changeId, version } = await answer;
    if (op?.dot !== changeId) throw new Violation('I7', `${changeId} was acknowledged for ${op?.dot}`);
    if (this.#isOfNow(request)) {
      if (op.fate?.seq !== undefined) this.#checks.strong.answered('write', whoIn(request), key, version, begin);
      this.#checks.registers.wrote(op, floor);
    }
    this.#acknowledge(request, op);
  }

  /** Both halves of a pair, and now and then another record with them. */
  async transact(request: Request, { level, data, pair, isWide }: Extract<Action, { do: 'transact' }>): Promise<void> {
    const { turn, process, access, node } = request;
    const writes = halvesOf(pair).map(([half, entityId]): Write => {
      return { entityType: PAIR, entityId, kind: 'put', data: { ...data, half } };
    });
    if (isWide) writes.push({ ...entityOf(access), kind: 'put', data });
    if (level === 'eventual') {
      const written = await process.access.transact(writes, turn.token, access.waitMs);
      for (const [index, { changeId }] of written.entries()) {
        this.#acknowledge(
          request,
          this.#opOf(request, changeId, this.#checks.rows.stampOf(node, changeId) ?? '', named(writes[index])),
        );
      }
      return;
    }
    await reachCloud(process);
    const counterBefore = entry(process.replica.vectorClock(), node.nodeId);
    const answer = process.access.transactStrong(writes, turn.token, access.waitMs);
    const counter = entry(process.replica.vectorClock(), node.nodeId);
    const isUnderWay = counter > counterBefore && !process.life.isOver;
    const ops = isUnderWay
      ? writes.map((write, index) =>
          this.#opOf(request, `${node.nodeId}:${counterBefore + 1 + index}`, undefined, write),
        )
      : [];
    await answer;
    for (const op of ops) this.#acknowledge(request, op);
  }

  /** Only one of all that try makes it. */
  async openTally(request: Request): Promise<void> {
    const data = { space: this.#space.name, sums: {} };
    await this.writeStrong(request, { ...entityOf(request.access), kind: 'put', data, ifNoneMatch: '*' });
  }

  /** Adds to a tally, at once or when the cloud hears of it. */
  async increment(request: Request, level: 'eventual' | 'strong'): Promise<void> {
    const { access, process } = request;
    const { tallies } = this.#checks;
    const increment: Increment = tallies.issue(entityKey(access));
    const operation = { op: 'increment', path: `sums.${increment.field}`, value: increment.amount } as const;
    const write: Write = { ...entityOf(access), kind: 'patch', operations: [operation] };
    try {
      if (level === 'eventual') tallies.settle(increment, await this.write(request, write));
      else {
        await this.writeStrong(request, write);
        tallies.settle(increment, 'done');
      }
    } catch (error) {
      // Any other failure says that it did not happen, and never will.
      const isSure = error instanceof SyncError && error.code !== 'outcome_unknown' && !process.life.isOver;
      if (isSure) tallies.settle(increment, 'refused');
      throw error;
    }
  }

  #opOf(request: Request, dot: string, stamp: string | undefined, write: Write): Op {
    const { turn, node, process, generation } = request;
    // First: what the node shows has it.
    const op = this.#space.ops.add({
      ...unknownOp(dot, node.nodeId, entityKey(write)),
      disk: node.disks,
      stamp,
    });
    const isOfNow = this.#isOfNow(request);
    const past = generation === this.#space.history.generation ? turn.past : afterLoss(turn.past);
    const cloud = isOfNow ? Math.max(past.cloud, process.replica.meta.cursor) : past.cloud;
    const causes = [...past.ops].filter((cause) => isOfNow && isIncluded(cause, node));
    if (causes.length < past.ops.size) this.#space.trace.count('outcome: written before its cause arrived');
    for (const cause of causes) op.causes.add(cause);
    op.past = { ...past, cloud, shown: new Set([...past.shown, ...keptAt(node, this.#space.ops)]) };
    op.isOfNewcomer = process.replica.meta.epoch === null;
    op.isWhole = isOfNow && (write.kind === 'put' || write.kind === 'delete');
    return op;
  }

  /** What was asked before the cloud was lost, or is told by a node that hasn't heard of that, is of no history now. */
  #isOfNow({ generation, turn, node, process }: Request): boolean {
    const { history, ops } = this.#space;
    const { epoch } = node.process?.replica.meta ?? { epoch: null };
    if (generation === history.generation && history.of(epoch) === history) return true;
    if (!turn.client.isIn(turn)) return false;
    turn.sees([], waitingAt(node, ops), process.replica.meta.cursor, node.tokenFor(process, turn.token));
    turn.client.forgetPast();
    return false;
  }

  #acknowledge(request: Request, op: Op): void {
    const { turn, node, process } = request;
    const { trace, ops } = this.#space;
    op.writer = turn.client.name;
    this.#checks.ledger.acknowledged(op, node);
    node.isTouched = true;
    if (!this.#isOfNow(request)) return;
    const { cursor } = process.replica.meta;
    turn.sees([op], waitingAt(node, ops), cursor, node.tokenFor(process, turn.token));
    trace.note(`${op.writer} wrote ${op.dot} ${op.key}`);
    trace.count(`outcome: ${op.stamp === undefined ? 'strong' : 'eventual'} write`);
  }
}

/** A node that never reached the cloud does so before a strong write; that has no dot before, and is made on what came. */
async function reachCloud({ replica, link }: NodeProcess): Promise<void> {
  if (replica.meta.epoch === null) await link.sync();
  if (replica.meta.epoch === null) throw new SyncError('cloud_unavailable', 'the node has never been there');
}

function whoIn({ turn, node }: Request) {
  return { client: turn.client.name, node: node.nodeId };
}

export function entityOf({ entityType, entityId }: Access) {
  return { entityType, entityId };
}
