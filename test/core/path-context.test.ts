import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Change } from '../../src/core/change.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp } from '../../src/core/hlc.ts';
import { toEntityId, toEntityType, toNodeId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { outcomeOf } from '../../src/core/outcome.ts';
import { versionAfter } from '../../src/core/version.ts';

/*
 * Random histories of one record under `merge`, of fields that are only set. Each value that was ever in a field is a
 * number of its own, and the oracle is the set of values that a writer has seen: of two that set one field, they are in
 * conflict exactly where the one who came later had not seen the value that is there.
 */

function made<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('a bad name in a test');
  return value;
}

const record = { entityType: made(toEntityType('note')), entityId: made(toEntityId('x')) };
const policy = definePolicies({ types: {}, default: { conflict: 'merge' } }).default;
const FIELDS = ['a', 'b', 'c'] as const;
type Field = (typeof FIELDS)[number];

interface Waiting {
  readonly change: Change;
  readonly field: Field;
  /** The values that its writer had seen, in any field. */
  readonly past: ReadonlySet<unknown>;
}

interface Node {
  readonly name: string;
  cursor: number;
  counter: number;
  data: JsonObject;
  past: ReadonlySet<unknown>;
  waiting: Waiting[];
}

type Step = { readonly node: number } & (
  | { readonly do: 'set'; readonly field: Field; readonly lateMs: number }
  | { readonly do: 'push' | 'pull' }
);

class Star {
  readonly nodes: readonly Node[];
  readonly outcomes: { readonly isContested: boolean; readonly isUnseen: boolean }[] = [];
  #current: EntityVersion;
  /** Of the cloud: all values that were ever there. A value that won unseen is there anew, as the cloud's own. */
  #past: ReadonlySet<unknown>;
  #standing: Record<Field, unknown>;
  #nowMs = 1;

  constructor(count: number) {
    const data = { a: 0, b: 0, c: 0 };
    const stamp = formatStamp({ wallMs: 1, counter: 0, node: made(toNodeId('origin')) });
    this.#current = { ...record, data, seq: 1, version: 'origin:1', stamp };
    this.#standing = { ...data };
    this.#past = new Set([0]);
    this.nodes = Array.from({ length: count }, (_, index) => {
      return { name: `n${index}`, cursor: 1, counter: 0, data, past: new Set([0]), waiting: [] };
    });
  }

  step(step: Step): void {
    const node = made(this.nodes[step.node % this.nodes.length]);
    if (step.do === 'set') this.#set(node, step.field, step.lateMs);
    else if (step.do === 'push') this.#push(node);
    else this.#pull(node);
  }

  #set(node: Node, field: Field, lateMs: number): void {
    this.#nowMs += 10;
    node.counter += 1;
    const value = `${node.name}:${node.counter}`;
    node.data = { ...node.data, [field]: value };
    const wallMs = Math.max(1, this.#nowMs - lateMs);
    const change: Change = {
      ...record,
      id: value,
      nodeId: node.name,
      operation: 'update',
      data: node.data,
      operations: [{ op: 'set', path: field, value }],
      base: { cloud: node.cursor, [node.name]: node.counter - 1 },
      stamp: formatStamp({ wallMs, counter: 0, node: made(toNodeId(node.name)) }),
      timestamp: wallMs,
    };
    node.waiting.push({ change, field, past: node.past });
    node.past = new Set([...node.past, value]);
  }

  #push(node: Node): void {
    const next = node.waiting.shift();
    if (next === undefined) return;
    const { change, field, past } = next;
    const outcome = outcomeOf(this.#current, change, policy);
    const seq = this.#current.seq + 1;
    const isUnseen = !past.has(this.#standing[field]);
    if (outcome.kind === 'advance') {
      this.outcomes.push({ isContested: false, isUnseen });
      this.#become(
        versionAfter(this.#current, change, { ...outcome, stamp: change.stamp }, { seq, version: change.id }),
      );
      this.#stands(field, change.id);
      return;
    }
    if (outcome.kind !== 'resolved') throw new Error(`unexpected: ${outcome.kind}`);
    const { resolution, written } = outcome;
    const isTaken = resolution.resolvedData?.[field] === change.id;
    this.outcomes.push({ isContested: resolution.metadata.reason.includes(`${field}: `), isUnseen });
    if (resolution.winner === 'local') return;
    const effect = { data: resolution.resolvedData, written, stamp: change.stamp };
    this.#become(versionAfter(this.#current, change, effect, { seq, version: `cloud:${seq}` }));
    if (isTaken) this.#stands(field, isUnseen ? `cloud:${seq}` : change.id);
  }

  #become(next: EntityVersion): void {
    this.#current = next;
  }

  #stands(field: Field, value: string): void {
    this.#standing = { ...this.#standing, [field]: value };
    this.#past = new Set([...this.#past, value]);
  }

  #pull(node: Node): void {
    // What waits is written over what came, as it will be in the cloud.
    const pending = Object.fromEntries(node.waiting.map(({ field, change }) => [field, change.id]));
    node.cursor = this.#current.seq;
    node.data = { ...this.#current.data, ...pending };
    node.past = new Set([...node.past, ...this.#past]);
  }
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    fc.record({
      do: fc.constant('set' as const),
      node: fc.nat(2),
      field: fc.constantFrom(...FIELDS),
      lateMs: fc.constantFrom(0, 0, 25, 500),
    }),
    fc.record({ do: fc.constantFrom('push' as const, 'pull' as const), node: fc.nat(2) }),
  ),
  { minLength: 20, maxLength: 60, size: 'max' },
);

test('[S10] two that set a field are in conflict exactly where the later to come had not seen the value that is there', () => {
  const counts = { seen: 0, unseen: 0 };
  fc.assert(
    fc.property(steps, (all) => {
      const star = new Star(3);
      for (const step of all) star.step(step);
      for (const { isContested, isUnseen } of star.outcomes) {
        expect(isContested).toBe(isUnseen);
        counts[isUnseen ? 'unseen' : 'seen'] += 1;
      }
    }),
    { numRuns: 1_000, seed: 7 },
  );
  // A property of which one side never came up would hold nothing.
  expect(Math.min(counts.seen, counts.unseen)).toBeGreaterThan(1_000);
});
