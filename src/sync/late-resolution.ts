import { LIMITS } from '../protocol/limits.ts';
import type { AwaitedResolution } from './commit.ts';
import { resolveLate } from './inbox.ts';
import type { Clock } from './ports.ts';
import type { Sequencer } from './sequencer.ts';
import { within } from './within.ts';

/**
 * Waits for a resolver that didn't answer at once, at most `LIMITS.resolverMs`, and has its answer take effect. Without
 * one the conflict stays open, for people. Never throws.
 */
export async function awaitResolution(
  sequencer: Sequencer,
  { conflictId, answer }: AwaitedResolution,
  clock: Clock,
): Promise<void> {
  const failed = () => undefined;
  const output = await within(
    clock,
    LIMITS.resolverMs,
    answer.then((value) => value, failed),
  );
  sequencer.commit((commit) => resolveLate(commit, conflictId, output));
}
