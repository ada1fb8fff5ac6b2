import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeStatus, SyncSummary } from './answers.ts';
import type { ApiClient } from './api-client.ts';
import type { Narrator, Progress } from './narrator.ts';

const DEADLINE_MS = 180_000;
const POLL_MS = 250;

/**
 * Syncs every node until no queue holds anything and all nodes stand at the same place of the cloud's history, which
 * is its head then. `waiting` is how many changes were in the queues before. Throws where it takes too long.
 */
export async function settle(
  api: ApiClient,
  narrator: Narrator,
  nodes: readonly string[],
  waiting: number,
): Promise<void> {
  await narrator.progress('Changes that waited, now in the cloud', waiting, async (progress) => {
    const ended = new AbortController();
    const watching = watchQueues(api, nodes, waiting, progress, ended.signal);
    try {
      await syncUntilSettled(api, nodes);
    } finally {
      ended.abort();
      await watching;
    }
    progress.reach(waiting);
  });
}

/** Waits until D1 holds all that the cloud had when this was called. */
export async function waitForD1(api: ApiClient, entityType: string): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const lagMs = await api.lagOfD1(entityType);
    if (lagMs === 0) return;
    if (Date.now() > deadline) throw new Error(`D1 is still ${lagMs} ms behind the cloud`);
    await sleep(POLL_MS);
  }
}

/** Changes of all nodes that the cloud has not acknowledged yet. */
export async function countQueued(api: ApiClient, nodes: readonly string[]): Promise<number> {
  const states = await Promise.all(nodes.map((node) => api.status(node)));
  return states.reduce((sum, { queue }) => sum + queue.total, 0);
}

async function syncUntilSettled(api: ApiClient, nodes: readonly string[]): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  for (;;) {
    const summaries: SyncSummary[] = [];
    for (const node of nodes) summaries.push(await api.sync(node));
    const states = await Promise.all(nodes.map((node) => api.status(node)));
    const isAtHead = states.every(({ queue, cursor }) => queue.total === 0 && cursor === states[0]?.cursor);
    if (isAtHead && summaries.every(({ success }) => success)) return;
    if (Date.now() > deadline)
      throw new Error(`The nodes did not come together:\n${describe(nodes, states, summaries)}`);
    await sleep(POLL_MS);
  }
}

async function watchQueues(
  api: ApiClient,
  nodes: readonly string[],
  waiting: number,
  progress: Progress,
  ended: AbortSignal,
): Promise<void> {
  while (!ended.aborted) {
    // A look that fails is no failure of what is looked at; the syncs themselves will say so.
    const left = await countQueued(api, nodes).catch(() => waiting);
    progress.reach(Math.max(0, waiting - left));
    await sleep(POLL_MS, undefined, { signal: ended }).catch(() => {});
  }
}

function describe(nodes: readonly string[], states: readonly NodeStatus[], summaries: readonly SyncSummary[]): string {
  return nodes
    .map((node, index) => `${node}: ${JSON.stringify({ ...states[index], lastSync: summaries[index] })}`)
    .join('\n');
}
