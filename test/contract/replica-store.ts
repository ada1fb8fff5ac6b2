import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatDot } from '../../src/core/dot.ts';
import type { EntityVersion } from '../../src/core/entity.ts';
import { formatStamp } from '../../src/core/hlc.ts';
import {
  type EntityId,
  type EntityKey,
  type EntityType,
  entityKey,
  type NodeId,
  toEntityId,
  toEntityType,
  toNodeId,
} from '../../src/core/ids.ts';
import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import type { QueuedChange, ReplicaMeta, ReplicaStore, StagedPage, Transactional } from '../../src/sync/ports.ts';
import { memoRules } from './memos.ts';

/** `reopen` ends the store that is open, and opens another one over what it left. */
export interface Opened<Store> {
  readonly store: Store;
  reopen(): Store | Promise<Store>;
}

/** Runs a check on a fresh, empty store, wherever stores of that kind can be used, and clears up behind it. */
export type WithStore<Store> = (check: (opened: Opened<Store>) => void | Promise<void>) => void | Promise<void>;

/** What every `ReplicaStore` does. */
export function replicaStoreContract(name: string, withStore: WithStore<ReplicaStore>): void {
  const rule = (title: string, check: (opened: Opened<ReplicaStore>) => void | Promise<void>) => {
    test(title, async () => {
      await withStore(check);
    });
  };

  describe(`${name} as a replica store`, () => {
    memoRules(rule);

    rule('a fresh store is empty', ({ store }) => {
      expect(viewOf(store)).toEqual(EMPTY_VIEW);
    });

    rule('meta comes back as it was written last, and there is one of it', async ({ store, reopen }) => {
      store.writeMeta(replicaMeta({ cursor: 1, settledAt: [[3, 3]] }));
      const last = replicaMeta({
        epoch: 'epoch-2',
        cursor: Number.MAX_SAFE_INTEGER,
        settledAt: [
          [4, 4],
          [6, 9],
        ],
        received: { upTo: 2, extra: [[5, 7]] },
        digest: { task: 'f'.repeat(32) },
        hlc: { wallMs: 2 ** 48 - 1, counter: 0xffff },
        clockOffsetMs: -12.5,
        session: {
          id: 's',
          expiresAtMs: 1,
          maxBatchChanges: 2,
          maxBatchBytes: 3,
          protocol: 1,
          capabilities: ['delta-sync'],
        },
      });
      store.writeMeta(last);
      expect(store.readMeta()).toEqual(last);
      expect((await reopen()).readMeta()).toEqual(last);
    });

    rule('a record is read by its key, and only by its key', ({ store }) => {
      const written = entity('task', 'a', { n: 1 });
      store.writeRecord(written);
      expect(store.readRecord(keyOf('task', 'a'))).toEqual(written);
      expect(store.readRecord(keyOf('task', 'A'))).toBeUndefined();
      expect(store.readRecord(keyOf('note', 'a'))).toBeUndefined();
    });

    rule('a record that is written again is another one in every field', ({ store }) => {
      store.writeRecord(entity('task', 'a', { n: 1 }, 1));
      const next = { ...entity('task', 'a', { other: true }, 9), version: 'cloud:9', stamp: stampAt(99) };
      store.writeRecord(next);
      expect(store.readRecord(keyOf('task', 'a'))).toEqual(next);
      expect(store.countRecords()).toBe(1);
    });

    rule('a tombstone is a record without data, not with an empty one', ({ store }) => {
      store.writeRecord(entity('task', 'gone', null));
      store.writeRecord(entity('task', 'empty', {}));
      expect(store.readRecord(keyOf('task', 'gone'))?.data).toBeNull();
      expect(store.readRecord(keyOf('task', 'empty'))?.data).toEqual({});
      expect(store.countRecords()).toBe(2);
    });

    rule('replicas may hold two records with the same seq, as those that only they have do', ({ store }) => {
      store.writeRecord(entity('task', 'a', { n: 1 }, 0));
      store.writeRecord(entity('task', 'b', { n: 2 }, 0));
      expect(store.readRecord(keyOf('task', 'a'))?.data).toEqual({ n: 1 });
      expect(store.readRecord(keyOf('task', 'b'))?.data).toEqual({ n: 2 });
    });

    rule('a removed record is gone, and removing what is not there does nothing', async ({ store, reopen }) => {
      store.writeRecord(entity('task', 'a', { n: 1 }));
      store.writeRecord(entity('task', 'b', { n: 2 }));
      store.removeRecord(keyOf('task', 'a'));
      store.removeRecord(keyOf('task', 'a'));
      store.removeRecord(keyOf('task', 'never'));
      expect(store.readRecord(keyOf('task', 'a'))).toBeUndefined();
      expect((await reopen()).listRecords(typeOf('task'), '', 10).map(idOf)).toEqual(['b']);
    });

    rule('a list has the records of one type, by the code units of their ids', ({ store }) => {
      for (const id of NAMES.toReversed()) store.writeRecord(entity('task', id, { id }));
      store.writeRecord(entity('tas', 'x', {}));
      store.writeRecord(entity('task2', 'x', {}));
      store.writeRecord(entity('Task', 'x', {}));
      expect(store.listRecords(typeOf('task'), '', 100).map(idOf)).toEqual(NAMES);
    });

    rule('a list begins behind `after`, which need not be there, and has at most `limit` records', ({ store }) => {
      for (const id of NAMES) store.writeRecord(entity('task', id, { id }));
      const list = (after: string, limit: number) => store.listRecords(typeOf('task'), after, limit).map(idOf);
      for (const [index, id] of NAMES.entries()) expect(list(id, 3)).toEqual(NAMES.slice(index + 1, index + 4));
      expect(list('', 1)).toEqual(NAMES.slice(0, 1));
      expect(list('', 0)).toEqual([]);
      expect(list('b0', 1)).toEqual(NAMES.slice(NAMES.indexOf('b') + 1).slice(0, 1));
      expect(list('~', 10)).toEqual([]);
      expect(list('\u{1F600}', 10)).toEqual([]);
      expect(list("' OR 1 = 1 --", 100)).toEqual(NAMES);
      expect(list('b\0', 1)).toEqual(NAMES.slice(NAMES.indexOf('b') + 1).slice(0, 1));
    });

    rule('the keys and the number of the records are those of all types', ({ store }) => {
      const keys = [keyOf('note', 'a'), keyOf('task', 'a'), keyOf('task', 'b')];
      store.writeRecord(entity('task', 'b', {}));
      store.writeRecord(entity('note', 'a', {}));
      store.writeRecord(entity('task', 'a', {}));
      expect([...store.recordKeys()].sort()).toEqual(keys);
      expect(store.countRecords()).toBe(3);
    });

    rule('records may be removed while their keys are walked through', ({ store }) => {
      for (const id of NAMES) store.writeRecord(entity('task', id, {}));
      const seen: EntityKey[] = [];
      for (const key of store.recordKeys()) {
        seen.push(key);
        store.removeRecord(key);
      }
      expect(seen).toHaveLength(NAMES.length);
      expect(store.countRecords()).toBe(0);
    });

    rule('the queue is in its order, by numbers', async ({ store, reopen }) => {
      for (const counter of [10, 9, 2, 1, 100, 2 ** 53 - 1, 2 ** 31]) store.writeQueued(queuedChange(counter));
      const ordered = [1, 2, 9, 10, 100, 2 ** 31, 2 ** 53 - 1].map((counter) => queuedChange(counter));
      expect(store.readQueue(0)).toEqual(ordered);
      expect((await reopen()).readQueue(0)).toEqual(ordered);
    });

    rule('a queued change that is written again takes its own place', ({ store }) => {
      for (const counter of [1, 2, 3]) store.writeQueued(queuedChange(counter));
      const dead = { ...queuedChange(2), retryCount: 3, lastAttemptMs: 7, error: { code: 'invalid_data', detail: '' } };
      store.writeQueued(dead);
      expect(store.readQueue(0)).toEqual([queuedChange(1), dead, queuedChange(3)]);
    });

    rule('a change that failed keeps how often, when and why', async ({ store, reopen }) => {
      const failure = { code: 'internal', detail: "it's broken" } as const;
      const failed = { ...queuedChange(1), retryCount: 2, lastAttemptMs: 7, failure };
      store.writeQueued(failed);
      expect((await reopen()).readQueue(0)).toEqual([failed]);
      expect((await reopen()).settledSlots(1, 0, 10)).toEqual([slotOf(1)]);
    });

    rule('what is settled is left out, and its slot is told; a dead change stays', async ({ store, reopen }) => {
      for (const counter of [1, 2, 3, 4]) store.writeQueued(queuedChange(counter));
      const dead = { ...queuedChange(2), error: { code: 'invalid_data', detail: '' } };
      store.writeQueued(dead);
      const again = await reopen();
      expect(again.readQueue(3)).toEqual([dead, queuedChange(4)]);
      expect(again.settledSlots(3, 0, 10)).toEqual([slotOf(1), slotOf(3)]);
      expect(again.settledSlots(3, slotOf(1), 10)).toEqual([slotOf(3)]);
      expect(again.settledSlots(4, 0, 2)).toEqual([slotOf(1), slotOf(3)]);
      expect(again.settledSlots(0, 0, 10)).toEqual([]);
      expect(again.lastSlot()).toBe(slotOf(4));
    });

    rule('a slot holds one change: the one that was written to it last', async ({ store, reopen }) => {
      store.writeQueued(queuedChange(1));
      store.writeQueued({ ...queuedChange(2), slot: slotOf(1) });
      expect((await reopen()).readQueue(0)).toEqual([{ ...queuedChange(2), slot: slotOf(1) }]);
    });

    rule('a change leaves the queue by its slot, and only that one', ({ store }) => {
      for (const counter of [1, 2, 11]) store.writeQueued(queuedChange(counter));
      store.removeQueued(slotOf(1));
      store.removeQueued(slotOf(1));
      store.removeQueued(slotOf(5));
      expect(store.readQueue(0)).toEqual([queuedChange(2), queuedChange(11)]);
    });

    rule('staged pages come back in order, until they are cleared', async ({ store, reopen }) => {
      const pages = Array.from({ length: 12 }, (_, index) => stagedPage(index));
      for (const [index, page] of pages.entries()) store.writeStaged(index, page);
      expect([...store.readStaged()]).toEqual(pages);
      const again = await reopen();
      expect([...again.readStaged()]).toEqual(pages);
      again.clearStaged();
      again.clearStaged();
      expect([...again.readStaged()]).toEqual([]);
      again.writeStaged(0, stagedPage(40));
      expect([...again.readStaged()]).toEqual([stagedPage(40)]);
    });

    rule('a page is staged once', ({ store }) => {
      store.writeStaged(0, stagedPage(0));
      expect(() => store.writeStaged(0, stagedPage(1))).toThrow();
      expect([...store.readStaged()]).toEqual([stagedPage(0)]);
    });

    rule('records may be written while the staged pages are read', ({ store }) => {
      for (const index of [0, 1, 2]) store.writeStaged(index, stagedPage(index));
      store.transaction(() => {
        for (const { answer } of store.readStaged()) store.writeRecord(entity('task', `page-${answer.cursor}`, {}));
        store.clearStaged();
      });
      expect(store.countRecords()).toBe(3);
      expect([...store.readStaged()]).toEqual([]);
    });

    transactionRules(rule, {
      write: (store, id) => store.writeRecord(entity('task', id, { id })),
      written: (store) => store.listRecords(typeOf('task'), '', 100).map(idOf),
    });

    rule('a transaction that throws takes back every kind of write', async ({ store, reopen }) => {
      fill(store);
      const before = viewOf(store);
      const fails = () => {
        store.writeMeta(replicaMeta({ cursor: 99 }));
        store.writeRecord(entity('task', 'new', {}));
        store.writeRecord(entity('task', 'a', null, 50));
        store.removeRecord(keyOf('task', 'b'));
        store.writeQueued(queuedChange(9));
        store.writeQueued({ ...queuedChange(1), retryCount: 1 });
        store.removeQueued(slotOf(2));
        store.clearStaged();
        store.writeStaged(0, stagedPage(9));
        throw new Deliberate();
      };
      expect(() => store.transaction(fails)).toThrow(Deliberate);
      expect(viewOf(store)).toEqual(before);
      expect(viewOf(await reopen())).toEqual(before);
    });

    for (const [title, data] of HOSTILE) {
      rule(`keeps ${title} in data as they are`, async ({ store, reopen }) => {
        store.writeRecord(entity('task', 'a', data));
        store.writeQueued(queuedChange(1, data));
        const read = [store.readRecord(keyOf('task', 'a'))?.data, store.readQueue(0)[0]?.change.data];
        const again = await reopen();
        read.push(again.readRecord(keyOf('task', 'a'))?.data, again.readQueue(0)[0]?.change.data);
        for (const each of read) expect(JSON.stringify(each)).toBe(JSON.stringify(data));
      });
    }

    rule('keeps the largest record, and the largest batch with the largest page', async ({ store, reopen }) => {
      store.writeRecord(entity('task', 'ascii', dataOfBytes(LIMITS.recordBytes)));
      store.writeRecord(entity('task', 'emoji', { text: '\u{1F600}'.repeat(LIMITS.recordBytes / 4 - 4) }));
      const page = stagedPage(0);
      const large: StagedPage = {
        batch: { ...page.batch, changes: [queuedChange(1, dataOfBytes(LIMITS.batchBytes)).change] },
        answer: { ...page.answer, results: [{ id: 'x', status: 'applied', detail: 'y'.repeat(LIMITS.pageBytes) }] },
      };
      store.writeStaged(0, large);
      const before = viewOf(store);
      expect(JSON.stringify(before.staged)).toBe(JSON.stringify([large]));
      expect(viewOf(await reopen())).toEqual(before);
    });

    rule('nobody changes what is stored through what was passed in or handed out', ({ store }) => {
      const passed = { meta: replicaMeta({}), record: entity('task', 'a', { list: [1], deep: { n: 1 } }) };
      const page = stagedPage(0);
      const queued = queuedChange(1, { list: [1] });
      store.writeMeta(passed.meta);
      store.writeRecord(passed.record);
      store.writeQueued(queued);
      store.writeStaged(0, page);
      const before = structuredClone(viewOf(store));
      for (const mine of [passed, queued, page]) vandalize(mine);
      expect(viewOf(store)).toEqual(before);
      vandalize(viewOf(store));
      vandalize(store.readRecord(keyOf('task', 'a')));
      expect(viewOf(store)).toEqual(before);
    });

    test('does what a trivial model does, whatever the order of the calls', async () => {
      const property = fc.asyncProperty(fc.array(replicaOp, { maxLength: 25 }), async (ops) => {
        await withStore(async (opened) => {
          let store = opened.store;
          let model = EMPTY_VIEW;
          for (const op of ops) {
            if (op.kind === 'reopen') store = await opened.reopen();
            else model = replicaStep(store, model, op);
            expect(viewOf(store)).toEqual(model);
          }
        });
      });
      await fc.assert(property, { numRuns: 60 });
    });
  });
}

