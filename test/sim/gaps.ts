import type { Trace } from './trace.ts';
import { type Rule, Violation } from './violation.ts';

/**
 * What the engine is known not to hold yet. A run counts these and goes on; take a line out when its gap is closed, and
 * from then on it fails.
 */
const KNOWN_GAPS = {
  /** A strong write goes before what waits at its node for other entities, though its writer had seen that. */
  'overtaken cause': true,
  /** A node that lost its disk speaks of changes of its former life as seen, and gives their counters out again. */
  'former life': true,
  /** A strong write passes for seen, by what its node writes and says before it has the outcome. */
  'strong under way': true,
  /** A strong write is acknowledged though its node did not reach the head, and so doesn't show it, nor its token. */
  'strong before the head': true,
} as const;

export function report(gap: keyof typeof KNOWN_GAPS, trace: Trace, rule: Rule, detail: string): void {
  if (!(gap in KNOWN_GAPS)) throw new Violation(rule, detail);
  trace.note(`known gap, ${gap}: ${detail}`);
  trace.count(`gap: ${gap}`);
}
