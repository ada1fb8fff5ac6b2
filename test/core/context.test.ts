import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ChangeContext, VersionContext } from '../../src/core/context.ts';
import { hasSeen } from '../../src/core/context.ts';
import { formatDot } from '../../src/core/dot.ts';
import { CLOUD } from '../../src/core/ids.ts';
import type { VectorClock } from '../../src/core/vector-clock.ts';
import { compare, EMPTY_CLOCK, increment, merge } from '../../src/core/vector-clock.ts';

/*
 * Random histories of a star with relays. Each change and version carries, beside its small context, two oracles that the
 * code under test knows nothing of: the set of all writes behind it, and a full vector clock of its entity.
 */

interface Oracle {
  readonly past: ReadonlySet<string>;
  readonly clock: VectorClock;
}
type Change = Oracle & { readonly entity: string; readonly context: ChangeContext };
type Version = Oracle & { readonly entity: string; readonly context: VersionContext };

interface Node {
  readonly name: string;
  /** A relay's index, or undefined: straight to the cloud. */
  readonly upstream: number | undefined;
  cursor: number;
  counter: number;
  pending: Change[];
  readonly visible: Map<string, Oracle>;
  /** On a relay, for each entity: the last change of each node below that it has accepted. */
  readonly accepted: Map<string, VectorClock>;
}

const NOTHING: Oracle = { past: new Set(), clock: EMPTY_CLOCK };

function join(a: Oracle, b: Oracle): Oracle {
  return { past: new Set([...a.past, ...b.past]), clock: merge(a.clock, b.clock) };
}

function withWrite(oracle: Oracle, node: string, dot: string): Oracle {
  return { past: new Set([...oracle.past, dot]), clock: increment(oracle.clock, node) };
}

class Star {
  readonly log: Version[] = [];
  readonly nodes: readonly Node[];
  readonly outcomes: { seen: boolean; oracle: boolean; full: boolean }[] = [];

  constructor(upstreams: readonly (number | undefined)[]) {
    this.nodes = upstreams.map((upstream, index) => ({
      name: `n${index}`,
      upstream,
      cursor: 0,
      counter: 0,
      pending: [],
      visible: new Map(),
      accepted: new Map(),
    }));
  }

  write(node: Node, entity: string, coalesce: boolean): void {
    node.counter += 1;
    const dot = { node: node.name, counter: node.counter };
    const known = withWrite(node.visible.get(entity) ?? NOTHING, node.name, formatDot(dot));
    node.visible.set(entity, known);
    const base = { ...node.accepted.get(entity), [CLOUD]: node.cursor, [node.name]: node.counter - 1 };
    const earlier = node.pending.findLast((change) => change.entity === entity);
    const absorbed = coalesce && earlier?.context.dot.node === node.name ? earlier : undefined;
    // A change that stands on a version that came in since stays apart.
    const isSameBelow =
      absorbed !== undefined &&
      this.versionAt(entity, absorbed.context.base[CLOUD] ?? 0) === this.versionAt(entity, node.cursor);
    if (absorbed === undefined || !isSameBelow) {
      node.pending.push({ entity, context: { dot, base }, ...known });
      return;
    }
    const { counter } = absorbed.context.dot;
    const covers = [...(absorbed.context.covers ?? []), [counter, counter] as const];
    node.pending = node.pending.map((change) =>
      change === absorbed ? { entity, context: { dot, base: absorbed.context.base, covers }, ...known } : change,
    );
  }

  /** Sends the first change of an entity, so other entities may overtake it. */
  push(node: Node, entity: string): void {
    const change = node.pending.find((candidate) => candidate.entity === entity);
    if (change === undefined) return;
    node.pending = node.pending.filter((candidate) => candidate !== change);
    const relay = node.upstream === undefined ? undefined : this.nodes[node.upstream];
    if (relay === undefined) this.sequence(change);
    else this.accept(relay, change);
  }

  pull(node: Node, maxVersions: number): void {
    const relay = node.upstream === undefined ? undefined : this.nodes[node.upstream];
    const head = relay?.cursor ?? this.log.length;
    const cursor = Math.max(node.cursor, Math.min(head, node.cursor + maxVersions));
    for (const version of this.log.slice(node.cursor, cursor)) {
      node.visible.set(version.entity, join(node.visible.get(version.entity) ?? NOTHING, version));
    }
    node.cursor = cursor;
  }

  private accept(relay: Node, change: Change): void {
    relay.pending.push(change);
    relay.visible.set(change.entity, join(relay.visible.get(change.entity) ?? NOTHING, change));
    const { dot } = change.context;
    const accepted = relay.accepted.get(change.entity) ?? EMPTY_CLOCK;
    relay.accepted.set(change.entity, merge(accepted, { [dot.node]: dot.counter }));
  }

