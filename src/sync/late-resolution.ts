import type { AwaitedResolution } from './commit.ts';
import { resolveLate } from './inbox.ts';
import type { Clock } from './ports.ts';
import { answerOf } from './resolver-answer.ts';
import type { Sequencer } from './sequencer.ts';

/**
 * Waits for a resolver that didn't answer at once, at most `LIMITS.resolverMs`, and has its answer take effect. Without
 * one the conflict stays open, for people, with the reason. Throws only what the store throws.
 */
export async function awaitResolution(
  sequencer: Sequencer,
  { conflictId, answer }: AwaitedResolution,
  clock: Clock,
): Promise<void> {
  const said = await answerOf(clock, answer);
  sequencer.commit((commit) => resolveLate(commit, conflictId, said));
}
