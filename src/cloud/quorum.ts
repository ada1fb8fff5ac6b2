import type { NodeId } from '../core/ids.ts';
import type { Clock } from '../sync/ports.ts';
import { within } from '../sync/within.ts';

/**
 * Asks as many nodes as have to answer, and for each that fails, answers nothing or is slow another one.
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
  const rest = [...nodes];
  let isOver = wanted <= 0;
  const enough = Promise.withResolvers<void>();
  const askNext = async (): Promise<void> => {
    const node = isOver ? undefined : rest.shift();
    if (node === undefined) return;
    const asked = ask(node).catch(() => null);
    const quick = await within(clock, SLOW_MS, asked);
    const another = quick === undefined || quick === null ? askNext() : undefined;
    const answer = await asked;
    if (answer !== null) answers.push(answer);
    if (answers.length >= wanted) enough.resolve();
    await another;
  };
  const all = Promise.all(Array.from({ length: wanted }, askNext));
  await within(clock, waitMs, Promise.race([enough.promise, all]));
  isOver = true;
  return answers.slice(0, wanted);
}

/** A node that is awake answers sooner, also from another continent, unless it has to pull. */
const SLOW_MS = 500;
