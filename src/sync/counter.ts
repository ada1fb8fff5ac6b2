import type { Labels, Sample } from '../protocol/exposition.ts';

/** Counts, apart for each combination of labels. There must be few of these: none of its labels is what anybody likes. */
export class Counter {
  readonly #samples = new Map<string, Sample>();

  /** @param known labels that are told from the beginning, with 0. */
  constructor(...known: readonly Labels[]) {
    for (const labels of known) this.add(0, labels);
  }

  add(count: number, labels: Labels = {}): void {
    const key = JSON.stringify(labels);
    this.#samples.set(key, { labels, value: (this.#samples.get(key)?.value ?? 0) + count });
  }

  samples(): readonly Sample[] {
    return [...this.#samples.values()];
  }
}
