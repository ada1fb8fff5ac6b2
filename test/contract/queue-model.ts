import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Change, dotOf, isDelta, type Priority } from '../../src/core/change.ts';
import { has } from '../../src/core/dot-set.ts';
import { entityKey } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import {
  type Batch,
  type BatchAnswer,
  batch as batchSchema,
  type ChangeResult,
  isFinal,
} from '../../src/protocol/messages.ts';
import { utf8Bytes } from '../../src/protocol/record.ts';
import { CAPABILITIES } from '../../src/protocol/version.ts';
import type { QueuedChange, ReplicaStore } from '../../src/sync/ports.ts';
import { Replica } from '../../src/sync/replica.ts';
import { entityId, made, nodeId, TYPE, World } from '../sync/world.ts';
import type { Opened, WithStore } from './replica-store.ts';

const IDS = ['x', 'y', 'z'] as const;
type Id = (typeof IDS)[number];
const NODE = nodeId('a');

/** What somebody was told is written. */
interface Acknowledged {
  readonly id: Id;
  readonly content: 'put' | 'bad' | 'patch' | 'delete';
  readonly value: number;
}

/** Some of them, as the one change that they go as. */
interface Row {
  readonly counter: number;
  readonly id: Id;
  readonly covers: readonly number[];
  readonly operation: 'create' | 'update' | 'delete';
  readonly priority: Priority;
  readonly queuedAtMs: number;
  /** It never was in a batch, and was made since the start on what is still confirmed. */
  isFresh: boolean;
  tries: number;
  triedAtMs: number;
  isDead: boolean;
}

/** A queue as a list: every acknowledged write is in one row, or the model knows what became of it. */
class Model {
  counter = 0;
  readonly writes = new Map<number, Acknowledged>();
  rows: Row[] = [];
  /** When the last word on what a row was came, by the counter that it went as. */
  readonly settled = new Map<number, number>();
  /** What a settled one went as: its own counter may yet have to be declared void. */
  readonly wentAs = new Map<number, number>();
  /** Made and deleted before they left, or given up by somebody, or sent again as others. */
  readonly gone = new Set<number>();
  /** Others wrote it, or a change of it died, while changes of it waited: its view is for other tests to tell. */
  readonly disturbed = new Set<Id>();
  readonly values = new Map<Id, JsonObject | undefined>();

  of(id: Id): Row[] {
    return this.rows.filter((row) => row.id === id);
  }

  /** What a reader sees: all that was written, one after the other. */
  wrote({ id, content, value }: Acknowledged): void {
    const before = this.values.get(id);
    if (content === 'delete') this.values.set(id, undefined);
    else if (content === 'patch') this.values.set(id, { ...before, n: Number(before?.['n'] ?? 0) + value });
    else this.values.set(id, content === 'bad' ? { n: value, bad: true } : { n: value });
  }
}

/** The replica over a store, and a cloud; both are the real ones. */
class Real {
  readonly world = new World({ policy: { conflict: 'lww', onCreate: 'lww' } });
  store: ReplicaStore;
  replica: Replica;
  readonly #opened: Opened<ReplicaStore>;
  #session: { readonly id: string; readonly untilMs: number } | undefined;
  #batches = 0;
  lastBatch: Batch | undefined;

  constructor(opened: Opened<ReplicaStore>) {
    this.#opened = opened;
    this.store = opened.store;
    this.world.refuse = ({ data }) => data?.['bad'] === true;
    this.world.restartCloud();
    this.replica = this.#start();
  }

  async restart(): Promise<void> {
    this.store = await this.#opened.reopen();
    this.replica = this.#start();
    this.#session = undefined;
  }

  nextBatch(least: Priority): Batch {
    this.#batches += 1;
    const batch = this.replica.nextBatch(`b${this.#batches}`, { maxChanges: 3, maxBytes: 1e6, least }, []);
    this.lastBatch = batch;
    return batch;
  }

