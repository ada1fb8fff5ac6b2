import { type NodeId, toNodeId } from '../core/ids.ts';
import { entry, type VectorClock } from '../core/vector-clock.ts';
import type { Clock, NodeRecord } from './ports.ts';

/** What a history that goes to `head`, and has this of its nodes, lacks of what a clock names: how far it goes there. */
export function lacking(
  clock: VectorClock,
  head: number,
  nodeOf: (nodeId: NodeId) => NodeRecord | undefined,
): VectorClock {
  const there = Object.entries(clock).map(([name, counter]) => {
    const nodeId = toNodeId(name);
    return { name, counter, upTo: nodeId === undefined ? head : (nodeOf(nodeId)?.received.upTo ?? 0) };
  });
  return Object.fromEntries(there.flatMap(({ name, counter, upTo }) => (counter > upTo ? [[name, upTo]] : [])));
}

/** What of a clock is there, where that is known of what is lacking. */
export function withoutLacking(clock: VectorClock, lacks: VectorClock): VectorClock {
  return Object.fromEntries(
    Object.entries(clock).filter(([name, counter]) => !Object.hasOwn(lacks, name) || counter <= entry(lacks, name)),
  );
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
