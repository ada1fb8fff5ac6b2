import type { Turn } from '../client.ts';
import type { NodeHost } from '../node-host.ts';
import { isIncluded } from '../op.ts';
import type { Trace } from '../trace.ts';
import { require, Violation } from '../violation.ts';
import { isNamedInVain } from './sight.ts';

/**
 * I6 and I5: what a client is shown at the levels `causal` and `session` has in it all that the client wrote or saw
 * before, at whatever node, and all that the writers of that had seen.
 */
export function checkSession(turn: Turn, node: NodeHost, trace: Trace): void {
  const { client, past } = turn;
  const cursor = node.process?.replica.meta.cursor ?? 0;
  require(cursor >= past.cloud, 'I6', () => `${client.name} saw ${past.cloud}, and ${node.nodeId} shows ${cursor}`);
  for (const op of past.ops) {
    if (isIncluded(op, node)) continue;
    const isOwn = op.writer === client.name;
    const detail = `${client.name} ${isOwn ? 'wrote' : 'saw'} ${op.dot}; ${node.nodeId} shows a state without it`;
    const rule = isOwn ? 'I6' : 'I5';
    // Nobody can tell counters of a node that lost its disk from those of its former life.
    if (!isNamedInVain(op)) throw new Violation(rule, detail);
    trace.count('excused: took a write for another of its node');
    turn.forget(op);
  }
}
