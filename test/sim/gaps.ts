import type { Trace } from './trace.ts';
import { type Rule, Violation } from './violation.ts';

/**
 * What the engine is known not to hold yet. Take a line out when its gap is closed; from then on it fails a run.
 */
const KNOWN_GAPS = {
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
