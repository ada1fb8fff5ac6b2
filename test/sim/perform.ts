import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import { entry } from '../../src/core/vector-clock.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import type { Write } from '../../src/sync/replica.ts';
import type { Access, Action, Crash, Step } from './actions.ts';
import type { Checks } from './checkers/checks.ts';
import { checkData } from './checkers/isolation.ts';
import { checkSession } from './checkers/sessions.ts';
import type { Increment } from './checkers/tallies.ts';
import type { Client, Turn } from './client.ts';
import { broken } from './cloud-host.ts';
import type { Life } from './life.ts';
import { named } from './names.ts';
import { lineOf } from './network.ts';
import type { NodeHost, NodeProcess } from './node-host.ts';
import { isIncluded, type Op, waitingAt } from './op.ts';
import type { Space } from './space.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** Does what a step says; what takes time goes on by itself. */
export function perform(world: World, step: Step): void {
  const space = named(world.spaces[step.space]);
  const checks = named(world.checks[step.space]);
  new Performer(world, space, checks).perform(step.action);
}

class Performer {
  readonly #world: World;
  readonly #space: Space;
  readonly #checks: Checks;

  constructor(world: World, space: Space, checks: Checks) {
    this.#world = world;
    this.#space = space;
    this.#checks = checks;
  }

  perform(action: Action): void {
    const { trace } = this.#world;
    trace.note(`${this.#space.name}: ${JSON.stringify(action)}`);
    trace.count(`action: ${action.do}`);
    const node = named(this.#space.nodes['node' in action ? action.node : 0]);
    switch (action.do) {
      case 'write':
        trace.count(`action: ${action.level} ${action.content.kind}`);
        return this.#asClient(action, (turn, process) =>
          action.level === 'strong'
            ? this.#writeStrong({ ...entityOf(action), ...action.content }, action, turn, node, process)
            : this.#write({ ...entityOf(action), ...action.content }, action, turn, node, process),
        );
      case 'open-tally':
        return this.#asClient(action, (turn, process) => this.#openTally(action, turn, node, process));
      case 'increment':
        return this.#asClient(action, (turn, process) => this.#increment(action, turn, node, process));
      case 'read':
        trace.count(`action: ${action.level} read`);
        return this.#asClient(action, (turn, process) => this.#read(action, turn, node, process));
      case 'sync':
        void node.process?.link.sync().catch(this.#world.fail);
        return;
      case 'report':
        node.report = action.report;
        return node.setOnline(action.online);
      case 'crash-node':
        return crash(node.process?.life, action.crash);
      case 'crash-cloud':
        return crash(this.#space.cloud.life, action.crash);
      case 'empty-node':
        return this.#emptyNode(node);
      case 'partition':
        return this.#partition(node, action, action.ms);
      case 'flap':
        return this.#flap(node, action.times, action.ms);
      case 'clock-node':
        trace.count(`fault: node clock jumps ${action.ms < 0 ? 'back' : 'ahead'}`);
        return node.clock.jump(action.ms);
      case 'clock-cloud':
        trace.count(`fault: cloud clock jumps ${action.ms < 0 ? 'back' : 'ahead'}`);
        return this.#space.cloud.clock.jump(action.ms);
      default:
        return action satisfies never;
    }
  }

  // --- clients ---

  /** A client does one thing at a time; one that is not answered for long gives up. */
  #asClient(access: Access, body: (turn: Turn, process: NodeProcess) => Promise<void>): void {
    const client = named(this.#space.clients[access.client]);
    const { process } = named(this.#space.nodes[access.node]);
    if (client.isBusy || process === undefined) {
      this.#world.trace.count('outcome: skipped');
      return;
    }
    const turn = client.begin();
    this.#world.scheduler.after(PATIENCE_MS, () => client.finish(turn));
    void body(turn, process)
      .catch((error: unknown) => this.#failed(error, client, process))
      .catch(this.#world.fail)
      .finally(() => client.finish(turn));
  }

  #failed(error: unknown, client: Client, { life }: NodeProcess): void {
    if (error instanceof Violation) throw error;
    if (life.isOver) return;
    if (!(error instanceof SyncError)) throw broken(client.name, error);
    this.#world.trace.note(`${client.name} is told ${error.code}`);
    this.#world.trace.count(`outcome: ${error.code}`);
    const sawLost = error.code === 'causality_timeout' && [...client.past.ops].some(({ isLost }) => isLost);
    if (sawLost) client.beginAnew();
  }

  async #read(
    action: Extract<Action, { do: 'read' }>,
    turn: Turn,
    node: NodeHost,
    process: NodeProcess,
  ): Promise<void> {
    const { history, ops, name } = this.#space;
    const { level, maxStalenessMs, waitMs } = action;
    const key = entityKey(action);
    const floor = this.#checks.registers.floor(key);
    await process.access.satisfy({ level, maxStalenessMs, waitMs, after: turn.token });

    const view = process.replica.read(key);
    const { cursor } = process.replica.meta;
    const confirmed = history.at(key, cursor);
    checkData(name, view?.data, `a read at ${node.nodeId}`);
    if (level === 'causal' || level === 'session') checkSession(turn, node, this.#world.trace);
    if (level === 'strong') this.#checks.registers.read(key, floor, cursor, confirmed?.seq ?? 0);
    const waiting = waitingAt(node, ops);
    const predicted = waiting.find(({ dot }) => dot === view?.version);
    const seen = [predicted, confirmed && ops.behind(confirmed)].filter((op) => op !== undefined);
    turn.sees(seen, waiting, cursor, node.tokenFor(process, turn.token));
    this.#world.trace.note(`${turn.client.name} reads ${key} at ${node.nodeId}: ${view?.version}`);
    this.#world.trace.count(`outcome: ${level} read`);
  }

  async #write(
    write: Write,
    { waitMs }: Access,
    turn: Turn,
    node: NodeHost,
    process: NodeProcess,
  ): Promise<void> {
    const { changeId } = await process.access.write(write, turn.token, waitMs);
    const queued = [...process.replica.queued()].find(({ change }) => change.id === changeId);
    const op = this.#opOf(changeId, queued?.change.stamp, entityKey(write), turn, node, process);
    this.#acknowledge(op, turn, node, process);
  }

  async #writeStrong(
    write: Write,
    { waitMs }: Access,
    turn: Turn,
    node: NodeHost,
    process: NodeProcess,
  ): Promise<void> {
    const key = entityKey(write);
    const floor = this.#checks.registers.floor(key);
    const counterBefore = entry(process.replica.vectorClock(), node.nodeId);
    const answer = process.access.writeStrong(write, turn.token, waitMs);
    const counter = entry(process.replica.vectorClock(), node.nodeId);
    // The write is under way, under the counter that it took; it may happen though nobody will be told.
    const op =
      counter > counterBefore
        ? this.#opOf(`${node.nodeId}:${counter}`, undefined, key, turn, node, process)
        : undefined;
    const { changeId } = await answer;
    if (op?.dot !== changeId) throw new Violation('I7', `${changeId} was acknowledged for ${op?.dot}`);
    this.#checks.registers.wrote(op, floor);
    this.#acknowledge(op, turn, node, process);
  }

  /** Only one of all that try makes it. */
  async #openTally(access: Access, turn: Turn, node: NodeHost, process: NodeProcess): Promise<void> {
    const data = { space: this.#space.name, sums: {} };
    await this.#writeStrong(
      { ...entityOf(access), kind: 'put', data, ifNoneMatch: '*' },
      access,
      turn,
      node,
      process,
    );
  }

  async #increment(access: Access, turn: Turn, node: NodeHost, process: NodeProcess): Promise<void> {
    const increment: Increment = this.#checks.tallies.issue(entityKey(access));
    const operation = { op: 'increment', path: `sums.${increment.field}`, value: increment.amount } as const;
    try {
      const write: Write = { ...entityOf(access), kind: 'patch', operations: [operation] };
      await this.#writeStrong(write, access, turn, node, process);
      this.#checks.tallies.settle(increment, 'done');
    } catch (error) {
      // Any other failure says that it did not happen, and never will.
      const isSure = error instanceof SyncError && error.code !== 'outcome_unknown' && !process.life.isOver;
      if (isSure) this.#checks.tallies.settle(increment, 'refused');
      throw error;
    }
  }

