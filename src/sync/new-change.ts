import type { CausalContext } from '../core/causal-context.ts';
import type { Change, ChangeContent } from '../core/change.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Frontier } from './frontier.ts';
import type { ReplicaState } from './replica-state.ts';
import type { Write } from './write.ts';

/** When a change is made, and by whom. */
export interface Making {
  readonly counter: number;
  /** What the writer has seen beside what the replica shows. */
  readonly after: CausalContext;
  readonly nowMs: number;
}

/** The change that a write of this node becomes. Nothing is spent before it is durable. */
export function newChange(
  state: ReplicaState,
  frontier: Frontier,
  write: Write,
  content: ChangeContent,
  { counter, after, nowMs }: Making,
): Change {
  // The writer has seen what was written by another clock. One that is far ahead is put right by the cloud.
  const seenAtMs = Math.min(after.atMs ?? 0, nowMs + LIMITS.maxClockDriftMs - 1);
  const { ownFrom } = state.meta;
  return {
    id: state.dot(counter),
    entityType: write.entityType,
    entityId: write.entityId,
    ...content,
    base: frontier.baseOf(counter, after),
    ...(ownFrom === undefined ? {} : { ownFrom }),
    stamp: state.stampAt(Math.max(nowMs, seenAtMs + 1)),
    timestamp: nowMs,
    nodeId: state.nodeId,
    priority: write.priority ?? state.policyOf(write).priority,
  };
}
