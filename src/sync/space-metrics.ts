import { PRIORITIES } from '../core/change.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { Family, Labels, Sample } from '../protocol/exposition.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type BatchAnswer, changeResult } from '../protocol/messages.ts';
import { Counter } from './counter.ts';
import { Histogram } from './histogram.ts';
import type { NodeCondition } from './node-record.ts';
import type { NodeRegistry, RegisteredNode } from './node-registry.ts';
import type { ConflictRecord } from './ports.ts';

/** What is asked for when the metrics are: how the space is now. */
export interface SpaceNow {
  readonly head: number;
  readonly registry: NodeRegistry;
  readonly openConflicts: number;
  readonly d1: { readonly lagMs: number; readonly lag: number };
}

/**
 * What the cloud of a space has done since its object was started, and how the space is. Counted in memory: the object is
 * evicted now and then, and all counts begin again at 0, which those who read counters are used to.
 */
export class SpaceMetrics {
  readonly rowsWritten = new Counter({});
  readonly #startedAtMs: number;
  readonly #exchanges = new Counter({ result: 'ok' });
  readonly #changes = new Counter(...changeResult.shape.status.options.map((status) => ({ status })));
  readonly #conflicts = new Counter();
  readonly #bytes = new Counter(...BYTES);
  readonly #compared = new Counter({});
  readonly #mismatched = new Counter({});
  readonly #exchangeTime = new Histogram();
  readonly #strongTime = new Histogram();

  constructor(startedAtMs: number) {
    this.#startedAtMs = startedAtMs;
  }

  /** An exchange was answered. */
  answered({ results, digest }: BatchAnswer, before: NodeCondition, after: NodeCondition): void {
    for (const { status } of results) this.#changes.add(1, { status });
    // The node compares what it has with any digest that it is told.
    if (digest !== undefined) this.#compared.add(1);
    this.#mismatched.add(grown(before.report?.digestMismatches, after.report?.digestMismatches));
    BYTES.forEach((labels, index) => {
      this.#bytes.add(grown(before.report?.bytes?.[index], after.report?.bytes?.[index]), labels);
    });
  }

  exchanged(result: 'ok' | ErrorCode): void {
    this.#exchanges.add(1, { result });
  }

