import type { Client } from './client.ts';
import type { CloudHost } from './cloud-host.ts';
import type { SimulatedD1 } from './d1.ts';
import type { History } from './history.ts';
import type { NodeHost } from './node-host.ts';
import type { Ops } from './op.ts';
import type { Trace } from './trace.ts';

/** One tenant: its cloud, its nodes and who uses them, and what the checkers know of it. */
export interface Space {
  readonly name: string;
  readonly cloud: CloudHost;
  readonly d1: SimulatedD1;
  readonly nodes: readonly NodeHost[];
  readonly clients: readonly Client[];
  readonly history: History;
  readonly ops: Ops;
  readonly trace: Trace;
}