/** The rules of transactions, which are the same for every store; a write here is any that has an id. */
export function transactionRules<Store extends Transactional>(
  rule: (title: string, check: (opened: Opened<Store>) => void | Promise<void>) => void,
  { write, written }: { write: (store: Store, id: string) => void; written: (store: Store) => string[] },
): void {
  const fail = (): never => {
    throw new Deliberate();
  };

  rule('a transaction returns what its body does, and its writes are there together', async ({ store, reopen }) => {
    const seen = store.transaction(() => {
      write(store, 'a');
      write(store, 'b');
      return written(store);
    });
    expect(seen).toEqual(['a', 'b']);
    expect(written(await reopen())).toEqual(['a', 'b']);
  });

  rule('a transaction that throws passes the error on and leaves nothing', async ({ store, reopen }) => {
    write(store, 'before');
    const error = new Deliberate();
    const body = () => {
      write(store, 'a');
      throw error;
    };
    expect(thrownBy(() => store.transaction(body))).toBe(error);
    expect(written(store)).toEqual(['before']);
    expect(written(await reopen())).toEqual(['before']);
  });

  rule('after a transaction that failed the next one is like any other', async ({ store, reopen }) => {
    expect(() => store.transaction(fail)).toThrow(Deliberate);
    store.transaction(() => write(store, 'a'));
    write(store, 'b');
    expect(written(await reopen())).toEqual(['a', 'b']);
  });

  rule('an inner transaction is part of the outer one', async ({ store, reopen }) => {
    store.transaction(() => {
      write(store, 'a');
      store.transaction(() => write(store, 'b'));
      write(store, 'c');
    });
    expect(written(await reopen())).toEqual(['a', 'b', 'c']);
  });

  rule('an outer transaction that throws takes its inner ones back', async ({ store, reopen }) => {
    const body = () => {
      store.transaction(() => write(store, 'a'));
      store.transaction(() => store.transaction(() => write(store, 'b')));
      fail();
    };
    expect(() => store.transaction(body)).toThrow(Deliberate);
    expect(written(store)).toEqual([]);
    expect(written(await reopen())).toEqual([]);
  });

  rule('an inner transaction that is caught takes back itself only', async ({ store, reopen }) => {
    store.transaction(() => {
      write(store, 'a');
      const inner = () => {
        write(store, 'b');
        store.transaction(() => write(store, 'c'));
        fail();
      };
      expect(() => store.transaction(inner)).toThrow(Deliberate);
      expect(written(store)).toEqual(['a']);
      store.transaction(() => write(store, 'd'));
    });
    expect(written(await reopen())).toEqual(['a', 'd']);
  });

  rule('a body that returns a promise is refused, and leaves nothing', async ({ store, reopen }) => {
    const later: () => unknown = async () => write(store, 'a');
    expect(() => store.transaction(later)).toThrow(/synchronous/);
    expect(written(store)).toEqual([]);
    store.transaction(() => {
      write(store, 'b');
      expect(() => store.transaction(later)).toThrow(/synchronous/);
    });
    expect(written(await reopen())).toEqual(['b']);
  });
}

