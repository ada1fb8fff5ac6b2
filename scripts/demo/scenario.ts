import type { ApiClient } from './api-client.ts';
import type { Check } from './checks.ts';
import type { Narrator } from './narrator.ts';
import type { ServerKind } from './stage.ts';

/** A story that the demo can play. */
export interface Scenario {
  /** Its first line. */
  readonly title: string;
  /** How many rows of a data set it takes: without a wish, and at least. */
  readonly usualRows: number;
  readonly minRows: number;
  play(api: ApiClient, narrator: Narrator, server: ServerKind, maxRows: number): Promise<Outcome>;
}

export interface Outcome {
  /** Charts and tables. */
  readonly summary: string;
  readonly checks: readonly Check[];
}
