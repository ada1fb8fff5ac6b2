import type { ConsistencyLevel } from '../../src/core/consistency.ts';

/** One request of a client, as the client saw it. A client does one thing at a time; its operations stand in their order. */
export interface Operation {
  readonly client: string;
  readonly node: string;
  readonly op: 'read' | 'write';
  /** A register: a record, or a field of one that is written field by field. */
  readonly key: string;
  /** What was written or read; null: nothing is there. No two writes write the same, and none writes null. */
  readonly value: string | null;
  readonly level: ConsistencyLevel;
  readonly startMs: number;
  readonly endMs: number;
  /** `fail`: it did not happen, and never will; `unknown`: nobody was told. */
  readonly outcome: 'ok' | 'fail' | 'unknown';
  /** Of a write: it may arrive before what its writer had seen, so others may see it without that. */
  readonly isAhead?: boolean;
  /** Of a read at a node that can reach the cloud: how old its state may be. */
  readonly maxStalenessMs?: number;
}

/** What a history shows and no promise allows. */
export interface Anomaly {
  readonly rule: AnomalyRule;
  readonly operations: readonly Operation[];
}

export type AnomalyRule =
  | 'read your writes'
  | 'monotonic reads'
  | 'monotonic writes'
  | 'writes follow reads'
  | 'causality'
  | 'written by nobody'
  | 'staleness'
  | 'linearizability';

/** Whether a value of a key is known to have given way to another one. Null, which is older than all, is never asked for. */
export type IsOlder = (key: string, value: string, than: string) => boolean;

/** The operations by their keys, in their order. */
export function byKey(history: readonly Operation[]): Map<string, Operation[]> {
  return Map.groupBy(history, ({ key }) => key);
}

/** For people: what happened, each operation in a line. */
export function textOf({ rule, operations }: Anomaly): string {
  const lines = operations.map(
    ({ client, node, op, key, value, level, startMs, endMs, outcome }) =>
      `${client} at ${node}: ${level} ${op} ${key} = ${value} (${outcome}, ${startMs.toFixed(1)} to ${endMs.toFixed(1)})`,
  );
  return [rule, ...lines].join('\n  ');
}