  #opOf(
    dot: string,
    stamp: string | undefined,
    key: EntityKey,
    turn: Turn,
    node: NodeHost,
    process: NodeProcess,
  ): Op {
    const { past } = turn;
    const causes = new Set([...past.ops].filter((cause) => isIncluded(cause, node)));
    if (causes.size < past.ops.size) this.#world.trace.count('outcome: written before its cause arrived');
    const cloud = Math.max(past.cloud, process.replica.meta.cursor);
    const op: Op = {
      dot,
      nodeId: node.nodeId,
      writer: undefined,
      disk: node.disks,
      stamp,
      key,
      past: { ...past, cloud },
      causes,
      fate: undefined,
      isLost: false,
    };
    this.#space.ops.add(op);
    return op;
  }

  #acknowledge(op: Op, turn: Turn, node: NodeHost, process: NodeProcess): void {
    this.#checks.ledger.acknowledged(op, node);
    node.isTouched = true;
    op.writer = turn.client.name;
    const { cursor } = process.replica.meta;
    turn.sees([op], waitingAt(node, this.#space.ops), cursor, node.tokenFor(process, turn.token));
    this.#world.trace.note(`${op.writer} wrote ${op.dot} ${op.key}`);
    this.#world.trace.count(`outcome: ${op.stamp === undefined ? 'strong' : 'eventual'} write`);
  }

  // --- faults ---

  #emptyNode(node: NodeHost): void {
    this.#world.trace.count('fault: node empties');
    node.process?.life.end();
    node.loseDisk();
    this.#checks.ledger.lostDisk(node);
  }

  #partition(node: NodeHost, cut: { readonly up: boolean; readonly down: boolean }, ms: number): void {
    const { scheduler, network, trace } = this.#world;
    const line = lineOf({ space: this.#space.name, sender: node.nodeId });
    trace.count(`fault: partition${cut.up ? ' up' : ''}${cut.down ? ' down' : ''}`);
    network.cut(line, cut);
    scheduler.after(ms, () => network.cut(line, { up: false, down: false }));
  }

  #flap(node: NodeHost, times: number, ms: number): void {
    this.#world.trace.count('fault: flapping');
    for (let time = 0; time < times; time += 1) {
      this.#world.scheduler.after(2 * time * ms, () => this.#partition(node, { up: true, down: true }, ms));
    }
  }
}

function crash(life: Life | undefined, how: Crash): void {
  if (how.point === 'now') life?.end();
  else life?.endIn(how.transactions, how.point);
}

function entityOf({ entityType, entityId }: Access) {
  return { entityType, entityId };
}

/** Longer than any honest wait, so that only who will never be answered gives up. */
const PATIENCE_MS = 60_000;
