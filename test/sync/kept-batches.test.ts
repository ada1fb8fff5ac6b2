import { expect, test } from 'vitest';
import { parseStamp } from '../../src/core/hlc.ts';
import { CLOUD, type EntityType } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { KeptBatches } from '../../src/sync/kept-batches.ts';
import { type Carrier, Relay } from '../../src/sync/relay.ts';
import { entityId, entityType, Node, nodeId, TYPE, World } from './world.ts';

/** A node between others and the cloud, or another one. */
class Between extends Node {
  kept!: KeptBatches;
  relay!: Relay;
  readonly #world: World;

  /** Called before each exchange that it carries or brings; what it throws is what that fails with. */
  fails: (batchId: string) => void = () => undefined;
  /** Of what it carries. */
  answers: 'come' | 'lost' = 'come';

  constructor(world: World, name: string, above: Carrier = world.carrier) {
    super(world, name);
    this.#world = world;
    this.above = above;
    this.begin();
  }

  begin(): void {
    const { policies, clock } = this.#world;
    const { above = this.#world.carrier } = this;
    this.kept = new KeptBatches(this.replica, policies, clock);
    this.relay = new Relay({
      nodeId: this.nodeId,
      above: {
        connect: (request, caller) => above.connect(request, caller),
        handshake: (sessionId, request, caller) => above.handshake(sessionId, request, caller),
        exchange: async (sessionId, batch, caller) => {
          this.fails(JSON.parse(batch).batchId);
          return await above.exchange(sessionId, batch, caller).finally(() => this.#lose());
        },
        disconnect: (sessionId, caller) => above.disconnect(sessionId, caller),
      },
      isOnline: () => this.link.online,
      kept: this.kept,
      clock,
    });
  }

  #lose(): void {
    if (this.answers === 'lost') throw new SyncError('cloud_unavailable', 'the answer is lost');
  }

  override restart(): void {
    super.restart();
    if (this.above !== undefined) this.begin();
    this.first = () => this.relay.beforeSync();
    this.heard = (what) => {
      if (what === 'end' && this.link.lastSummary?.success) this.relay.reachedHead();
    };
  }

  /** The cloud can be reached again: as its object does then. */
  async comesBack(): Promise<void> {
    this.link.setOnline(true);
    await this.link.sync();
  }
}

/** `x` and `y` below `edge`, which all have been in the space, and now `edge` is cut off. */
async function cutOff(conflict: 'lww' | 'merge' = 'lww') {
  const world = new World({ policy: { conflict } });
  const edge = new Between(world, 'edge');
  const [x, y] = [new Node(world, 'x'), new Node(world, 'y')];
  for (const node of [x, y]) node.above = edge.relay;
  for (const node of [edge, x, y]) await node.link.sync();
  edge.link.setOnline(false);
  return { world, edge, x, y };
}

const inCloud = (world: World) =>
  Object.fromEntries(world.cloudStore.readAfter(0, 1000).map(({ entityId, data }) => [entityId, data]));

test('[S55] [I1] what is written below a relay that is cut off is shown there, and stays in its writer’s queue', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  const { summary } = await x.link.sync();
  expect(summary).toMatchObject({ success: false, error: { code: 'cloud_unavailable' } });
  expect(x.link.state).toBe('offline');
  expect([edge.read('a'), edge.list()]).toEqual([{ n: 1 }, { a: { n: 1 } }]);
  expect(x.replica.queueStats()).toMatchObject({ pending: 1, syncing: 0 });
  expect(inCloud(world)).toEqual({});
});

test('[S55] [I2] it arrives though its writer is gone by then, and once though that comes back', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  await edge.comesBack();
  expect(inCloud(world)).toEqual({ a: { n: 1 } });
  expect(edge.replica.beside.size).toBe(0);
  expect(edge.read('a')).toEqual({ n: 1 });
  const head = world.sequencer.meta.seq;
  await x.link.sync();
  expect(x.replica.queueStats().total).toBe(0);
  expect([world.sequencer.meta.seq, x.read('a')]).toEqual([head, { n: 1 }]);
});

test('[S55] all that waits goes to the relay at once, however many batches that takes', async () => {
  const { edge, x } = await cutOff();
  for (let n = 0; n < 10; n += 1) x.put(`r${n}`, { n });
  await x.link.sync();
  expect(edge.replica.beside.size).toBe(10);
  // What it has, it keeps once.
  const before = edge.kept.all().length;
  await x.link.sync();
  expect([edge.replica.beside.size, edge.kept.all().length]).toEqual([10, before]);
});

test('[S55] a relay that begins again shows and brings what it keeps', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  edge.restart();
  edge.link.setOnline(false);
  expect(edge.read('a')).toEqual({ n: 1 });
  await edge.comesBack();
  expect(inCloud(world)).toEqual({ a: { n: 1 } });
});

