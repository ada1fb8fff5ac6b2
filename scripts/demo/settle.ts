import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeStatus, SyncSummary } from './answers.ts';
import type { ApiClient } from './api-client.ts';
import { meanwhile } from './meanwhile.ts';
import type { Narrator } from './narrator.ts';

const DEADLINE_MS = 180_000;
const POLL_MS = 250;

/** What is settled, of the API. */
type Nodes = Pick<ApiClient, 'sync' | 'status'>;

/**
 * Syncs every node until no queue holds anything and every node has what was in them. `waiting` is how many changes
 * were in the queues before. Throws where it takes too long.
 */
export async function settle(
  api: Nodes,
  narrator: Pick<Narrator, 'progress'>,
  nodes: readonly string[],
  waiting: number,
): Promise<void> {
  await narrator.progress('Changes that waited, now in the cloud', waiting, async (progress) => {
    const look = async () => progress.reach(Math.max(0, waiting - (await countQueued(api, nodes))));
    await meanwhile(POLL_MS, look, () => syncUntilSettled(api, nodes));
    progress.reach(waiting);
  });
}

/** Waits until D1 holds all that the cloud had when this was called; others may go on writing meanwhile. */
export async function waitForD1(api: Pick<ApiClient, 'lagOfD1'>, entityType: string): Promise<void> {
  const startedAtMs = performance.now();
  for (;;) {
    const waitedMs = performance.now() - startedAtMs;
    const lagMs = await api.lagOfD1(entityType);
    if (lagMs <= waitedMs) return;
    if (waitedMs > DEADLINE_MS) throw new Error(`D1 is still ${lagMs} ms behind the cloud`);
    await sleep(POLL_MS);
  }
}

/** Changes of all nodes that the cloud has not acknowledged yet. */
export async function countQueued(api: Nodes, nodes: readonly string[]): Promise<number> {
  const states = await Promise.all(nodes.map((node) => api.status(node)));
  return states.reduce((sum, { queue }) => sum + queue.total, 0);
}

async function syncUntilSettled(api: Nodes, nodes: readonly string[]): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  /** A place of the history behind all that was queued. The head won't do: where others write, it moves on. */
  let goal: number | undefined;
  for (;;) {
    const summaries: SyncSummary[] = [];
    for (const node of nodes) summaries.push(await api.sync(node));
    const states = await Promise.all(nodes.map((node) => api.status(node)));
    const cursors = states.map(({ cursor }) => cursor);
    // A change leaves its queue when the node's cursor passes it: the highest one has passed them all.
    if (states.every(({ queue }) => queue.total === 0)) goal ??= Math.max(...cursors);
    if (goal !== undefined && Math.min(...cursors) >= goal && summaries.every(({ success }) => success)) return;
    if (Date.now() > deadline)
      throw new Error(`The nodes did not come together:\n${describe(nodes, states, summaries)}`);
    await sleep(POLL_MS);
  }
}

function describe(nodes: readonly string[], states: readonly NodeStatus[], summaries: readonly SyncSummary[]): string {
  return nodes
    .map((node, index) => `${node}: ${JSON.stringify({ ...states[index], lastSync: summaries[index] })}`)
    .join('\n');
}
