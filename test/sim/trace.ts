/** What happened, in words, and how often what happened: both the same for the same seed. */
export class Trace {
  readonly lines: string[] = [];
  readonly counts = new Map<string, number>();
  /** The true time. */
  readonly nowMs: () => number;

  constructor(nowMs: () => number) {
    this.nowMs = nowMs;
  }

  note(line: string): void {
    this.lines.push(`${this.nowMs()} ${line}`);
  }

  /** Counts something that a run has to have had. */
  count(what: string, times = 1): void {
    if (times > 0) this.counts.set(what, (this.counts.get(what) ?? 0) + times);
  }
}
