import type { Outcome, Plan } from './run.ts';
import type { Shrunk } from './shrink.ts';

/** How often what happened in a number of runs. */
export function addCounts(total: Map<string, number>, counts: ReadonlyMap<string, number>): void {
  for (const [what, times] of counts) total.set(what, (total.get(what) ?? 0) + times);
}

export function countLines(counts: ReadonlyMap<string, number>): string[] {
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([what, times]) => `${String(times).padStart(8)}  ${what}`);
}

/** One line: what broke, and how to see it again. */
export function failureLine({ seed, script }: Plan, { failure, failedAt }: Outcome): string {
  const where = failedAt === undefined ? 'after the last step' : `step ${failedAt}`;
  return `seed ${seed} of ${script.length} steps, ${where}: ${failure?.rule} ${failure?.message}`;
}

/** What is left of a failure, how to play that again, and what happens in it. */
export function shrunkLines({ plan, outcome, tries }: Shrunk, steps: number): string[] {
  const kept = plan.script.map(({ id }) => id).join(',');
  const { messageFaults, d1Faults } = plan.options;
  const faults = Object.entries({ ...messageFaults, ...d1Faults });
  const without = faults.flatMap(([fault, probability]) => (probability === 0 ? [fault] : [])).join(',');
  return [
    `shrunk in ${tries} tries to ${plan.script.length} steps: ${outcome.failure?.message}`,
    `npm run sim -- --seed ${plan.seed} --steps ${steps} --keep ${kept}${without === '' ? '' : ` --without ${without}`}`,
    ...outcome.trace,
  ];
}
