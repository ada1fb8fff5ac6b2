import type { Action, Crash } from './actions.ts';
import type { Checks } from './checkers/checks.ts';
import type { Life } from './life.ts';
import { lineOf } from './network.ts';
import type { NodeHost } from './node-host.ts';
import type { Space } from './space.ts';
import type { World } from './world.ts';

/** What a script does to machines and lines, rather than by them. */

export function crash(life: Life | undefined, how: Crash): void {
  if (how.point === 'now') life?.end();
  else life?.endIn(how.transactions, how.point);
}

/** The node's disk is gone; it starts again under its old name. */
export function emptyNode(node: NodeHost, checks: Checks, { trace }: World): void {
  trace.count('fault: node empties');
  node.process?.life.end();
  node.loseDisk();
  checks.ledger.lostDisk(node);
}

/** The cloud's disk is gone, and with it its history; it begins another one, with nothing. */
export function loseCloud({ cloud, clients, d1 }: Space, checks: Checks, { trace }: World): void {
  trace.count('fault: cloud is lost');
  cloud.loseDisk();
  d1.loseCloud();
  checks.lostCloud();
  // Their tokens are of a history that is no more.
  for (const client of clients) client.beginAnew();
}

export function partition(
  node: NodeHost,
  cut: { readonly up: boolean; readonly down: boolean },
  ms: number,
  world: World,
): void {
  const line = lineOf({ space: node.space, sender: node.nodeId });
  world.trace.count(`fault: partition${cut.up ? ' up' : ''}${cut.down ? ' down' : ''}`);
  world.network.cut(line, cut);
  world.scheduler.after(ms, () => world.network.cut(line, { up: false, down: false }));
}

export function flap(node: NodeHost, { times, ms }: Extract<Action, { do: 'flap' }>, world: World): void {
  world.trace.count('fault: flapping');
  for (let time = 0; time < times; time += 1) {
    world.scheduler.after(2 * time * ms, () => partition(node, { up: true, down: true }, ms, world));
  }
}
