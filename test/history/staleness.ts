import { type Anomaly, byKey, type IsOlder, type Operation } from './operation.ts';

/**
 * Reads with a bound, at nodes that can reach the cloud: none shows what had been replaced in the cloud for longer than
 * that. When a value was there is known by who was told so: its strong writer, or a strong reader.
 *
 * @param toleranceMs how far the clocks of the recorder and of the nodes may be apart, and how coarse they are.
 */
export function checkStaleness(history: readonly Operation[], isOlder: IsOlder, toleranceMs: number): Anomaly[] {
  const known = byKey(history.filter(({ level, outcome }) => level === 'strong' && outcome === 'ok'));
  return history.flatMap((read): Anomaly[] => {
    const { op, key, value, outcome, maxStalenessMs, startMs } = read;
    if (op !== 'read' || outcome !== 'ok' || maxStalenessMs === undefined) return [];
    const asOfMs = startMs - maxStalenessMs - toleranceMs;
    const newer = (known.get(key) ?? []).find((seen) => {
      const isNewer = seen.value !== null && (value === null || isOlder(key, value, seen.value));
      return isNewer && seen.endMs < asOfMs;
    });
    return newer === undefined ? [] : [{ rule: 'staleness', operations: [newer, read] }];
  });
}
