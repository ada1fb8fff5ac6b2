/** What a caller, or a measurement, says of the link. */
export interface NetworkReport {
  readonly effectiveType?: '4g' | '3g' | '2g' | 'slow-2g' | undefined;
  readonly saveData?: boolean | undefined;
  readonly rttMs?: number | undefined;
}

/** How much to send at a time. */
export interface Plan {
  readonly strategy: 'full' | 'priority' | 'critical';
  readonly batchSize: number;
  readonly compression: boolean;
  readonly reason: string;
}

/**
 * The plan for a link: smaller batches on a slower one, so that less is sent again when it breaks. Everything is sent
 * on every link. `design.md`, section 7.
 */
export function planFor(network: NetworkReport): Plan {
  const all = { strategy: 'full', compression: true } as const;
  if (network.saveData) return { ...all, batchSize: 10, reason: 'the caller saves data' };
  switch (network.effectiveType) {
    case 'slow-2g':
    case '2g':
      return { ...all, batchSize: 10, reason: `the link is ${network.effectiveType}` };
    case '3g':
      return { ...all, batchSize: 50, reason: 'the link is 3g' };
    case '4g':
      return { ...all, batchSize: 100, reason: 'the link is 4g' };
    case undefined:
      return { ...all, batchSize: 100, reason: 'nothing is known of the link' };
  }
}