  exchange(sent: Batch): BatchAnswer {
    const { responder } = this.world;
    const incoming = batchSchema.parse(JSON.parse(JSON.stringify(sent)));
    return responder.exchange(this.session(), incoming, { nodeId: NODE, relay: false });
  }

  session(): string {
    const { responder, nowMs } = this.world;
    if (this.#session === undefined || this.#session.untilMs <= nowMs) {
      const { sessionId, expiresAt } = responder.connect({
        nodeId: NODE,
        protocol: 1,
        capabilities: [...CAPABILITIES],
      });
      const caller = { nodeId: NODE, relay: false };
      const answer = responder.handshake(sessionId, this.replica.handshakeRequest(), caller);
      this.replica.adopt(answer, nowMs, nowMs);
      this.#session = { id: sessionId, untilMs: expiresAt };
    }
    return this.#session.id;
  }

  received(counter: number): boolean {
    const node = this.world.cloudStore.readNode(NODE);
    return node !== undefined && has(node.received, counter);
  }

  atCloud(id: Id): JsonObject | undefined {
    return this.world.cloudStore.readEntity(keyOf(id))?.data ?? undefined;
  }

  /** What waits, or is dead, on the disk. */
  rows(): QueuedChange[] {
    const meta = this.store.readMeta();
    return this.store.readQueue(meta?.settled.upTo ?? 0).filter(({ change, error }) => {
      return error !== null || meta === undefined || !has(meta.settled, dotOf(change).counter);
    });
  }

  /** Whether the confirmed version of a record is still that on which a change was made. */
  isOnTop({ entityId, base }: Change): boolean {
    const record = this.store.readRecord(entityKey({ entityType: TYPE, entityId }));
    const { cloud = 0 } = base;
    return record === undefined ? cloud === this.replica.meta.cursor : record.seq <= cloud;
  }

  #start(): Replica {
    const { policies, clock } = this.world;
    return new Replica({ store: this.store, nodeId: NODE, policies, clock });
  }
}

const keyOf = (id: Id) => entityKey({ entityType: TYPE, entityId: entityId(id) });
const idOf = (counter: number) => `a:${counter}`;

/** After each command: the lists, the counts, the disk and the views are what the model says. */
function check(model: Model, real: Real): void {
  const { replica, store, world } = real;
  const disk = real.rows();
  expect(disk.map(({ change }) => change.id)).toEqual([...model.rows].map(({ counter }) => idOf(counter)));
  const { items } = replica.listQueue(undefined, 0, 1_000);
  expect(items.map(({ status: _, ...queued }) => queued)).toEqual(disk);
  const statusOf = (row: Row) => (row.isDead ? 'dead' : row.tries > 0 ? 'failed' : 'pending');
  expect(items.map(({ status }) => status)).toEqual(model.rows.map(statusOf));
  const count = (status: string) => model.rows.filter((row) => statusOf(row) === status).length;
  const waiting = model.rows.filter(({ isDead }) => !isDead);
  const ofPriority = (priority: Priority) => waiting.filter((row) => row.priority === priority).length;
  expect(replica.queueStats()).toEqual({
    pending: count('pending'),
    syncing: 0,
    failed: count('failed'),
    dead: count('dead'),
    total: model.rows.length,
    bytes: disk.reduce((sum, { change }) => sum + utf8Bytes(JSON.stringify(change)), 0),
    oldestMs: waiting.length === 0 ? null : world.nowMs - Math.min(...waiting.map(({ queuedAtMs }) => queuedAtMs)),
    byPriority: { critical: ofPriority('critical'), high: ofPriority('high'), normal: ofPriority('normal') },
  });
  // Each acknowledged write is in a row, or in the cloud, or somebody knows that it is not.
  const held = new Set(model.rows.flatMap(({ covers }) => covers));
  for (const counter of model.writes.keys()) {
    const isKept = held.has(counter) || model.gone.has(counter) || real.received(model.wentAs.get(counter) ?? counter);
    expect(isKept, `${idOf(counter)} is lost`).toBe(true);
  }
  // A row stays for a day after the cloud's last word on it, to be given back.
  const all = new Set(store.readQueue(0).map(({ change }) => change.id));
  for (const [counter, atMs] of model.settled) {
    if (world.nowMs - atMs < LIMITS.retainSyncedMs) expect(all.has(idOf(counter)), idOf(counter)).toBe(true);
  }
  for (const id of IDS) {
    if (!model.disturbed.has(id)) expect(replica.read(keyOf(id))?.data, id).toEqual(model.values.get(id));
  }
}

