import type { Operation } from './operation.ts';

/** An operation, and what else is to be said of it. */
export type Line = string | readonly [line: string, told: Partial<Operation>];

/** Operations one after the other, each a second long: `ann w x 1`, `bob r x -` (nothing there). Causal, and answered. */
export function story(...lines: readonly Line[]): Operation[] {
  return lines.map((told, index): Operation => {
    const [line, more] = typeof told === 'string' ? [told, {}] : told;
    const [client = '', op, key = '', value = '-'] = line.split(' ');
    return {
      client,
      node: 'n1',
      op: op === 'w' ? 'write' : 'read',
      key,
      value: value === '-' ? null : value,
      level: 'causal',
      startMs: index * 2_000,
      endMs: index * 2_000 + 1_000,
      outcome: 'ok',
      ...more,
    };
  });
}