test('[S55] [I6] who has seen at a relay what it keeps sees no less elsewhere, and is told in one entry of a clock', async () => {
  const { world, edge, x, y } = await cutOff();
  for (const [node, id] of [
    [x, 'a'],
    [y, 'b'],
  ] as const) {
    node.put(id, { of: id });
    await node.link.sync();
  }
  const seen = edge.replica.causalContext();
  expect(Object.keys(seen.clock ?? {}).sort()).toEqual([CLOUD, 'edge']);
  expect(edge.replica.covers(seen)).toBe(true);
  const other = new Node(world, 'other');
  const demand = { level: 'causal', after: seen, waitMs: 0, maxStalenessMs: undefined } as const;
  await other.link.sync();
  await expect(other.access.satisfy(TYPE, demand)).rejects.toMatchObject({ code: 'causality_timeout' });
  await edge.comesBack();
  await edge.link.sync();
  await other.access.satisfy(TYPE, { ...demand, waitMs: 1_000 });
  expect(other.list()).toEqual({ a: { of: 'a' }, b: { of: 'b' } });
});

test('[S55] [I5] what is written at a relay on what it keeps meets no conflict with that', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  edge.put('a', { n: 2 });
  expect(edge.read('a')).toEqual({ n: 2 });
  // Its own goes first; what it was made on is known to it.
  await edge.comesBack();
  await x.link.sync();
  await edge.link.sync();
  expect(inCloud(world)).toEqual({ a: { n: 2 } });
  expect(world.cloudStore.countOpenConflicts()).toBe(0);
  expect([edge.read('a'), x.read('a')]).toEqual([{ n: 2 }, { n: 2 }]);
});

test('[S55] [I1] a change that the cloud refuses is dead at its writer, also where a relay brought it', async () => {
  const { world, edge, x } = await cutOff();
  const id = x.put('a', { n: 1 });
  await x.link.sync();
  world.refuse = ({ data }) => data?.['n'] === 1;
  world.restartCloud();
  await edge.comesBack();
  expect(edge.read('a')).toBeUndefined();
  await x.link.sync();
  expect([...x.replica.queued()]).toMatchObject([{ change: { id }, error: { code: 'invalid_data' } }]);
});

test('[S55] through two relays it goes from the one to the other, and to the cloud', async () => {
  const world = new World();
  const upper = new Between(world, 'upper');
  const lower = new Between(world, 'lower', upper.relay);
  const x = new Node(world, 'x');
  x.above = lower.relay;
  for (const node of [upper, lower, x]) await node.link.sync();
  upper.link.setOnline(false);
  lower.link.setOnline(false);
  x.put('a', { n: 1 });
  await x.link.sync();
  expect([lower.read('a'), upper.read('a')]).toEqual([{ n: 1 }, undefined]);
  lower.link.setOnline(true);
  // The upper one takes what waits at the lower one: its own, and what it brings.
  lower.put('b', { n: 2 });
  await lower.link.sync();
  expect(upper.list()).toEqual({ a: { n: 1 }, b: { n: 2 } });
  expect(lower.list()).toEqual({ a: { n: 1 }, b: { n: 2 } });
  await upper.comesBack();
  world.nowMs += LIMITS.backoffMs;
  await lower.comesBack();
  await x.link.sync();
  expect(inCloud(world)).toEqual({ a: { n: 1 }, b: { n: 2 } });
  expect([lower.replica.beside.size, x.replica.queueStats().total]).toEqual([0, 0]);
});

test('[S55] [I9] a relay keeps what the token of its writer allows', async () => {
  const { edge, x } = await cutOff();
  x.grant = { writeTypes: ['other'] };
  x.put('a', { n: 1 });
  await x.link.sync();
  expect(edge.replica.beside.size).toBe(0);
});

test('[S55] [I10] a relay keeps so much and no more; what it doesn’t keep waits where it was written', async () => {
  const { edge, x, y } = await cutOff();
  const large = 'x'.repeat(200_000);
  for (const node of [x, y]) {
    for (let n = 0; n < 50; n += 1) node.put(`${node.nodeId}${n}`, { large });
    await node.link.sync();
  }
  const kept = edge.kept.all().reduce((sum, [, { bytes }]) => sum + bytes, 0);
  expect(kept).toBeLessThanOrEqual(LIMITS.keptBytes);
  expect(edge.replica.beside.size).toBeGreaterThan(75);
  expect([x, y].map((node) => node.replica.queueStats().pending)).toEqual([50, 50]);
  expect(edge.kept.all().length).toBeGreaterThan(2);
});

