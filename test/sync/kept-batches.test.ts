import { expect, test } from 'vitest';
import { CLOUD } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { KeptBatches } from '../../src/sync/kept-batches.ts';
import { type Carrier, Relay } from '../../src/sync/relay.ts';
import { entityId, Node, TYPE, World } from './world.ts';

/** A node between others and the cloud, or another one. */
class Between extends Node {
  kept!: KeptBatches;
  relay!: Relay;
  readonly #world: World;

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
        exchange: (sessionId, batch, caller) => above.exchange(sessionId, batch, caller).finally(() => this.#lose()),
        disconnect: (sessionId, caller) => above.disconnect(sessionId, caller),
      },
      isOnline: () => this.link.online,
      kept: this.kept,
      epoch: () => this.replica.meta.epoch,
      clock,
    });
  }

  #lose(): void {
    if (this.answers === 'lost') throw new SyncError('cloud_unavailable', 'the answer is lost');
  }

  override restart(): void {
    super.restart();
    if (this.above !== undefined) this.begin();
    this.first = () => this.relay.bring();
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
async function cutOff() {
  const world = new World({ policy: { conflict: 'lww' } });
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
  await x.link.sync();
  expect(edge.replica.beside.size).toBe(10);
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

test('[S55] what is of another history, or older than a day, is let go', async () => {
  const { world, edge, x } = await cutOff();
  x.put('a', { n: 1 });
  await x.link.sync();
  world.loseCloud();
  await edge.comesBack();
  expect([edge.replica.beside.size, inCloud(world)]).toEqual([0, {}]);
  await x.link.sync();
  expect(inCloud(world)).toEqual({ a: { n: 1 } });
});
