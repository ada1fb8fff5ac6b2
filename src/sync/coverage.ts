import { type NodeId, toNodeId } from '../core/ids.ts';
import type { VectorClock } from '../core/vector-clock.ts';
import type { Clock, NodeRecord } from './ports.ts';

/** Whether a history that goes to `head`, and has this of its nodes, has all that a clock names. */
export function hasAll(clock: VectorClock, head: number, nodeOf: (nodeId: NodeId) => NodeRecord | undefined): boolean {
  return Object.entries(clock).every(([name, counter]) => {
    const nodeId = toNodeId(name);
    return counter <= (nodeId === undefined ? head : (nodeOf(nodeId)?.received.upTo ?? 0));
  });
}

/** Waits until something is so that nobody tells of, at most `waitMs`; answers whether it is. */
export async function untilTrue(isTrue: () => boolean, clock: Clock, waitMs: number): Promise<boolean> {
  const deadlineMs = clock.nowMs() + waitMs;
  for (let pauseMs = FIRST_PAUSE_MS; !isTrue(); pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
    const leftMs = deadlineMs - clock.nowMs();
    // By a clock that was put back the wait would not end.
    if (leftMs <= 0 || leftMs > waitMs) return false;
    await clock.sleep(Math.min(pauseMs, leftMs));
  }
  return true;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 1_000;