test('[S55] [I7] of a strong write a relay keeps nothing: it has not happened, and the answer says so', async () => {
  const { edge, x } = await cutOff();
  x.put('b', { n: 2 });
  const write = { entityType: TYPE, entityId: entityId('a'), kind: 'put', data: { n: 1 } } as const;
  const strong = () => x.access.writeStrong(write, {}, 1_000);
  await expect(strong()).rejects.toMatchObject({ code: 'cloud_unavailable' });
  expect(edge.list()).toEqual({ b: { n: 2 } });
  // Where the batch may have got through, nobody can say so.
  edge.link.setOnline(true);
  edge.answers = 'lost';
  await expect(strong()).rejects.toMatchObject({ code: 'outcome_unknown' });
});

test('[S55] what is of another history is let go: its writer sends it anew', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  world.loseCloud();
  await edge.comesBack();
  expect([edge.replica.beside.size, inCloud(world)]).toEqual([0, {}]);
  await x.link.sync();
  expect(inCloud(world)).toEqual({ a: { n: 1 } });
});

test('[S55] [I5] what is kept goes before what others send through the relay, who may have seen it there', async () => {
  const { world, edge, x, y } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  edge.link.setOnline(true);
  y.put('b', { n: 2 });
  await y.link.sync();
  expect(world.cloudStore.readAfter(0, 10).map(({ entityId }) => entityId)).toEqual(['a', 'b']);
});

test('[S55] a relay that keeps what it is sent is asked again and again, and not less and less often', async () => {
  const { world, x } = await cutOff();
  for (let n = 0; n < 8; n += 1) {
    x.put(`r${n}`, { n });
    await x.link.sync();
  }
  expect((x.link.nextAttemptAtMs ?? 0) - world.nowMs).toBeLessThanOrEqual(4_000);
});

test('[S55] [I1] who writes at a relay on operations that it shows has not seen what these were made on', async () => {
  const { world, edge, x } = await cutOff('merge');
  edge.link.setOnline(true);
  x.put('a', { n: 0 });
  await x.link.sync();
  await edge.link.sync();
  const z = new Node(world, 'z');
  await z.link.sync();
  z.write('a', { kind: 'patch', operations: [{ op: 'set', path: 'precious', value: 1 }] });
  await z.link.sync();
  await x.link.sync();
  edge.link.setOnline(false);
  x.write('a', { kind: 'patch', operations: [{ op: 'increment', path: 'n', value: 1 }] });
  await x.link.sync();
  expect(edge.read('a')).toEqual({ n: 1 });
  edge.put('a', { n: 1, mine: 1 });
  await edge.comesBack();
  for (const node of [x, edge, x]) await node.link.sync();
  expect(inCloud(world)).toMatchObject({ a: { precious: 1, mine: 1 } });
});

test('[S55] [I6] what is written after it was seen at a relay comes after it, though its clock was ahead', async () => {
  const { world, edge, x } = await cutOff();
  const late = new Node(world, 'late', 30_000);
  late.above = edge.relay;
  edge.link.setOnline(true);
  await late.link.sync();
  edge.link.setOnline(false);
  late.put('a', { n: 1 });
  await late.link.sync();
  const [kept] = [...edge.replica.beside.all()];
  const own = edge.put('b', { n: 2 });
  const stamp = [...edge.replica.queued()].find(({ change }) => change.id === own)?.change.stamp ?? '';
  expect(stamp > (kept?.change.stamp ?? '')).toBe(true);
  expect(x.read('a')).toBeUndefined();
});

/** Its cloud fails at what is brought, by a code. */
async function thatFails(code: 'overloaded' | 'cloud_unavailable' | 'session_expired') {
  const all = await cutOff();
  const { edge, x } = all;
  for (const id of ['a', 'b']) {
    x.put(id, { id });
    await x.link.sync();
  }
  let failures = 0;
  edge.fails = (batchId) => {
    if (!batchId.startsWith('kept-')) return;
    failures += 1;
    throw new SyncError(code, 'for the test');
  };
  await edge.comesBack();
  return { ...all, failures: () => failures };
}

test('[S55] [I6] [I11] what can’t be brought now holds up nothing else, is shown, waits, and is brought later; nobody who saw it sees less', async () => {
  const { world, edge, x, failures } = await thatFails('overloaded');
  // Of one node no later batch goes before one that is stuck.
  expect(failures()).toBe(1);
  expect(edge.link.lastSummary?.success).toBe(true);
  expect(edge.list()).toEqual({ a: { id: 'a' }, b: { id: 'b' } });
  const seen = edge.replica.causalContext();
  edge.put('own', { n: 1 });
  await edge.link.sync();
  expect(inCloud(world)).toEqual({ own: { n: 1 } });
  const other = new Node(world, 'other');
  const demand = { level: 'causal', after: seen, waitMs: 0, maxStalenessMs: undefined } as const;
  await expect(other.access.satisfy(TYPE, demand)).rejects.toMatchObject({ code: 'causality_timeout' });
  // There is a pause, and then there is something to do.
  expect(edge.relay.msUntilBringing).toBeGreaterThan(0);
  world.nowMs += LIMITS.backoffMs;
  expect(edge.relay.msUntilBringing).toBe(0);
  edge.fails = () => undefined;
  await edge.link.sync();
  expect(inCloud(world)).toEqual({ a: { id: 'a' }, b: { id: 'b' }, own: { n: 1 } });
  expect([edge.relay.msUntilBringing, edge.kept.all().length]).toEqual([null, 0]);
  await x.link.sync();
  expect(x.replica.queueStats().total).toBe(0);
});

