import type { Priority } from '../../../src/core/change.ts';
import type { ApiClient } from '../api-client.ts';
import { meanwhile } from '../meanwhile.ts';

/** What a node said of its queue. */
export interface QueueSample {
  /** By `performance.now()`, when the answer came. */
  readonly atMs: number;
  readonly waiting: Readonly<Record<Priority, number>>;
}

const EVERY_MS = 50;

/** Asks a node again and again what waits there. */
export async function watchQueue(
  api: Pick<ApiClient, 'status'>,
  node: string,
  body: () => Promise<void>,
): Promise<QueueSample[]> {
  const samples: QueueSample[] = [];
  const look = async () => {
    const { queue } = await api.status(node);
    samples.push({ atMs: performance.now(), waiting: queue.byPriority });
  };
  await meanwhile(EVERY_MS, look, body);
  return samples;
}