// What is there, as one value.

interface ReplicaView {
  readonly meta: ReplicaMeta | undefined;
  /** By type and id. */
  readonly records: readonly EntityVersion[];
  readonly keys: readonly EntityKey[];
  readonly count: number;
  readonly queue: readonly QueuedChange[];
  readonly staged: readonly StagedPage[];
}

const EMPTY_VIEW: ReplicaView = { meta: undefined, records: [], keys: [], count: 0, queue: [], staged: [] };

const TYPES = ['note', 'task'] as const;

function viewOf(store: ReplicaStore): ReplicaView {
  return {
    meta: store.readMeta(),
    records: TYPES.flatMap((type) => store.listRecords(typeOf(type), '', 1_000)),
    keys: [...store.recordKeys()].sort(),
    count: store.countRecords(),
    queue: store.readQueue(0),
    staged: [...store.readStaged()],
  };
}

function fill(store: ReplicaStore): void {
  store.writeMeta(replicaMeta({ cursor: 7 }));
  store.writeRecord(entity('task', 'a', { n: 1 }));
  store.writeRecord(entity('task', 'b', { n: 2 }));
  store.writeQueued(queuedChange(1));
  store.writeQueued(queuedChange(2));
  store.writeStaged(0, stagedPage(0));
  store.writeStaged(1, stagedPage(1));
}