test('[S55] [I11] where the cloud goes away again, a relay sends nothing before what it keeps; what never gets through holds it up three times', async () => {
  const { world, edge, failures } = await thatFails('cloud_unavailable');
  edge.put('own', { n: 1 });
  await edge.link.sync();
  expect([failures(), inCloud(world)]).toEqual([2, {}]);
  await edge.link.sync();
  expect([failures(), inCloud(world)]).toEqual([3, { own: { n: 1 } }]);
});

test('[S55] what needs its writer is let go, with all that goes behind it', async () => {
  const { world, edge, x, failures } = await thatFails('session_expired');
  expect([failures(), edge.kept.all().length, inCloud(world)]).toEqual([1, 0, {}]);
  edge.fails = () => undefined;
  await x.link.sync();
  expect(Object.keys(inCloud(world))).toEqual(['a', 'b']);
});

test('[S55] what goes behind something that its writer has to send again is not kept', async () => {
  const { edge, x } = await cutOff();
  for (const id of ['a', 'b', 'c', 'd']) x.put(id, { id });
  let sent = 0;
  x.beforeSend = () => {
    sent += 1;
    // The first batch has come to the cloud by now, which has more to say of it.
    if (sent === 2) for (const [counter] of edge.kept.open()) edge.kept.finish(counter, true);
  };
  await x.link.sync();
  expect(edge.kept.open()).toEqual([]);
  await x.link.sync();
  expect(edge.kept.open().flatMap(([, { batch }]) => batch.changes.map(({ entityId }) => entityId))).toEqual([
    ...['a', 'b', 'c', 'd'],
  ]);
});

test('[S55] [I8] of a transaction a relay keeps all or nothing', async () => {
  const { world, edge, x } = await cutOff();
  const put = (id: string, type: EntityType) =>
    ({ entityType: type, entityId: entityId(id), kind: 'put', data: { id } }) as const;
  x.grant = { writeTypes: [TYPE] };
  x.replica.transact([put('a', TYPE), put('b', entityType('other'))], {});
  x.put('c', { id: 'c' });
  await x.link.sync();
  expect(edge.list()).toEqual({ c: { id: 'c' } });
  await edge.comesBack();
  x.grant = {};
  await x.link.sync({ all: true });
  expect(Object.keys(inCloud(world)).sort()).toEqual(['a', 'b', 'c']);
});

test('[S55] [I9] nobody has a relay keep what is another’s', async () => {
  const { edge, x } = await cutOff();
  x.put('a', { n: 1 });
  const batch = JSON.stringify({ ...x.replica.nextBatch('b', BOUNDS, []), report: undefined });
  const session = x.replica.meta.session?.id ?? '';
  const by = (node: string, id = session, text = batch) =>
    edge.relay.exchange(id, text, { nodeId: nodeId(node), relay: false });
  await expect(by('y')).rejects.toMatchObject({ code: 'session_mismatch' });
  await expect(by('x', 'y.1')).rejects.toMatchObject({ code: 'session_mismatch' });
  const others = batch.replaceAll('x:1', 'y:1').replace('"nodeId":"x"', '"nodeId":"y"');
  await expect(by('x', session, others)).rejects.toMatchObject({ code: 'forbidden' });
  expect(edge.replica.beside.size).toBe(0);
  await by('x');
  expect(edge.replica.beside.size).toBe(1);
});

test('[S55] [I10] a stamp of no honest clock moves no clock of the relay that keeps it', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  const batch = JSON.stringify({ ...x.replica.nextBatch('b', BOUNDS, []), report: undefined });
  const text = batch.replace(/"stamp":"[0-9a-f]{12}/, '"stamp":"0fffffffffff');
  await edge.relay.exchange(x.replica.meta.session?.id ?? '', text, { nodeId: x.nodeId, relay: false });
  expect(edge.read('a')).toEqual({ n: 1 });
  edge.put('b', { n: 2 });
  const [own] = [...edge.replica.queued()];
  expect(parseStamp(own?.change.stamp ?? '')?.wallMs).toBe(world.nowMs);
});

const BOUNDS = { maxChanges: 10, maxBytes: 1_000_000, least: 'normal' } as const;
