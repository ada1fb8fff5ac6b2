import { toEntityId } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import type { Access, Action, Step } from './actions.ts';
import type { Checks } from './checkers/checks.ts';
import type { Client } from './client.ts';
import { broken } from './cloud-host.ts';
import { crash, emptyNode, flap, loseCloud, partition } from './mishaps.ts';
import { named } from './names.ts';
import type { NodeHost, NodeProcess } from './node-host.ts';
import { FREE_TYPES, PAIR, TALLY } from './policies.ts';
import { entityOf, type Request, Requests } from './requests.ts';
import type { Space } from './space.ts';
import type { Trace } from './trace.ts';
import { Violation } from './violation.ts';
import type { World } from './world.ts';

/** Does what a step says; what takes time goes on by itself. */
export function perform(world: World, { space: index, action }: Step): void {
  const space = named(world.spaces[index]);
  const checks = named(world.checks[index]);
  world.trace.note(`${space.name}: ${JSON.stringify(action)}`);
  world.trace.count(`action: ${action.do}`);
  switch (action.do) {
    case 'write':
    case 'transact':
    case 'open-tally':
    case 'increment':
    case 'read':
      asClient(action, space, world, (request) => ask(request, action, new Requests(space, checks), world.trace));
      break;
    default:
      actOnHost(action, space, checks, world);
  }
}

type ClientAction = Extract<Action, Access>;

async function ask(request: Request, action: ClientAction, requests: Requests, trace: Trace): Promise<void> {
  switch (action.do) {
    case 'read':
      trace.count(`action: ${action.level} read`);
      return await requests.read(request, action);
    case 'write': {
      trace.count(`action: ${action.level} ${action.content.kind}`);
      const write = { ...entityOf(request.access), ...action.content, ...action.options };
      if (action.level === 'strong') await requests.writeStrong(request, write);
      else await requests.write(request, write);
      return;
    }
    case 'transact':
      trace.count(`action: ${action.level} transaction`);
      return await requests.transact(request, action);
    case 'open-tally':
      return await requests.openTally(request);
    case 'increment':
      trace.count(`action: ${action.level} increment`);
      return await requests.increment(request, action.level);
    default:
      return action satisfies never;
  }
}

/** A client does one thing at a time; one that is not answered for long gives up. */
function asClient(access: Access, space: Space, world: World, body: (request: Request) => Promise<void>): void {
  const client = named(space.clients[access.client]);
  const node = named(space.nodes[access.node]);
  const { process } = node;
  if (client.isBusy || process === undefined) {
    world.trace.count('outcome: skipped');
    return;
  }
  const turn = client.begin();
  world.scheduler.after(PATIENCE_MS, () => client.finish(turn));
  const { generation } = space.history;
  void body({ turn, node, process, access: accessAfter(access, generation), generation })
    .catch((error: unknown) => noteFailure(error, client, process, world.trace))
    .catch(world.fail)
    .finally(() => {
      process.waker.called();
      client.finish(turn);
    });
}

/** Of a history that begins anew other records are counted in: what is given back whole has in it what others added. */
function accessAfter(access: Access, generation: number): Access {
  if (access.entityType !== TALLY || generation === 0) return access;
  return { ...access, entityId: named(toEntityId(`${access.entityId}.${generation}`)) };
}

/** What a client may be told; anything else is a failure of the run. */
function noteFailure(error: unknown, client: Client, { life }: NodeProcess, trace: Trace): void {
  if (error instanceof Violation) throw error;
  if (life.isOver) return;
  if (!(error instanceof SyncError)) throw broken(client.name, error);
  trace.note(`${client.name} is told ${error.code}`);
  trace.count(`outcome: ${error.code}`);
  const sawLost = error.code === 'causality_timeout' && [...client.past.ops].some(({ isLost }) => isLost);
  if (sawLost) client.beginAnew();
}

function actOnHost(action: Exclude<Action, ClientAction>, space: Space, checks: Checks, world: World): void {
  const node = named(space.nodes['node' in action ? action.node : 0]);
  switch (action.do) {
    case 'sync':
      void node.process?.link.sync().catch(world.fail);
      break;
    case 'retry-dead':
    case 'discard-dead':
      handleDead(action, node, world);
      break;
    case 'lose-cloud':
      loseCloud(space, checks, world);
      break;
    case 'long-pause':
      break;
    case 'decide':
      decideConflict(action, space);
      break;
    case 'report':
      node.report = action.report;
      node.setOnline(action.online);
      break;
    case 'crash-node':
      crash(node.process?.life, action.crash);
      break;
    case 'crash-cloud':
      crash(space.cloud.life, action.crash);
      break;
    case 'empty-node':
      emptyNode(node, checks, world);
      break;
    case 'partition':
      partition(node, action, action.ms, world);
      break;
    case 'flap':
      flap(node, action, world);
      break;
    case 'clock-node':
      world.trace.count(`fault: node clock jumps ${action.ms < 0 ? 'back' : 'ahead'}`);
      node.clock.jump(action.ms);
      break;
    case 'clock-cloud':
      world.trace.count(`fault: cloud clock jumps ${action.ms < 0 ? 'back' : 'ahead'}`);
      space.cloud.clock.jump(action.ms);
      break;
    default:
      action satisfies never;
  }
}

/** Somebody looks after what a node could not get rid of. */
function handleDead(
  action: Extract<Action, { do: 'retry-dead' | 'discard-dead' }>,
  { process, nodeId }: NodeHost,
  world: World,
): void {
  const dead = process?.replica.listQueue('dead', 0, MANY).items ?? [];
  const letter = dead[Math.floor(action.pick * dead.length)];
  if (process === undefined || letter === undefined) return;
  const { id } = letter.change;
  try {
    // An increment that is edited would not be one any more, nor would half a pair.
    const isEditable = letter.change.entityType !== TALLY && letter.change.entityType !== PAIR;
    const data = action.do === 'retry-dead' && isEditable ? action.data : undefined;
    if (action.do === 'discard-dead') process.replica.discardDead(id);
    else process.replica.retryDead(id, data);
    process.waker.called();
    world.trace.note(`${nodeId}: ${id} ${action.do}`);
  } catch (error) {
    if (!process.life.isOver) throw broken(nodeId, error);
  }
}

/** Somebody goes through the inbox: what is open, or now and then what was decided before. */
function decideConflict({ pick, winner }: Extract<Action, { do: 'decide' }>, { cloud, name, trace }: Space): void {
  // Who decides on a tally may undo increments, and nobody could tell what the sum should be.
  const all = cloud.disk.listConflicts({ status: 'all', entityTypes: FREE_TYPES, after: '', limit: MANY });
  const open = all.filter(({ status }) => status === 'open');
  const choice = open.length > 0 && pick < 0.8 ? open : all;
  const conflict = choice[Math.floor(pick * choice.length)];
  if (conflict === undefined) return;
  try {
    cloud.decide(conflict.id, { winner }, `somebody of ${name}`);
    trace.note(`${name} cloud: ${conflict.id} is decided: ${winner}`);
    trace.count(`outcome: ${conflict.status} conflict decided`);
  } catch (error) {
    if (!(error instanceof SyncError)) throw broken('the inbox', error);
    trace.count(`outcome: decision ${error.code}`);
  }
}

const MANY = 10_000;
/** Longer than any honest wait, so that only who will never be answered gives up. */
const PATIENCE_MS = 60_000;