// The model: a view, and how each call makes another one of it.

type ReplicaOp =
  | { readonly kind: 'meta'; readonly cursor: number }
  | { readonly kind: 'write'; readonly record: EntityVersion }
  | { readonly kind: 'remove'; readonly key: EntityKey }
  | { readonly kind: 'list'; readonly type: EntityType; readonly after: string; readonly limit: number }
  | { readonly kind: 'enqueue'; readonly queued: QueuedChange }
  | { readonly kind: 'dequeue'; readonly counter: number }
  | { readonly kind: 'stage'; readonly page: StagedPage }
  | { readonly kind: 'clear' }
  | { readonly kind: 'transaction'; readonly ops: readonly ReplicaOp[]; readonly fails: boolean }
  | { readonly kind: 'reopen' };

function replicaStep(store: ReplicaStore, model: ReplicaView, op: ReplicaOp): ReplicaView {
  switch (op.kind) {
    case 'meta': {
      const meta = replicaMeta({ cursor: op.cursor });
      store.writeMeta(meta);
      return { ...model, meta };
    }
    case 'write': {
      store.writeRecord(op.record);
      return withRecords(model, [...without(model.records, entityKey(op.record)), op.record]);
    }
    case 'remove':
      store.removeRecord(op.key);
      return withRecords(model, without(model.records, op.key));
    case 'list': {
      const expected = model.records.filter(
        ({ entityType, entityId }) => entityType === op.type && entityId > op.after,
      );
      expect(store.listRecords(op.type, op.after, op.limit)).toEqual(expected.slice(0, op.limit));
      return model;
    }
    case 'enqueue':
      store.writeQueued(op.queued);
      return { ...model, queue: [...dequeue(model.queue, op.queued.change.id), op.queued].sort(byCounter) };
    case 'dequeue':
      store.removeQueued(slotOf(op.counter));
      return { ...model, queue: dequeue(model.queue, idOfCounter(op.counter)) };
    case 'stage':
      store.writeStaged(model.staged.length, op.page);
      return { ...model, staged: [...model.staged, op.page] };
    case 'clear':
      store.clearStaged();
      return { ...model, staged: [] };
    case 'transaction':
      return stepInTransaction(store, model, op.fails, () => {
        return op.ops.reduce((before, each) => replicaStep(store, before, each), model);
      });
    case 'reopen':
      return model;
  }
}

