import type { Step } from './actions.ts';
import { FAULTS, withoutFault } from './options.ts';
import { type Outcome, type Plan, run } from './run.ts';
import type { Settings } from './world.ts';

/** A plan that still breaks the same rule, with less in it. */
export interface Shrunk {
  readonly plan: Plan;
  readonly outcome: Outcome;
  readonly tries: number;
}

/**
 * Leaves out what isn't needed for a failure: kinds of faults first, then steps, in ever smaller runs of them (delta
 * debugging, Zeller & Hildebrandt 2002). A step has its own luck, so the others keep theirs. At most `maxTries` runs.
 */
export async function shrink(failing: Plan, settings: Settings = {}, maxTries = 400): Promise<Shrunk> {
  let plan = failing;
  let outcome = await run(plan, settings);
  let tries = 0;
  const { rule } = outcome.failure ?? {};
  if (rule === undefined) return { plan, outcome, tries };

  const accepts = async (candidate: Plan): Promise<boolean> => {
    if (tries === maxTries) return false;
    tries += 1;
    const result = await run(candidate, settings);
    if (result.failure?.rule !== rule) return false;
    plan = candidate;
    outcome = result;
    return true;
  };

  for (const fault of FAULTS) await accepts({ ...plan, options: withoutFault(plan.options, fault) });
  for (let size = Math.ceil(plan.script.length / 2); size >= 1; ) {
    const before = plan.script.length;
    for (let end = before; end > 0; end -= size) {
      await accepts({ ...plan, script: without(plan.script, Math.max(0, end - size), end) });
    }
    // What could not be left out may be, now that others are gone.
    const isDone = size === 1 && plan.script.length === before;
    if (isDone || tries === maxTries) break;
    size = Math.ceil(size / 2);
  }
  return { plan, outcome, tries };
}

function without(script: readonly Step[], from: number, to: number): Step[] {
  return [...script.slice(0, from), ...script.slice(to)];
}
