import { byKey, type IsOlder, type Operation } from './operation.ts';

/** Nothing is known but what the operations themselves tell. */
export const UNKNOWN_ORDER: IsOlder = () => false;

/** By the cloud's order: the values of each key, each after those that gave way to it. */
export function byPlace(orders: Readonly<Record<string, readonly string[]>>): IsOlder {
  return (key, value, than) => {
    const order = orders[key] ?? [];
    const place = order.indexOf(value);
    return place >= 0 && place < order.indexOf(than);
  };
}

/** By conflicts that were decided: each of two values, the loser first. */
export function byDecision(decisions: Iterable<readonly [key: string, loser: string, winner: string]>): IsOlder {
  const known = new Set([...decisions].map((decision) => JSON.stringify(decision)));
  return (...asked) => known.has(JSON.stringify(asked));
}

/** By time: of two strong writes one that began when the other had been answered. */
export function byTime(history: readonly Operation[]): IsOlder {
  const strong = history.filter(({ op, level, outcome }) => op === 'write' && level === 'strong' && outcome === 'ok');
  const writes = new Map([...byKey(strong)].map(([key, ops]) => [key, new Map(ops.map((op) => [op.value, op]))]));
  return (key, value, than) => {
    const [earlier, later] = [writes.get(key)?.get(value), writes.get(key)?.get(than)];
    return earlier !== undefined && later !== undefined && earlier.endMs < later.startMs;
  };
}

/** What any of them knows. */
export function anyOf(...orders: readonly IsOlder[]): IsOlder {
  return (...asked) => orders.some((isOlder) => isOlder(...asked));
}
