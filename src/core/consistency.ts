import type { CausalContext } from './causal-context.ts';

/** What a read or write may be served from; from the strictest to the loosest promise. `design.md`, section 8. */
export const CONSISTENCY_LEVELS = ['strong', 'causal', 'session', 'eventual'] as const;
export type ConsistencyLevel = (typeof CONSISTENCY_LEVELS)[number];

export function toConsistencyLevel(text: string): ConsistencyLevel | undefined {
  return CONSISTENCY_LEVELS.find((level) => level === text);
}

/** What one request asks for, with everything that its headers and its type's policy leave open filled in. */
export interface ReadDemand {
  readonly level: ConsistencyLevel;
  /** Only for `eventual`; undefined: any age will do. */
  readonly maxStalenessMs?: number | undefined;
  /** What the caller has seen and must not see undone. */
  readonly after: CausalContext;
  /** How long the caller waits for a level that can't be served at once. */
  readonly waitMs: number;
}