/** What `body` makes of the model, or, where it is to fail, the model as it was. */
export function stepInTransaction<Model>(store: Transactional, model: Model, fails: boolean, body: () => Model): Model {
  try {
    return store.transaction(() => {
      const after = body();
      if (fails) throw new Deliberate();
      return after;
    });
  } catch (error) {
    if (!(error instanceof Deliberate)) throw error;
    return model;
  }
}

function withRecords(model: ReplicaView, records: readonly EntityVersion[]): ReplicaView {
  const sorted = records.toSorted((a, b) => (entityKey(a) < entityKey(b) ? -1 : 1));
  return { ...model, records: sorted, keys: sorted.map(entityKey).sort(), count: sorted.length };
}

function without(records: readonly EntityVersion[], key: EntityKey): EntityVersion[] {
  return records.filter((record) => entityKey(record) !== key);
}

function dequeue(queue: readonly QueuedChange[], id: string): QueuedChange[] {
  return queue.filter(({ change }) => change.id !== id);
}

function byCounter(a: QueuedChange, b: QueuedChange): number {
  return Number(a.change.id.split(':')[1]) - Number(b.change.id.split(':')[1]);
}

// What is stored, made up.

/** In the order of their code units. */
export const NAMES = ['0', '10', '9', 'B', 'Z', 'a', 'a-1', 'a.1', 'a1', 'a:1', 'a@1', 'a_1', 'aa', 'a~1', 'b', 'z'];

