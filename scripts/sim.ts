import { parseArgs } from 'node:util';
import { addCounts, countLines, failureLine, shrunkLines } from '../test/sim/report.ts';
import { planFor, planOf, run } from '../test/sim/run.ts';
import { shrink } from '../test/sim/shrink.ts';

const USAGE = `usage: npm run sim -- [--seed N] [--steps N] [--seeds K] [--trace] [--keep A,B] [--without F,G]
  --seed N       the first seed (1)
  --steps N      steps of each run (200)
  --seeds K      how many seeds, one after the other (1)
  --trace        all that happens, line by line
  --keep A,B     only these steps of the script
  --without F,G  without these faults of messages and D1`;

interface Arguments {
  readonly seed: number;
  readonly steps: number;
  readonly seeds: number;
  readonly trace: boolean;
  /** Undefined: all. */
  readonly kept: readonly number[] | undefined;
  readonly without: readonly string[];
}

/** Simulates, prints what broke and how often what happened, and counts the seeds that failed. */
async function simulate({ seed, steps, seeds, trace, kept, without }: Arguments): Promise<number> {
  const startMs = performance.now();
  const total = new Map<string, number>();
  let failures = 0;
  for (let each = seed; each < seed + seeds; each += 1) {
    const whole = planFor(each, steps);
    const plan = planOf(whole, kept ?? whole.script.map(({ id }) => id), without);
    const outcome = await run(plan);
    addCounts(total, outcome.counts);
    if (trace) console.log(outcome.trace.join('\n'));
    if (outcome.failure === undefined) continue;
    failures += 1;
    console.log(failureLine(plan, outcome));
    // One story is read at a time.
    if (failures === 1 && !trace) console.log(shrunkLines(await shrink(plan), steps).join('\n'));
  }
  const seconds = (performance.now() - startMs) / 1_000;
  console.log(countLines(total).join('\n'));
  const speed = `${(seeds / seconds).toFixed(1)} seeds/s, ${((seeds * steps) / seconds).toFixed(0)} steps/s`;
  console.log(`${seeds} seeds of ${steps} steps, ${failures} failed; ${speed}`);
  return failures;
}

function parse(args: string[]): Arguments {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string', default: '1' },
      steps: { type: 'string', default: '200' },
      seeds: { type: 'string', default: '1' },
      trace: { type: 'boolean', default: false },
      keep: { type: 'string' },
      without: { type: 'string', default: '' },
    },
  });
  return {
    seed: whole('seed', values.seed),
    steps: whole('steps', values.steps),
    seeds: whole('seeds', values.seeds),
    trace: values.trace,
    kept: values.keep?.split(',').map((text) => whole('keep', text)),
    without: values.without.split(','),
  };
}

function whole(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name}: ${text} is not a whole number`);
  return value;
}

try {
  const failures = await simulate(parse(process.argv.slice(2)));
  process.exitCode = failures === 0 ? 0 : 1;
} catch (error) {
  console.error(`${error instanceof Error ? error.message : String(error)}\n${USAGE}`);
  process.exitCode = 2;
}
