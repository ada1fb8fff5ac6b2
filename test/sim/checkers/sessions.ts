import type { Client } from '../client.ts';
import type { NodeHost } from '../node-host.ts';
import { isIncluded } from '../op.ts';
import { require } from '../violation.ts';

/**
 * I6 and I5: what a client is shown at the levels `causal` and `session` has in it all that the client wrote or saw
 * before, at whatever node, and all that the writers of that had seen.
 */
export function checkSession(client: Client, node: NodeHost): void {
  const { past } = client;
  const cursor = node.process?.replica.meta.cursor ?? 0;
  require(cursor >= past.cloud, 'I6', () => `${client.name} saw ${past.cloud}, and ${node.nodeId} shows ${cursor}`);
  for (const op of past.ops) {
    if (isIncluded(op, node)) continue;
    const isOwn = client.isOwn(op);
    require(false, isOwn ? 'I6' : 'I5', () => `${client.name} ${isOwn ? 'wrote' : 'saw'} ${op.dot}; ${node.nodeId} shows a state without it`);
  }
}