const parsed = (text: string): JsonObject => JSON.parse(text);

export const HOSTILE: readonly (readonly [title: string, data: JsonObject])[] = [
  ['quotes and SQL', { "it's": "'); DROP TABLE records; --", '"': '`"\\', '?': '?1 :a $b @c' }],
  ['NUL and control characters', { 'a\0b': '\0', all: '\u0001\b\t\n\u000b\f\r\u001b\u007f\u0085\u2028\u2029\ufeff' }],
  ['emoji and other scripts', { '\u{1F469}\u200d\u{1F680}': 'e\u0301 \u00e9 \u202e \u4e2d\u6587 \u{10FFFF}' }],
  ['lone surrogates', { '\ud800': '\udfff', pair: ['\udc00\ud800', 'a\ud83d'] }],
  [
    'own keys that name a prototype',
    parsed('{"__proto__":{"x":1},"constructor":{"prototype":[]},"a":{"__proto__":2}}'),
  ],
  ['keys that look like indexes', { '10': 1, '9': 2, '': { '': {} }, '-1': [], length: 3 }],
  ['numbers at their limits', { max: 1.7976931348623157e308, min: 5e-324, safe: -(2 ** 53 - 1), third: 1 / 3 }],
  ['empty and nested containers', { a: {}, b: [], c: [[], [[null]], {}], d: null, e: '', f: false }],
];