abstract class Step implements fc.AsyncCommand<Model, Real> {
  check(_: Readonly<Model>): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    await this.act(model, real);
    check(model, real);
  }

  abstract act(model: Model, real: Real): void | Promise<void>;
  abstract toString(): string;
}

class Write extends Step {
  readonly #write: Acknowledged;
  readonly #options: { readonly priority: Priority; readonly coalesce: boolean };

  constructor(write: Acknowledged, options: { readonly priority: Priority; readonly coalesce: boolean }) {
    super();
    this.#write = write;
    this.#options = options;
  }

  act(model: Model, { replica, world }: Real): void {
    const { id, content, value } = this.#write;
    const before = replica.read(keyOf(id));
    const target = { entityType: TYPE, entityId: entityId(id), ...this.#options };
    const write = () => {
      if (content === 'delete') return replica.write({ ...target, kind: 'delete' }, {});
      const operations = [{ op: 'increment', path: 'n', value }] as const;
      if (content === 'patch') return replica.write({ ...target, kind: 'patch', operations }, {});
      const data = content === 'bad' ? { n: value, bad: true } : { n: value };
      return replica.write({ ...target, kind: 'put', data }, {});
    };
    if (before === undefined && (content === 'patch' || content === 'delete')) {
      expect(write).toThrow(expect.objectContaining({ code: 'not_found' }));
      return;
    }
    model.counter += 1;
    // Counters go up by one, and none is used again.
    expect(write().changeId).toBe(idOf(model.counter));
    model.writes.set(model.counter, this.#write);
    model.wrote(this.#write);
    this.#enqueue(model, world.nowMs, before === undefined);
  }

  #enqueue(model: Model, nowMs: number, isNew: boolean): void {
    const { id, content } = this.#write;
    const { priority, coalesce } = this.#options;
    const last = model.of(id).at(-1);
    const isInto = coalesce && last?.isFresh && !last.isDead && last.operation !== 'delete';
    if (isInto && last.operation === 'create' && content === 'delete') {
      model.rows = model.rows.filter((row) => row !== last);
      for (const counter of [...last.covers, model.counter]) model.gone.add(counter);
      return;
    }
    const operation = content === 'delete' ? 'delete' : isNew ? 'create' : 'update';
    const row: Row = {
      counter: model.counter,
      id,
      covers: [model.counter],
      operation,
      priority,
      queuedAtMs: nowMs,
      isFresh: true,
      tries: 0,
      triedAtMs: 0,
      isDead: false,
    };
    if (!isInto) {
      model.rows.push(row);
      return;
    }
    const rank = (one: Priority) => ['critical', 'high', 'normal'].indexOf(one);
    const both: Row = {
      ...row,
      covers: [...last.covers, model.counter],
      operation: content === 'delete' ? 'delete' : last.operation,
      priority: rank(last.priority) < rank(priority) ? last.priority : priority,
      queuedAtMs: last.queuedAtMs,
    };
    model.rows = model.rows.map((other) => (other === last ? both : other));
  }

  override toString(): string {
    return `write ${JSON.stringify({ ...this.#write, ...this.#options })}`;
  }
}

type Fate = 'answered' | 'request lost' | 'answer lost' | 'twice' | 'restart';
type Said = 'taken' | 'failed' | 'needs-full';

/** One batch goes, and what the cloud says of its first change is as told; of the others what it likes. */
class Exchange extends Step {
  readonly #least: Priority;
  readonly #fate: Fate;
  readonly #said: Said;

  constructor(least: Priority, fate: Fate, said: Said) {
    super();
    this.#least = least;
    this.#fate = fate;
    this.#said = said;
  }

  async act(model: Model, real: Real): Promise<void> {
    const { replica, world } = real;
    real.session();
    const cursor = replica.meta.cursor;
    const mayHave = replica.hasUnsent(this.#least);
    const batch = real.nextBatch(this.#least);
    this.#checkBatch(batch, model, world.nowMs, mayHave);
    const sent = new Set(batch.changes.map(({ id }) => id));
    for (const row of model.rows) if (sent.has(idOf(row.counter))) row.isFresh = false;
    // What has left is known to, before it leaves.
    const { sentTo = 0 } = real.store.readMeta() ?? {};
    for (const { change, order } of real.rows()) if (sent.has(change.id)) expect(order).toBeLessThanOrEqual(sentTo);
    if (this.#fate === 'request lost') {
      replica.releaseBatch();
      return;
    }
    const answer = this.#answer(batch, real);
    if (this.#fate === 'twice') expect(this.#answer(batch, real)).toEqual(answer);
    // The node may see that the cloud is done with a change before it hears that it was refused.
    const refused = new Set(answer.results.filter(({ status }) => status === 'rejected').map(({ id }) => id));
    for (const row of model.rows) if (refused.has(idOf(row.counter))) model.disturbed.add(row.id);
    if (this.#fate === 'answer lost') {
      replica.releaseBatch();
      return;
    }
    if (this.#fate === 'restart') {
      await new Restart().act(model, real);
      return;
    }
    replica.confirm(batch, answer, world.nowMs);
    for (const row of model.rows) {
      const isMoved = answer.changes.some((change) => change.entityId === row.id && change.seq > cursor);
      const isTaken = answer.results.some(({ id, status }) => {
        return status === 'applied' && model.rows.some((other) => other.id === row.id && idOf(other.counter) === id);
      });
      // What is read from the beginning may be anything.
      if (batch.cursor === 0 || isMoved || isTaken) row.isFresh = false;
    }
    for (const result of answer.results) settle(result, model, world.nowMs);
    for (const id of IDS) {
      if (model.of(id).some(({ isDead }) => !isDead)) continue;
      // Nothing of it waits: it is what the cloud has, whoever wrote that.
      const data = real.atCloud(id);
      if (!model.disturbed.has(id)) expect(data, id).toEqual(model.values.get(id));
      model.values.set(id, data);
      model.disturbed.delete(id);
    }
  }

  /** Nothing overtakes what went before it at its record, and nothing goes that is dead or rests. */
  #checkBatch(batch: Batch, model: Model, nowMs: number, mayHave: boolean): void {
    const rows = batch.changes.map(({ id }) => made(model.rows.find(({ counter }) => idOf(counter) === id)));
    const isReady = (row: Row) => {
      const pauseMs = row.tries === 0 || row.tries === LIMITS.maxRetries ? 0 : 1_000 * 2 ** (row.tries - 1);
      return !row.isDead && nowMs - row.triedAtMs >= pauseMs;
    };
    for (const row of rows) {
      expect(isReady(row), `${idOf(row.counter)} has to wait`).toBe(true);
      const earlier = model.of(row.id).filter(({ counter, isDead }) => counter < row.counter && !isDead);
      for (const other of earlier) expect(rows.indexOf(other)).toBeGreaterThanOrEqual(0);
      for (const other of earlier) expect(rows.indexOf(other)).toBeLessThan(rows.indexOf(row));
      if (this.#least === 'normal') continue;
      const mates = model.of(row.id).filter(({ counter, isDead }) => counter >= row.counter && !isDead);
      const isOld = ({ queuedAtMs }: Row) => nowMs - queuedAtMs >= LIMITS.maxQueueAgeMs;
      expect(mates.some((mate) => mate.priority === 'critical' || isOld(mate))).toBe(true);
    }
    if (!mayHave) expect(rows).toEqual([]);
    const waits = model.rows.filter(
      (row) => !row.isDead && model.of(row.id).filter(({ isDead }) => !isDead)[0] === row,
    );
    if (this.#least === 'normal' && waits.some(isReady)) expect(rows).not.toEqual([]);
  }

  #answer(batch: Batch, real: Real): BatchAnswer {
    const [first] = batch.changes;
    const isAsIs =
      first === undefined ||
      'withdrawn' in first ||
      this.#said === 'taken' ||
      real.received(dotOf(first).counter) ||
      (this.#said === 'needs-full' && !isDelta(first));
    if (isAsIs) return real.exchange(batch);
    // The cloud can do nothing with it, nor with what follows it at its record.
    const isHeld = (change: Batch['changes'][number]) => !('withdrawn' in change) && change.entityId === first.entityId;
    const { checksum: _, digest: __, void: ___, ...rest } = batch;
    const answer = real.exchange({ ...rest, changes: batch.changes.filter((change) => !isHeld(change)) });
    const held = batch.changes.filter(isHeld).map(({ id }): ChangeResult => {
      if (id !== first.id) return { id, status: 'deferred' };
      const failed = { id, status: 'failed', code: 'internal', detail: 'a bug' } as const;
      return this.#said === 'failed' ? failed : { id, status: 'needs-full' };
    });
    return { ...answer, results: [...held, ...answer.results] };
  }

  override toString(): string {
    return `exchange ${this.#least}, ${this.#said}, ${this.#fate}`;
  }
}

function settle(result: ChangeResult, model: Model, nowMs: number): void {
  const row = model.rows.find(({ counter }) => idOf(counter) === result.id);
  if (row === undefined) throw new Error(`an answer to ${result.id}, which is not in the queue`);
  if (result.status === 'failed') {
    row.tries += 1;
    row.triedAtMs = nowMs;
  } else if (result.status === 'rejected') {
    row.isDead = true;
  } else if (isFinal(result)) {
    model.rows = model.rows.filter((other) => other !== row);
    model.settled.set(row.counter, nowMs);
    for (const counter of row.covers) model.wentAs.set(counter, row.counter);
  }
}

/** Somebody else writes a record at the cloud. */
class Elsewhere extends Step {
  readonly #id: Id;

  constructor(id: Id) {
    super();
    this.#id = id;
  }

  act(model: Model, { world }: Real): void {
    world.sequencer.commit((commit) => {
      const stamp = commit.stampNow('cloud');
      const source = { id: commit.cloudDot(), entityType: TYPE, entityId: entityId(this.#id), stamp };
      const before = world.cloudStore.readEntity(keyOf(this.#id));
      commit.put(source, before, { data: { n: 0, elsewhere: true }, written: 'whole', stamp }, source.id);
    });
    model.disturbed.add(this.#id);
  }

  override toString(): string {
    return `${this.#id} is written elsewhere`;
  }
}

class Restart extends Step {
  async act(model: Model, real: Real): Promise<void> {
    const before = real.replica.listQueue(undefined, 0, 1_000);
    real.replica.releaseBatch();
    await real.restart();
    expect(real.replica.listQueue(undefined, 0, 1_000).items.map(({ change }) => change)).toEqual(
      before.items.map(({ change }) => change),
    );
    for (const { change, order } of real.rows()) {
      const row = made(model.rows.find(({ counter }) => idOf(counter) === change.id));
      row.isFresh = order > (real.store.readMeta()?.sentTo ?? 0) && real.isOnTop(change);
    }
  }

  override toString(): string {
    return 'restart';
  }
}

/** Somebody looks after the first dead letter. */
class Dead extends Step {
  readonly #how: 'retry' | 'mend' | 'discard';

  constructor(how: 'retry' | 'mend' | 'discard') {
    super();
    this.#how = how;
  }

  override check(model: Readonly<Model>): boolean {
    return model.rows.some(({ isDead }) => isDead);
  }

  act(model: Model, { replica, world }: Real): void {
    const dead = made(model.rows.find(({ isDead }) => isDead));
    model.rows = model.rows.filter((row) => row !== dead);
    model.disturbed.add(dead.id);
    for (const counter of dead.covers) model.gone.add(counter);
    if (this.#how === 'discard') {
      replica.discardDead(idOf(dead.counter));
      return;
    }
    model.counter += 1;
    const again = replica.retryDead(idOf(dead.counter), this.#how === 'mend' ? { n: 1 } : undefined);
    expect(again).toBe(idOf(model.counter));
    model.writes.set(model.counter, { id: dead.id, content: 'put', value: 1 });
    const fresh = { isFresh: false, isDead: false, tries: 0, triedAtMs: 0, queuedAtMs: world.nowMs };
    model.rows.push({ ...dead, ...fresh, counter: model.counter, covers: [model.counter] });
  }

  override toString(): string {
    return `${this.#how} what is dead`;
  }
}

class Wait extends Step {
  readonly #ms: number;

  constructor(ms: number) {
    super();
    this.#ms = ms;
  }

  act(_: Model, { world }: Real): void {
    world.nowMs += this.#ms;
  }

  override toString(): string {
    return `${this.#ms} ms pass`;
  }
}

/** At the end all goes; what is dead stays, and no counter is left open. */
async function drain(model: Model, real: Real): Promise<void> {
  for (let rounds = 0; rounds < 200 && real.replica.isWaiting; rounds += 1) {
    await new Wait(LIMITS.backoffMs).run(model, real);
    await new Exchange('normal', 'answered', 'taken').run(model, real);
  }
  expect(model.rows.filter(({ isDead }) => !isDead)).toEqual([]);
  await new Exchange('normal', 'answered', 'taken').run(model, real);
  if (model.counter > 0) {
    expect(real.world.cloudStore.readNode(NODE)?.received).toEqual({ upTo: model.counter, extra: [] });
  }
  expect(real.replica.meta.digestMismatches).toBe(0);
}

const PRIORITY = fc.constantFrom<Priority>('normal', 'normal', 'high', 'critical');
const WRITE = fc
  .tuple(
    fc.constantFrom(...IDS),
    fc.constantFrom('put', 'put', 'put', 'patch', 'patch', 'delete', 'bad'),
    fc.integer({ min: 1, max: 9 }),
    PRIORITY,
    fc.boolean(),
  )
  .map(([id, content, value, priority, coalesce]) => new Write({ id, content, value }, { priority, coalesce }));
const EXCHANGE = fc
  .tuple(
    PRIORITY,
    fc.constantFrom<Fate>('answered', 'answered', 'request lost', 'answer lost', 'twice', 'restart'),
    fc.constantFrom<Said>('taken', 'taken', 'failed', 'needs-full'),
  )
  .map(([least, fate, said]) => new Exchange(least === 'high' ? 'normal' : least, fate, said));
const COMMANDS = [
  WRITE,
  WRITE,
  EXCHANGE,
  EXCHANGE,
  fc.constantFrom('retry', 'mend', 'discard').map((how) => new Dead(how)),
  fc.constantFrom(...IDS).map((id) => new Elsewhere(id)),
  fc.constantFrom(500, 2_000, LIMITS.maxQueueAgeMs, 3_600_000, LIMITS.retainSyncedMs).map((ms) => new Wait(ms)),
  fc.constant(new Restart()),
];

/** Every replica store holds a queue as the model does, whatever happens; a failure names its seed and its commands. */
export function queueModel(name: string, withStore: WithStore<ReplicaStore>, numRuns: number): void {
  test(`[I1] [I2] [S11] [S12] [S16] [S27] a queue in ${name} is what its model says, whatever happens`, {
    timeout: 60_000,
  }, async () => {
    const property = fc.asyncProperty(fc.commands(COMMANDS, { maxCommands: 60, size: 'max' }), async (commands) => {
      await withStore(async (opened) => {
        const model = new Model();
        const real = new Real(opened);
        await fc.asyncModelRun(() => ({ model, real }), commands);
        await drain(model, real);
      });
    });
    await fc.assert(property, { numRuns, seed: SEED });
  });
}

/** Any will do; the same one finds the same. */
const SEED = 17;
