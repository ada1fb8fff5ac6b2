import type { EntityKey } from '../../../src/core/ids.ts';
import { checkLinearizability } from '../../history/linearizability.ts';
import { type Operation, textOf } from '../../history/operation.ts';
import type { Trace } from '../trace.ts';
import { Violation } from '../violation.ts';

/**
 * I7, by what clients were shown and nothing else: the strong operations of one history of a cloud, by the versions that
 * they showed and made. Time stands still in much of a run, so moments are counted.
 */
export class StrongHistory {
  readonly #answered: Operation[] = [];
  #moment = 0;

  get operations(): readonly Operation[] {
    return this.#answered;
  }

  /** The moment at which something begins. */
  begin(): number {
    this.#moment += 1;
    return this.#moment;
  }

  /** @param value the version; null: none there ever was. */
  answered(
    op: Operation['op'],
    who: { client: string; node: string },
    key: EntityKey,
    value: string | null,
    startMs: number,
  ): void {
    this.#answered.push({ ...who, op, key, value, level: 'strong', startMs, endMs: this.begin(), outcome: 'ok' });
  }

  /** At the end, for what it costs. */
  check(trace: Trace): void {
    const { anomalies, skipped } = checkLinearizability(withUnseenWriters(this.#answered), MAX_STEPS);
    const keys = new Set(this.#answered.map(({ key }) => key)).size;
    trace.count('history: strong operations', this.#answered.length);
    trace.count('history: searched for an order', keys - skipped.length);
    trace.count('history: search given up', skipped.length);
    const [anomaly] = anomalies;
    if (anomaly !== undefined) throw new Violation('I7', textOf(anomaly));
  }
}

/** What was shown and nobody strong was told to have written, something wrote at some time: another level, a decision. */
export function withUnseenWriters(operations: readonly Operation[]): readonly Operation[] {
  const nameOf = ({ key, value }: Operation) => `${key} ${value}`;
  const written = new Set(operations.filter(({ op }) => op === 'write').map(nameOf));
  const unseen = new Map(
    operations.flatMap((each) =>
      written.has(nameOf(each)) || each.value === null ? [] : [[nameOf(each), each] as const],
    ),
  );
  const writes = [...unseen.values()].map((read): Operation => ({ ...read, ...SOMEBODY }));
  return [...operations, ...writes];
}

const SOMEBODY = {
  client: '?',
  node: '?',
  op: 'write',
  outcome: 'unknown',
  startMs: 0,
  endMs: Number.POSITIVE_INFINITY,
} as const;
/** A run's keys need some dozens; what needs more than this is given up, and counted. */
const MAX_STEPS = 20_000;
