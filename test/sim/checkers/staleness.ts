import type { Served } from '../../../src/sync/access.ts';
import type { NodeHost } from '../node-host.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';

/**
 * S45: what is served is no older than the answer says. By the node's own clock, since it has no other: of one that jumped, or
 * that goes by a cloud's that did, nothing is said.
 */
export function checkStaleness({ stalenessMs }: Served, node: NodeHost, { history, cloud, trace }: Space): void {
  if (stalenessMs === null || node.clock.hasJumped || cloud.clock.hasJumped) return;
  const cursor = node.process?.replica.meta.cursor ?? 0;
  const due = history.headBefore(trace.nowMs() - stalenessMs);
  trace.count('history: staleness that was told');
  require(cursor >= due, 'S45', () =>
    `${node.nodeId} shows ${cursor}, and told ${stalenessMs} ms, when ${due} was there`);
}
