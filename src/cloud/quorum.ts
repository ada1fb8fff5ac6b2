import type { NodeId } from '../core/ids.ts';
import type { Clock } from '../sync/ports.ts';
import { within } from '../sync/within.ts';

/**
 * Asks nodes, all at a time, until so many have answered; a node that fails, or answers nothing, doesn't count.
 *
 * @returns the answers there are when enough have come, all have answered or failed, or the time is over.
 */
export async function askNodes<T>(
  nodes: readonly NodeId[],
  ask: (node: NodeId) => Promise<T | null>,
  wanted: number,
  waitMs: number,
  clock: Clock,
): Promise<T[]> {
  const answers: T[] = [];
  if (wanted <= 0) return answers;
  const enough = new Promise<void>((resolve) => {
    const asked = nodes.map(async (node) => {
      const answer = await ask(node).catch(() => null);
      if (answer === null) return;
      answers.push(answer);
      if (answers.length >= wanted) resolve();
    });
    void Promise.all(asked).then(() => resolve());
  });
  await within(clock, waitMs, enough);
  return answers.slice(0, wanted);
}
