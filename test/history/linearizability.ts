import { type Anomaly, byKey, type Operation } from './operation.ts';

export interface Linearizability {
  readonly anomalies: readonly Anomaly[];
  /** Keys whose search was given up. */
  readonly skipped: readonly string[];
}

/**
 * Whether the strong operations of each key can have happened one after the other, each between its beginning and its end,
 * so that each read shows the last write. Of other levels, and of strong writes without an answer, nobody knows: each may
 * have happened at any time after it began, or not at all. Values may be written more than once here, and null too.
 *
 * The search of Wing & Gong ("Testing and verifying concurrent objects", 1993), with the memory of Lowe ("Testing for
 * linearizability", 2017). Exponential in how many overlap.
 *
 * @param maxSteps of the search of one key, before it is given up.
 */
export function checkLinearizability(history: readonly Operation[], maxSteps: number): Linearizability {
  const anomalies: Anomaly[] = [];
  const skipped: string[] = [];
  for (const [key, operations] of byKey(history)) {
    const verdict = search(intervalsOf(operations), maxSteps);
    if (verdict === 'given up') skipped.push(key);
    else if (verdict !== 'linearizable') anomalies.push({ rule: 'linearizability', operations: verdict });
  }
  return { anomalies, skipped };
}

interface Interval {
  readonly operation: Operation;
  readonly bit: bigint;
  readonly startMs: number;
  readonly endMs: number;
  /** Whether it happened for sure. */
  readonly isSure: boolean;
}

function intervalsOf(operations: readonly Operation[]): Interval[] {
  const isStrong = ({ level, outcome }: Operation) => level === 'strong' && outcome === 'ok';
  const shown = new Set(operations.filter((each) => each.op === 'read' && isStrong(each)).map(({ value }) => value));
  const counted = operations.filter((operation) => {
    if (isStrong(operation)) return true;
    // What nobody has seen need not have happened.
    return operation.op === 'write' && operation.outcome !== 'fail' && shown.has(operation.value);
  });
  return counted.map((operation, index) => {
    const isSure = isStrong(operation);
    const endMs = isSure ? operation.endMs : Number.POSITIVE_INFINITY;
    return { operation, bit: 1n << BigInt(index), startMs: operation.startMs, endMs, isSure };
  });
}

/** What has happened so far, and what is there then. */
interface State {
  readonly done: bigint;
  readonly value: string | null;
}

/** @returns if there is no order: where the search got furthest, what was there, and what would have had to come next. */
function search(all: readonly Interval[], maxSteps: number): 'linearizable' | 'given up' | readonly Operation[] {
  const known = new Set<string>();
  const initial: State = { done: 0n, value: null };
  const states: State[] = [initial];
  let furthest = { left: all.length + 1, possible: all, value: initial.value };
  for (let steps = 0; ; steps += 1) {
    const state = states.pop();
    if (state === undefined) {
      const there = all.filter(({ operation }) => operation.op === 'write' && operation.value === furthest.value);
      return [...there, ...furthest.possible].map(({ operation }) => operation);
    }
    if (steps === maxSteps) return 'given up';
    const rest = all.filter(({ bit }) => (state.done & bit) === 0n);
    if (!rest.some(({ isSure }) => isSure)) return 'linearizable';
    const firstEndMs = Math.min(...rest.map(({ endMs }) => endMs));
    const possible = rest.filter(({ startMs }) => startMs <= firstEndMs);
    if (rest.length < furthest.left) furthest = { left: rest.length, possible, value: state.value };
    for (const next of stepsFrom(state, possible)) {
      const name = `${next.done} ${next.value}`;
      if (!known.has(name)) states.push(next);
      known.add(name);
    }
  }
}

function stepsFrom({ done, value }: State, possible: readonly Interval[]): State[] {
  // A read changes nothing: one that may happen now may as well happen first.
  const read = possible.find(({ operation }) => operation.op === 'read' && operation.value === value);
  if (read !== undefined) return [{ done: done | read.bit, value }];
  return possible
    .filter(({ operation }) => operation.op === 'write')
    .map(({ operation, bit }) => ({ done: done | bit, value: operation.value }));
}
