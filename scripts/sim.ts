import { parseArgs } from 'node:util';
import { planFor, run } from '../test/sim/run.ts';

const USAGE = 'usage: npm run sim -- [--seed N] [--steps N] [--seeds K] [--trace]';

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      seed: { type: 'string', default: '1' },
      steps: { type: 'string', default: '200' },
      seeds: { type: 'string', default: '1' },
      trace: { type: 'boolean', default: false },
    },
  });
  const [seed, steps, seeds] = [values.seed, values.steps, values.seeds].map(Number);
  if (seed === undefined || steps === undefined || seeds === undefined) throw new Error(USAGE);
  const startMs = performance.now();
  const total = new Map<string, number>();
  let failures = 0;
  for (let each = seed; each < seed + seeds; each += 1) {
    const outcome = await run(planFor(each, steps));
    for (const [what, times] of outcome.counts) total.set(what, (total.get(what) ?? 0) + times);
    if (values.trace) console.log(outcome.trace.join('\n'));
    if (outcome.failure !== undefined) {
      failures += 1;
      console.log(`seed ${each}, step ${outcome.failedAt}: ${outcome.failure.rule} ${outcome.failure.message}`);
    }
  }
  const seconds = (performance.now() - startMs) / 1000;
  for (const [what, times] of [...total].sort()) console.log(`${String(times).padStart(8)}  ${what}`);
  console.log(
    `${seeds} seeds, ${failures} failed, ${(seeds / seconds).toFixed(1)} seeds/s, ${((seeds * steps) / seconds).toFixed(0)} steps/s`,
  );
  return failures === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