/** For any store and any failure that a test means to bring about. */
export class Deliberate extends Error {}

export function typeOf(text: string): EntityType {
  return known(toEntityType(text), text);
}

export function keyOf(type: string, id: string): EntityKey {
  return entityKey({ entityType: typeOf(type), entityId: known(toEntityId(id), id) });
}

export function nodeOf(text: string): NodeId {
  return known(toNodeId(text), text);
}

export function stampAt(wallMs: number) {
  return formatStamp({ wallMs, counter: 0, node: NODE });
}

export function entity(type: string, id: string, data: JsonObject | null, seq = 1): EntityVersion {
  const entityId: EntityId = known(toEntityId(id), id);
  return { entityType: typeOf(type), entityId, data, seq, version: `n1:${seq + 1}`, stamp: stampAt(seq) };
}

export function idOf(version: EntityVersion): string {
  return version.entityId;
}

/** A record of exactly so many bytes as JSON. */
export function dataOfBytes(bytes: number): JsonObject {
  return { text: 'x'.repeat(bytes - JSON.stringify({ text: '' }).length) };
}

/** Changes whatever can be changed in a value; what is frozen stays. */
export function vandalize(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    vandalize(child);
    Reflect.set(value, key, 'changed');
  }
  Reflect.set(value, Array.isArray(value) ? value.length : 'added', 'added');
}

function thrownBy(body: () => unknown): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** Small enough that random calls meet the same row often. */
export const anyId = fc.constantFrom('a', 'B', 'a-1', '9', '10');
export const anyAfter = fc.constantFrom('', 'a', 'a-', '9', 'B', 'z');
export const anyLimit = fc.integer({ min: 0, max: 6 });
export const anyData: fc.Arbitrary<JsonObject> = fc
  .dictionary(fc.string({ unit: 'binary', maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }), { maxKeys: 4 })
  .map((value) => parsed(JSON.stringify(value)));

const NODE = nodeOf('n1');