  took(what: 'exchange' | 'strong write', ms: number): void {
    (what === 'exchange' ? this.#exchangeTime : this.#strongTime).observe(ms);
  }

  /** A conflict was met, or decided. */
  conflict({ type, status, resolution }: ConflictRecord): void {
    this.#conflicts.add(1, { type, strategy: resolution.metadata.strategy, status });
  }

  /** All of it, in the order in which people look. */
  *families(now: SpaceNow): Generator<Family> {
    yield gauge('head', 'Sequence number of the last change.', now.head);
    yield* nodeFamilies(nodesOf(now.registry));
    yield gauge('conflicts_open', 'Conflicts that wait for people.', now.openConflicts);
    yield counter('conflicts_total', 'Conflicts that were met or decided.', this.#conflicts);
    yield counter('exchanges_total', 'Exchanges by their result: ok, or the code of the error.', this.#exchanges);
    yield counter('changes_total', 'Changes that nodes sent, by what they were answered.', this.#changes);
    yield counter('bytes_total', 'Bytes over the links of nodes, as these say.', this.#bytes);
    yield counter('digests_compared_total', 'States that nodes compared with that of the cloud.', this.#compared);
    yield counter('digests_mismatched_total', 'States that were others than that of the cloud.', this.#mismatched);
    yield histogram(
      'exchange_duration_seconds',
      'From the arrival of an exchange until it is durable.',
      this.#exchangeTime,
    );
    yield histogram('strong_write_duration_seconds', 'The same of those that bring a strong write.', this.#strongTime);
    yield gauge('d1_lag_seconds', 'For how long D1 has not had everything, at most.', now.d1.lagMs / 1_000);
    yield gauge('d1_lag_changes', 'How many changes D1 lacks.', now.d1.lag);
    yield counter('rows_written_total', 'Rows that the cloud wrote by SQL, as they are billed.', this.rowsWritten);
    yield gauge('started_seconds', 'When the counters began at 0, seconds since 1970.', this.#startedAtMs / 1_000);
  }
}

/** As in `NodeReport.bytes`. */
const BYTES: readonly Labels[] = [
  { direction: 'up', form: 'wire' },
  { direction: 'down', form: 'wire' },
  { direction: 'up', form: 'plain' },
  { direction: 'down', form: 'plain' },
];

/** By how much a count has grown that begins again at 0 with its node. */
function grown(before = 0, after = 0): number {
  return after >= before ? after - before : after;
}

/** As many as are looked at. */
function nodesOf(registry: NodeRegistry): readonly RegisteredNode[] {
  const nodes: RegisteredNode[] = [];
  for (let after: string | null = ''; after !== null && nodes.length < LIMITS.registryNodes; ) {
    const { items, next } = registry.list(after, LIMITS.listItems);
    nodes.push(...items);
    after = next;
  }
  return nodes;
}

/** Of all together; and of each, or, where there are many, of the worst. */
function* nodeFamilies(nodes: readonly RegisteredNode[]): Generator<Family> {
  const total = (of: (node: RegisteredNode) => number) => nodes.reduce((sum, node) => sum + of(node), 0);
  const most = (of: (node: RegisteredNode) => number) => nodes.reduce((max, node) => Math.max(max, of(node)), 0);
  const lag = (node: RegisteredNode) => node.lag;
  const dead = (node: RegisteredNode) => node.dead;
  const age = ({ oldestMs }: RegisteredNode) => (oldestMs ?? 0) / 1_000;
  const states = ['idle', 'syncing', 'offline'] as const;
  const inState = states.map((state) =>
    sample(
      total((node) => (node.state === state ? 1 : 0)),
      { state },
    ),
  );
  yield gauge('nodes', 'Nodes by their state.', inState);
  yield gauge('lag_max', 'How many changes the last of the nodes lacks.', most(lag));
  yield gauge('dead_letters', 'Changes that were refused or given up, at all nodes.', total(dead));
  const queued = PRIORITIES.map((priority) =>
    sample(
      total(({ queue }) => queue[priority]),
      { priority },
    ),
  );
  yield gauge('queue_changes', 'Changes that wait, at all nodes.', queued);
  yield gauge('queue_oldest_seconds', 'How long the oldest of them has waited.', most(age));

  const worst = [...nodes].sort((a, b) => b.dead - a.dead || b.lag - a.lag || b.pending - a.pending);
  const shown = worst.slice(0, LIMITS.metricNodes);
  const each = (of: (node: RegisteredNode) => number) => shown.map((node) => sample(of(node), { node: node.nodeId }));
  yield gauge(
    'node_online',
    'Whether a node is there.',
    each(({ online }) => (online ? 1 : 0)),
  );
  yield gauge('node_lag', 'How many changes a node lacks.', each(lag));
  yield gauge('node_dead_letters', 'Changes that were refused or given up, at a node.', each(dead));
  const queues = shown.flatMap(({ nodeId, queue }) =>
    PRIORITIES.map((priority) => sample(queue[priority], { node: nodeId, priority })),
  );
  yield gauge('node_queue_changes', 'Changes that wait at a node.', queues);
  yield gauge('node_queue_oldest_seconds', 'How long the oldest of them has waited.', each(age));
}

function sample(value: number, labels: Labels = {}): Sample {
  return { labels, value };
}

function gauge(name: string, help: string, value: number | readonly Sample[]): Family {
  const samples = typeof value === 'number' ? [sample(value)] : value;
  return { name: `causeway_${name}`, type: 'gauge', help, samples };
}

function counter(name: string, help: string, counted: Counter): Family {
  return { name: `causeway_${name}`, type: 'counter', help, samples: counted.samples() };
}

function histogram(name: string, help: string, measured: Histogram): Family {
  return { name: `causeway_${name}`, type: 'histogram', help, samples: measured.samples() };
}