  private sequence(change: Change): void {
    const seq = this.log.length + 1;
    const current = this.versionAt(change.entity, this.log.length);
    const { entity } = change;
    if (current === undefined) {
      this.log.push({ entity, past: change.past, clock: change.clock, context: { seq, dot: change.context.dot } });
      return;
    }
    const oracle = change.past.has(formatDot(current.context.dot));
    const full = compare(change.clock, current.clock) === 'after';
    this.outcomes.push({ seen: hasSeen(change.context, current.context), oracle, full });
    const dot = oracle ? change.context.dot : { node: CLOUD, counter: seq };
    const outcome = oracle ? change : withWrite(join(change, current), CLOUD, formatDot(dot));
    this.log.push({ entity, past: outcome.past, clock: outcome.clock, context: { seq, dot } });
  }

  private versionAt(entity: string, seq: number): Version | undefined {
    return this.log.slice(0, seq).findLast((version) => version.entity === entity);
  }
}

type Step = {
  readonly kind: 'write' | 'push' | 'pull';
  readonly at: number;
  readonly entity: string;
  readonly coalesce: boolean;
  readonly maxVersions: number;
};

const step: fc.Arbitrary<Step> = fc.record({
  kind: fc.constantFrom('write', 'write', 'push', 'push', 'pull'),
  at: fc.nat({ max: 4 }),
  entity: fc.constantFrom('e1', 'e2'),
  coalesce: fc.boolean(),
  maxVersions: fc.constantFrom(1, 2, 1_000),
});
/** Nodes 0 and 1 are at the cloud, 2 and 3 too or below node 0, node 4 too or below node 2: relays of relays. */
const upstreams = fc.tuple(
  fc.constant(undefined),
  fc.constant(undefined),
  fc.constantFrom(undefined, 0),
  fc.constantFrom(undefined, 0),
  fc.constantFrom(undefined, 2),
);

function run(shape: readonly (number | undefined)[], steps: readonly Step[]): Star {
  const star = new Star(shape);
  for (const { kind, at, entity, coalesce, maxVersions } of steps) {
    const node = star.nodes[at];
    if (node === undefined) continue;
    if (kind === 'write') star.write(node, entity, coalesce);
    else if (kind === 'push') star.push(node, entity);
    else star.pull(node, maxVersions);
  }
  return star;
}

describe('the context of a change', () => {
  test('[I5] has seen a version exactly where the full causal past and a full vector clock say so', () => {
    const counts = { seen: 0, concurrent: 0 };
    fc.assert(
      fc.property(upstreams, fc.array(step, { minLength: 20, maxLength: 120, size: 'max' }), (shape, steps) => {
        for (const { seen, oracle, full } of run(shape, steps).outcomes) {
          expect({ seen, full }).toEqual({ seen: oracle, full: oracle });
          counts[oracle ? 'seen' : 'concurrent'] += 1;
        }
      }),
      { numRuns: 300 },
    );
    // The histories are worth something only where both happen often.
    expect(counts.seen).toBeGreaterThan(100);
    expect(counts.concurrent).toBeGreaterThan(100);
  });

  const version = { seq: 7, dot: { node: 'n2', counter: 4 } };
  const dot = { node: 'n1', counter: 1 };

  test('has seen what the cursor covers, and nothing behind it', () => {
    expect(hasSeen({ dot, base: { cloud: 7 } }, version)).toBe(true);
    expect(hasSeen({ dot, base: { cloud: 6 } }, version)).toBe(false);
  });

  test('has seen what it knows by its dot: its own, or on a relay of a node below', () => {
    expect(hasSeen({ dot, base: { n2: 4 } }, version)).toBe(true);
    expect(hasSeen({ dot, base: { n2: 3, n1: 9 } }, version)).toBe(false);
  });

  test('has not seen the outcome of a conflict, though its own earlier change went into it', () => {
    const outcome = { seq: 7, dot: { node: 'cloud', counter: 7 } };
    expect(hasSeen({ dot: { node: 'n1', counter: 6 }, base: { cloud: 6, n1: 5 } }, outcome)).toBe(false);
    expect(hasSeen({ dot: { node: 'n1', counter: 6 }, base: { cloud: 7, n1: 5 } }, outcome)).toBe(true);
  });

  test('has seen the changes that it absorbed, of its own node only', () => {
    const covers = [[3, 4]] as const;
    expect(hasSeen({ dot: { node: 'n2', counter: 5 }, base: {}, covers }, version)).toBe(true);
    expect(hasSeen({ dot: { node: 'n2', counter: 5 }, base: {}, covers: [[3, 3]] }, version)).toBe(false);
    expect(hasSeen({ dot: { node: 'n1', counter: 5 }, base: {}, covers }, version)).toBe(false);
  });

  test('knows nodes by their own entries, whatever they are called', () => {
    expect(hasSeen({ dot, base: {} }, { seq: 1, dot: { node: 'constructor', counter: 1 } })).toBe(false);
  });
});
