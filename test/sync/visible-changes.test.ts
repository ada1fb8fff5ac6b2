import fc from 'fast-check';
import { expect, test } from 'vitest';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { EntityId } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { View } from '../../src/sync/replica-view.ts';
import type { VisibleChange } from '../../src/sync/visible-changes.ts';
import { entityId, Node, TYPE, World } from './world.ts';

const change = (id: string, operation: string, version: string | null, data?: JsonObject) => {
  const told = { entityType: TYPE, entityId: entityId(id), operation, version };
  return data === undefined ? told : { ...told, data };
};

/** What was told since this was asked before. */
const news = (node: Node) => node.seen.splice(0);

type Told = Exclude<VisibleChange, { operation: 'delete' }>;

const versionOf = (record: Pick<View, 'data' | 'version'> | undefined) => {
  return { data: record?.data, version: record?.version };
};

const POLICIES = [{ conflict: 'lww' }, { conflict: 'merge' }, { conflict: 'manual' }, { onCreate: 'rename' }] as const;

function pair(...args: ConstructorParameters<typeof World>) {
  const world = new World(...args);
  const [a, b] = [new Node(world, 'a'), new Node(world, 'b')];
  for (const node of [a, b]) node.watches = () => true;
  return { world, a, b };
}

test('[S25] a write is told once, when it is made, and not again when the cloud confirms it', async () => {
  const { a, b } = pair();
  a.put('x', { n: 1 });
  expect(news(a)).toEqual([change('x', 'create', 'a:1', { n: 1 })]);
  await a.link.sync();
  a.put('x', { n: 2 });
  a.write('x', { kind: 'delete' });
  expect(news(a)).toEqual([change('x', 'update', 'a:2', { n: 2 }), change('x', 'delete', 'a:3')]);
  await a.link.sync();
  expect(news(a)).toEqual([]);
  await b.link.sync();
  expect(news(b)).toEqual([]);
});

test('what a pull brings is told in the order of the cloud, each record once, however many pages it took', async () => {
  const { world, a, b } = pair();
  for (const id of ['x', 'y', 'z']) a.put(id, { id });
  await a.link.sync();
  a.put('x', { id: 'again' });
  await a.link.sync();
  world.pageLimit = 1;
  await b.link.sync();
  expect(news(b)).toEqual([
    change('y', 'create', 'a:2', { id: 'y' }),
    change('z', 'create', 'a:3', { id: 'z' }),
    change('x', 'create', 'a:4', { id: 'again' }),
  ]);
  a.write('y', { kind: 'delete' });
  await a.link.sync();
  await b.link.sync();
  expect(news(b)).toEqual([change('y', 'delete', 'a:5')]);
});

test('what the cloud refuses is taken back; a dead change that is sent again shows again', async () => {
  const { world, a } = pair();
  a.put('x', { n: 1 });
  await a.link.sync();
  world.refuse = ({ data }) => data?.['bad'] === true;
  a.put('x', { bad: true });
  a.put('y', { bad: true });
  news(a);
  await a.link.sync();
  expect(news(a)).toEqual([change('x', 'update', 'a:1', { n: 1 }), change('y', 'delete', null)]);
  a.replica.retryDead('a:3', { good: true });
  expect(news(a)).toEqual([change('y', 'create', 'a:4', { good: true })]);
  a.replica.discardDead('a:2');
  expect(news(a)).toEqual([]);
});

test('a write that loses against one that it had not seen is told as what holds instead', async () => {
  const { world, a, b } = pair();
  a.put('x', { by: 'a' });
  await a.link.sync();
  await b.link.sync();
  a.put('x', { by: 'a, early' });
  world.nowMs += 1;
  b.put('x', { by: 'b, late' });
  await b.link.sync();
  news(a);
  await a.link.sync();
  expect(news(a)).toMatchObject([{ operation: 'update', data: { by: 'b, late' } }]);
});