const simpleOp: fc.Arbitrary<ReplicaOp> = fc.oneof(
  fc.record({ kind: fc.constant('meta' as const), cursor: fc.nat() }),
  fc
    .tuple(fc.constantFrom(...TYPES), anyId, fc.option(anyData), fc.nat({ max: 9 }))
    .map(([type, id, data, seq]) => ({ kind: 'write' as const, record: entity(type, id, data, seq) })),
  fc.tuple(fc.constantFrom(...TYPES), anyId).map(([type, id]) => ({ kind: 'remove' as const, key: keyOf(type, id) })),
  fc.record({
    kind: fc.constant('list' as const),
    type: fc.constantFrom(...TYPES.map(typeOf)),
    after: anyAfter,
    limit: anyLimit,
  }),
  fc
    .tuple(fc.integer({ min: 1, max: 12 }), anyData)
    .map(([counter, data]) => ({ kind: 'enqueue' as const, queued: queuedChange(counter, data) })),
  fc.record({ kind: fc.constant('dequeue' as const), counter: fc.integer({ min: 1, max: 12 }) }),
  fc.nat({ max: 99 }).map((cursor) => ({ kind: 'stage' as const, page: stagedPage(cursor) })),
  fc.constant({ kind: 'clear' as const }),
);

const replicaOp: fc.Arbitrary<ReplicaOp> = fc.letrec<{ op: ReplicaOp }>((tie) => ({
  op: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    { weight: 8, arbitrary: simpleOp },
    { weight: 1, arbitrary: fc.constant({ kind: 'reopen' as const }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('transaction' as const),
        ops: fc.array(tie('op'), { maxLength: 6 }),
        fails: fc.boolean(),
      }),
    },
  ),
})).op;

function replicaMeta(given: Partial<ReplicaMeta>): ReplicaMeta {
  return {
    nodeId: NODE,
    epoch: null,
    cursor: 0,
    counter: 0,
    settled: { upTo: 0, extra: [] },
    settledAt: [],
    received: { upTo: 0, extra: [] },
    digest: {},
    hlc: { wallMs: 0, counter: 0 },
    clockOffsetMs: 0,
    asOfMs: 0,
    lastSyncMs: 0,
    session: null,
    digestMismatches: 0,
    ...given,
  };
}

function idOfCounter(counter: number): string {
  return formatDot({ node: NODE, counter });
}

/** Rows have keys of their own. */
function slotOf(counter: number): number {
  return (counter * 7) % 1_000_003;
}

function queuedChange(counter: number, data: JsonObject = { counter }): QueuedChange {
  const change: QueuedChange['change'] = {
    id: idOfCounter(counter),
    entityType: typeOf('task'),
    entityId: known(toEntityId('a'), 'a'),
    operation: 'update',
    data,
    base: { cloud: 1 },
    stamp: stampAt(counter % 1_000),
    timestamp: 5,
    nodeId: NODE,
    priority: 'normal',
  };
  return {
    slot: slotOf(counter),
    order: counter,
    change,
    queuedAtMs: 5.5,
    bytes: 100,
    retryCount: 0,
    lastAttemptMs: null,
    error: null,
  };
}

function stagedPage(cursor: number): StagedPage {
  const results: StagedPage['answer']['results'] = [{ id: idOfCounter(1), status: 'applied', seq: cursor }];
  const data: JsonValue = { text: "it's", list: [cursor] };
  const { entityType, entityId, version, stamp } = entity('task', `remote-${cursor}`, data, cursor);
  return {
    batch: {
      batchId: `batch-${cursor}`,
      sourceNodeId: NODE,
      targetNodeId: 'cloud',
      cursor,
      lastSyncTimestamp: null,
      changes: [queuedChange(1).change],
    },
    answer: {
      batchId: `batch-${cursor}`,
      results,
      changes: [{ entityType, entityId, operation: 'update', seq: cursor, data, version, stamp, origin: 'n1' }],
      cursor,
      more: true,
      vectorClock: { cloud: cursor },
      serverTime: 1,
    },
  };
}

function known<T>(made: T | undefined, text: string): T {
  if (made === undefined) throw new Error(`not a name: ${text}`);
  return made;
}
