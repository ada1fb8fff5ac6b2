import { SingleBar } from 'cli-progress';
import { formatCount, formatSeconds } from './format.ts';
import type { Scope } from './stage.ts';

/** Where a long step tells how far it is. */
export interface Progress {
  advance(steps?: number): void;
  /** Sets how many steps are done. */
  reach(steps: number): void;
}

/** Tells the story on the terminal, and times its chapters. */
export class Narrator {
  readonly chapters: { readonly title: string; readonly ms: number }[] = [];
  #bar: SingleBar | undefined;

  say(line: string): void {
    console.log(`   ${line}`);
  }

  /** Tells what of the server is looked at, where that isn't all. */
  tellScope(scope: Scope, types: readonly string[]): void {
    if (scope === 'space') return;
    console.log(`Others may write there too: compared are this run's types, ${types.join(' and ')}.`);
  }

  async chapter<T>(title: string, body: () => Promise<T>): Promise<T> {
    console.log(`\n${this.chapters.length + 1}. ${title}`);
    const startedAtMs = performance.now();
    const result = await body();
    this.chapters.push({ title, ms: performance.now() - startedAtMs });
    return result;
  }

  /** Shows how far `body` is: as a bar on a terminal, elsewhere as one line at its end. */
  async progress<T>(label: string, total: number, body: (progress: Progress) => Promise<T>): Promise<T> {
    const startedAtMs = performance.now();
    const bar = process.stdout.isTTY ? startBar(label, total) : undefined;
    this.#bar = bar;
    try {
      const result = await body({
        advance: (steps = 1) => bar?.increment(steps),
        reach: (steps) => bar?.update(steps),
      });
      if (bar === undefined) {
        this.say(`${label}: ${formatCount(total)} in ${formatSeconds(performance.now() - startedAtMs)}`);
      }
      return result;
    } finally {
      this.stop();
    }
  }

  /** Leaves the terminal as it was; for an end in the middle. */
  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
  }
}

function startBar(label: string, total: number): SingleBar {
  const bar = new SingleBar({
    stream: process.stdout,
    format: `   ${label} {bar} {value}/{total} {duration_formatted}`,
    barCompleteChar: '█',
    barIncompleteChar: '░',
    barsize: 30,
    gracefulExit: false,
  });
  bar.start(total, 0);
  return bar;
}