test('a write that was shown as the winner, and that the cloud leaves to people, is taken back', async () => {
  const manual = { types: {}, default: { ...definePolicies({ types: {} }).default, conflict: 'manual' as const } };
  const { a, b } = pair({ cloudPolicies: manual });
  a.put('x', { by: 'a' });
  await a.link.sync();
  await b.link.sync();
  b.put('x', { by: 'b' });
  await b.link.sync();
  // The other's write comes with the first batch, the answer to this one's with the second.
  for (const id of ['1', '2', '3']) a.put(id, {});
  a.put('x', { by: 'a, late' });
  news(a);
  await a.link.sync();
  expect(news(a)).toEqual([change('x', 'update', 'b:1', { by: 'b' })]);
});

test('of types that nobody watches nothing is told', async () => {
  const { a, b } = pair();
  for (const node of [a, b]) node.watches = () => false;
  a.put('x', {});
  await a.link.sync();
  await b.link.sync();
  expect([...news(a), ...news(b)]).toEqual([]);
});

/** A reader that knows nothing but what it is told. */
class Follower {
  readonly #node: Node;
  readonly #known = new Map<EntityId, Told>();

  constructor(node: Node) {
    this.#node = node;
    node.beforeExchange = async () => this.check();
  }

  /** It finds nothing there any more. */
  forget(): void {
    this.#known.clear();
  }

  check(): void {
    for (const told of news(this.#node)) {
      const before = this.#known.get(told.entityId);
      expect(told.operation === 'create').toBe(before === undefined);
      expect(told).not.toEqual({ ...before, operation: told.operation });
      if (told.operation === 'delete') this.#known.delete(told.entityId);
      else this.#known.set(told.entityId, told);
    }
    const shown = new Map(this.#node.replica.list(TYPE, '', 1000).items.map((item) => [item.entityId, item]));
    expect([...this.#known.keys()].sort()).toEqual([...shown.keys()]);
    for (const [id, told] of this.#known) expect(versionOf(told)).toEqual(versionOf(shown.get(id)));
  }
}

test('[I3] who follows what is told has what the replica shows, whatever the nodes and their links do', async () => {
  const step = fc.record({
    node: fc.constantFrom('a' as const, 'b' as const),
    act: fc.constantFrom('put', 'increment', 'delete', 'sync', 'lose', 'restart', 'lose-node', 'lose-cloud'),
    id: fc.constantFrom('x', 'y'),
    n: fc.nat(9),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40, size: 'max' }),
      fc.constantFrom(...POLICIES),
      async (steps, policy) => {
        const { world, ...nodes } = pair({ policy });
        world.pageLimit = 1;
        world.refuse = ({ data }) => data?.['n'] === 9;
        const followers = { a: new Follower(nodes.a), b: new Follower(nodes.b) };
        for (const { node: name, act, id, n } of steps) {
          const node = nodes[name];
          world.nowMs += 1;
          if (act === 'put') node.put(id, { n, [name]: n });
          if (act === 'increment' && node.read(id) !== undefined) {
            node.write(id, { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
          }
          if (act === 'delete' && node.read(id) !== undefined) node.write(id, { kind: 'delete' });
          if (act === 'lose') node.fault = 'answer-lost';
          if (act === 'sync' || act === 'lose') await node.link.sync();
          if (act === 'restart') node.restart();
          if (act === 'lose-node') {
            node.restartEmpty();
            followers[name].forget();
          }
          if (act === 'lose-cloud') world.loseCloud();
          followers[name].check();
        }
      },
    ),
    { numRuns: 100 },
  );
});

test('a link tells the states of a sync as it goes through them, and no state twice in a row', async () => {
  const { a } = pair();
  await a.link.sync();
  expect(a.states).toEqual(['connecting', 'handshake', 'syncing', 'finalizing', 'idle']);
  a.states.length = 0;
  a.link.setOnline(false);
  a.link.noteLocalChange();
  expect(a.states).toEqual(['offline', 'queuing']);
});
