import type { Trace } from './trace.ts';
import { type Rule, Violation } from './violation.ts';

/**
 * What the engine is known not to hold yet. Take a line out when its gap is closed; from then on it fails a run.
 */
const KNOWN_GAPS = {
  'overtaken cause':
    'A strong write goes before what waits at its node for other entities, though its writer had seen that.',
  'overtaken resend':
    'A change that has to be sent once more is overtaken by what its node wrote later, though that had seen it.',
  'former life':
    'A node that lost its disk passes for having seen what it wrote before, and gives the counters of that out again.',
  'repeated value':
    'A whole record that repeats a value leaves no mark of that: a write that is earlier, and comes later, wins over it.',
  'strong before the head':
    'A strong write is acknowledged though its node did not reach the head: neither it nor its token shows the write.',
  'overtaken in an earlier place':
    'A change that another went into keeps its place, before what was written to other entities in between.',
  'lost history':
    'A token, or the base of a strong write, that is of the history of a lost cloud passes for one of the next.',
} as const;

/** Counts the known gaps that a run falls into, and lets it go on; a strict run fails by them. */
export class Gaps {
  readonly #trace: Trace;
  readonly #isStrict: boolean;

  constructor(trace: Trace, isStrict: boolean) {
    this.#trace = trace;
    this.#isStrict = isStrict;
  }

  /** @throws Violation in a strict run. */
  report(gap: keyof typeof KNOWN_GAPS, rule: Rule, detail: string): void {
    if (this.#isStrict) throw new Violation(rule, `${detail} (known gap: ${gap})`);
    this.#trace.note(`known gap, ${gap}: ${detail}`);
    this.#trace.count(`gap: ${gap}`);
  }
}
