import type { NodeReport } from '../protocol/messages.ts';
import type { Backlog } from './offline-queue.ts';
import type { Plan } from './plan.ts';
import type { MessageBytes } from './ports.ts';

/** What a node says of itself with a batch; undefined: nothing waits, or is wrong, or is unusual. Few bytes. Pure. */
export function reportOf(
  { byPriority, oldestMs, ...counts }: Backlog & { readonly dead: number; readonly digestMismatches: number },
  strategy: Plan['strategy'],
  { bytesUp, bytesDown, plainBytesUp, plainBytesDown }: MessageBytes,
): NodeReport | undefined {
  const queue = withoutZeros(byPriority);
  const report: NodeReport = {
    ...(Object.keys(queue).length === 0 ? {} : { queue, oldestMs: Math.max(0, Math.floor(oldestMs)) }),
    ...withoutZeros(counts),
    ...(strategy === 'full' ? {} : { plan: strategy }),
    ...(plainBytesUp + plainBytesDown === 0 ? {} : { bytes: [bytesUp, bytesDown, plainBytesUp, plainBytesDown] }),
  };
  return Object.keys(report).length === 0 ? undefined : report;
}

function withoutZeros<Name extends string>(counts: Readonly<Record<Name, number>>): Partial<Record<Name, number>> {
  const left: Partial<Record<Name, number>> = {};
  for (const name in counts) if (counts[name] > 0) left[name] = counts[name];
  return left;
}
