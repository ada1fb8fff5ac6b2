import { messageOf } from '../core/message-of.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { Clock } from './ports.ts';
import { within } from './within.ts';

/** What a resolver said, to be checked, or why it said nothing. */
export type ResolverAnswer =
  | { readonly output: unknown; readonly failure?: undefined }
  | { readonly failure: string; readonly output?: undefined };

/** Waits for a resolver, at most `LIMITS.resolverMs`. Never throws. */
export async function answerOf(clock: Clock, answer: PromiseLike<unknown>): Promise<ResolverAnswer> {
  const told = (async (): Promise<ResolverAnswer> => {
    try {
      return { output: await answer };
    } catch (error) {
      return { failure: `the resolver failed: ${messageOf(error)}` };
    }
  })();
  const tooLate = { failure: `the resolver took longer than ${LIMITS.resolverMs / 1_000} s` };
  return (await within(clock, LIMITS.resolverMs, told)) ?? tooLate;
}
