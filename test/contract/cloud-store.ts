import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EntityVersion } from '../../src/core/entity.ts';
import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import type { Refusal } from '../../src/protocol/record.ts';
import type { CloudMeta, CloudStore, ConflictFilter, ConflictRecord, NodeRecord } from '../../src/sync/ports.ts';
import { memoRules } from './memos.ts';
import {
  anyAfter,
  anyData,
  anyId,
  anyLimit,
  Deliberate,
  dataOfBytes,
  entity,
  HOSTILE,
  idOf,
  keyOf,
  NAMES,
  nodeOf,
  type Opened,
  stampAt,
  stepInTransaction,
  transactionRules,
  vandalize,
  type WithStore,
} from './replica-store.ts';

/** What every `CloudStore` does. */
export function cloudStoreContract(name: string, withStore: WithStore<CloudStore>): void {
  const rule = (title: string, check: (opened: Opened<CloudStore>) => void | Promise<void>) => {
    test(title, async () => {
      await withStore(check);
    });
  };

  describe(`${name} as a cloud store`, () => {
    memoRules(rule);

    rule('a fresh store is empty', ({ store }) => {
      expect(viewOf(store)).toEqual(EMPTY_VIEW);
      expect(store.readEntity(keyOf('task', 'a'))).toBeUndefined();
      expect(store.readNode(nodeOf('n1'))).toBeUndefined();
      expect(store.readRefusal('n1:1')).toBeUndefined();
      expect(store.readConflict('c1')).toBeUndefined();
    });

    rule('meta comes back as it was written last, and there is one of it', async ({ store, reopen }) => {
      store.writeMeta(cloudMeta(1));
      const last = {
        ...cloudMeta(2 ** 53 - 1),
        digest: { task: 'f'.repeat(32) },
        projected: { seq: 3, conflictRevision: 4, atMs: 4.5 },
      };
      store.writeMeta(last);
      expect(store.readMeta()).toEqual(last);
      expect((await reopen()).readMeta()).toEqual(last);
    });

    rule('an entity is read by its key, and only by its key', ({ store }) => {
      const written = entity('task', 'a', { n: 1 }, 5);
      store.writeEntity(written);
      expect(store.readEntity(keyOf('task', 'a'))).toEqual(written);
      expect(store.readEntity(keyOf('task', 'A'))).toBeUndefined();
      expect(store.readEntity(keyOf('note', 'a'))).toBeUndefined();
    });

    rule('the feed is in order of seq, as numbers, whatever was written first', async ({ store, reopen }) => {
      const seqs = [10, 9, 1, 100, 2 ** 31, 2 ** 53 - 1, 2];
      for (const seq of seqs) store.writeEntity(entity('task', `e${seq}`, { seq }, seq));
      const ordered = seqs.toSorted((a, b) => a - b);
      expect(store.readAfter(0, 100).map(seqOf)).toEqual(ordered);
      expect((await reopen()).readAfter(0, 100).map(seqOf)).toEqual(ordered);
    });

    rule('a page of the feed begins behind a seq, and has at most `limit` entities', ({ store }) => {
      for (const seq of [2, 4, 6, 8]) store.writeEntity(entity('task', `e${seq}`, { seq }, seq));
      const page = (seq: number, limit: number) => store.readAfter(seq, limit).map(seqOf);
      expect(page(0, 2)).toEqual([2, 4]);
      expect(page(4, 2)).toEqual([6, 8]);
      expect(page(5, 1)).toEqual([6]);
      expect(page(8, 10)).toEqual([]);
      expect(page(0, 0)).toEqual([]);
      expect(page(2 ** 53 - 1, 10)).toEqual([]);
    });

    rule('an entity that changes again moves to its new place in the feed', async ({ store, reopen }) => {
      store.writeEntity(entity('task', 'a', { n: 1 }, 1));
      store.writeEntity(entity('task', 'b', { n: 1 }, 2));
      const next = { ...entity('task', 'a', { n: 2 }, 3), version: 'cloud:3', stamp: stampAt(99) };
      store.writeEntity(next);
      expect(store.readAfter(0, 10).map(idOf)).toEqual(['b', 'a']);
      expect(store.readAfter(2, 10)).toEqual([next]);
      expect(store.readEntity(keyOf('task', 'a'))).toEqual(next);
      expect((await reopen()).readAfter(0, 10).map(seqOf)).toEqual([2, 3]);
    });

    rule('a tombstone has its place in the feed, without data', ({ store }) => {
      store.writeEntity(entity('task', 'a', { n: 1 }, 1));
      store.writeEntity(entity('task', 'empty', {}, 2));
      store.writeEntity(entity('task', 'a', null, 3));
      expect(store.readAfter(0, 10).map(({ data }) => data)).toEqual([{}, null]);
      expect(store.readEntity(keyOf('task', 'a'))).toEqual(entity('task', 'a', null, 3));
    });

    rule("a place in the feed is one entity's: a second one is refused, and changes nothing", ({ store }) => {
      store.writeEntity(entity('task', 'a', { mine: 1 }, 1));
      store.writeEntity(entity('task', 'b', { mine: 2 }, 2));
      const before = viewOf(store);
      expect(() => store.writeEntity(entity('task', 'c', { mine: 3 }, 1))).toThrow();
      expect(viewOf(store)).toEqual(before);
      expect(() => store.writeEntity(entity('task', 'b', { mine: 4 }, 1))).toThrow();
      expect(viewOf(store)).toEqual(before);
    });

    rule('an entity that is written again with its own seq is replaced', ({ store }) => {
      store.writeEntity(entity('task', 'a', { n: 1 }, 1));
      store.writeEntity(entity('task', 'a', { n: 2 }, 1));
      expect(store.readAfter(0, 10)).toEqual([entity('task', 'a', { n: 2 }, 1)]);
    });

    rule('a node comes back as it was written last', async ({ store, reopen }) => {
      store.writeNode(nodeRecord('n1', 1));
      store.writeNode(nodeRecord('n2', 2));
      const last = fullNode('n1');
      store.writeNode(last);
      expect(store.readNode(nodeOf('n1'))).toEqual(last);
      expect(store.readNode(nodeOf('N1'))).toBeUndefined();
      expect(store.listNodeIds('', 10)).toEqual(['n1', 'n2']);
      expect((await reopen()).readNode(nodeOf('n1'))).toEqual(last);
    });

    rule('nodes are listed by the code units of their ids, behind `after`, at most `limit`', ({ store }) => {
      const names = NAMES.filter((name) => /^[\w.-]+$/.test(name));
      for (const id of names.toReversed()) store.writeNode(nodeRecord(id, 1));
      const list = (after: string, limit: number): readonly string[] => store.listNodeIds(after, limit);
      expect(list('', 100)).toEqual(names);
      for (const [index, id] of names.entries()) expect(list(id, 3)).toEqual(names.slice(index + 1, index + 4));
      expect(list('', 0)).toEqual([]);
      expect(list('~', 10)).toEqual([]);
      expect(list("' OR 1 = 1 --", 100)).toEqual(names);
    });

    rule('what was said first of a refused change stays said', async ({ store, reopen }) => {
      const issues = [{ path: 'a.b', message: 'no' }];
      const first: Refusal = { code: 'invalid_data', detail: "it's \0 \u{1F600}", issues };
      store.writeRefusal('n1:1', first);
      store.writeRefusal('n1:1', { code: 'too_large', detail: 'later' });
      store.writeRefusal('n1:2', { code: 'forbidden', detail: '' });
      expect(store.readRefusal('n1:1')).toEqual(first);
      expect(store.readRefusal('n1:11')).toBeUndefined();
      const again = await reopen();
      expect(again.readRefusal('n1:1')).toEqual(first);
      expect(again.readRefusal('n1:2')?.code).toBe('forbidden');
    });

    rule('a conflict comes back as it was written last', async ({ store, reopen }) => {
      store.writeConflict(conflict('c1'));
      const resolved: ConflictRecord = {
        ...conflict('c1', { status: 'resolved', revision: 2 }),
        base: { data: { n: 0 } },
        remote: { version: 'n1:2', stamp: stampAt(2), data: null },
        decidedBy: "it's me",
        history: [{ resolution: conflict('c1').resolution, atMs: 8.5, by: null }],
      };
      store.writeConflict(resolved);
      expect(store.readConflict('c1')).toEqual(resolved);
      expect(store.readConflict('C1')).toBeUndefined();
      expect(store.listConflicts(everything)).toHaveLength(1);
      expect((await reopen()).readConflict('c1')).toEqual(resolved);
    });

    rule(
      'the feed of conflicts is in order of revision, as numbers, whatever was written first',
      async ({ store, reopen }) => {
        const revisions = [10, 9, 1, 100, 2 ** 31, 2 ** 53 - 1, 2];
        for (const revision of revisions) store.writeConflict(conflict(`c${revision}`, { revision }));
        const ordered = revisions.toSorted((a, b) => a - b);
        expect(store.readConflictsAfter(0, 100).map(revisionOf)).toEqual(ordered);
        expect(store.readConflictsAfter(9, 2).map(revisionOf)).toEqual([10, 100]);
        expect(store.readConflictsAfter(2 ** 53 - 1, 10)).toEqual([]);
        expect(store.readConflictsAfter(0, 0)).toEqual([]);
        expect((await reopen()).readConflictsAfter(0, 100).map(revisionOf)).toEqual(ordered);
      },
    );

    rule(
      '[S8] a conflict that is written again moves to its new place in the feed of conflicts',
      async ({ store, reopen }) => {
        store.writeConflict(conflict('c1', { revision: 1 }));
        store.writeConflict(conflict('c2', { revision: 2 }));
        const next = conflict('c1', { revision: 3, status: 'resolved' });
        store.writeConflict(next);
        expect(store.readConflictsAfter(0, 10).map(nameOf)).toEqual(['c2', 'c1']);
        expect(store.readConflictsAfter(2, 10)).toEqual([next]);
        expect((await reopen()).readConflictsAfter(0, 10).map(revisionOf)).toEqual([2, 3]);
      },
    );

    rule("a revision is one conflict's: a second one is refused, and changes nothing", ({ store }) => {
      store.writeConflict(conflict('c1', { revision: 1 }));
      store.writeConflict(conflict('c2', { revision: 2 }));
      const before = viewOf(store);
      expect(() => store.writeConflict(conflict('c3', { revision: 1 }))).toThrow();
      expect(viewOf(store)).toEqual(before);
      expect(() => store.writeConflict(conflict('c2', { revision: 1, status: 'resolved' }))).toThrow();
      expect(viewOf(store)).toEqual(before);
    });

    rule('conflicts are listed by the code units of their ids, behind `after`, at most `limit`', ({ store }) => {
      for (const [index, id] of NAMES.toReversed().entries()) store.writeConflict(conflict(id, { revision: index }));
      const list = (after: string, limit: number) => store.listConflicts({ ...everything, after, limit }).map(nameOf);
      expect(list('', 100)).toEqual(NAMES);
      for (const [index, id] of NAMES.entries()) expect(list(id, 3)).toEqual(NAMES.slice(index + 1, index + 4));
      expect(list('', 0)).toEqual([]);
      expect(list('\u{1F600}', 10)).toEqual([]);
    });

    rule('conflicts are filtered by status and by type, and a page is filled with those that fit', ({ store }) => {
      const types = ['note', 'task', 'Task'];
      for (const [index, id] of NAMES.entries()) {
        const status = index % 2 === 0 ? 'open' : 'resolved';
        store.writeConflict(conflict(id, { status, entityType: types[index % 3] ?? '', revision: index }));
      }
      const list = (filter: Partial<ConflictFilter>) => store.listConflicts({ ...everything, ...filter }).map(nameOf);
      expect(list({})).toEqual(NAMES);
      expect(list({ entityTypes: undefined })).toEqual(NAMES);
      expect(list({ entityTypes: types })).toEqual(NAMES);
      expect(list({ status: 'open' })).toEqual(NAMES.filter((_, index) => index % 2 === 0));
      expect(list({ status: 'resolved' })).toEqual(NAMES.filter((_, index) => index % 2 === 1));
      expect(list({ entityTypes: ['task'] })).toEqual(NAMES.filter((_, index) => index % 3 === 1));
      expect(list({ entityTypes: ['task', 'Task'] })).toEqual(NAMES.filter((_, index) => index % 3 > 0));
      expect(list({ entityTypes: ['task'], status: 'open' })).toEqual(NAMES.filter((_, index) => index % 6 === 4));
      expect(list({ status: 'open', after: '10', limit: 2 })).toEqual(
        NAMES.filter((id, index) => index % 2 === 0 && id > '10').slice(0, 2),
      );
      expect(list({ entityTypes: ['task', 'Task'], status: 'open', limit: 2 })).toEqual(
        NAMES.filter((_, index) => index % 2 === 0 && index % 3 > 0).slice(0, 2),
      );
      expect(list({ entityTypes: [] })).toEqual([]);
      expect(list({ entityTypes: [''] })).toEqual([]);
      expect(list({ entityTypes: ["task' OR '1' = '1", '"', '["task"]', 'all'] })).toEqual([]);
    });

    rule('a conflict that is resolved leaves the open ones', ({ store }) => {
      store.writeConflict(conflict('c1', { status: 'open' }));
      store.writeConflict(conflict('c1', { status: 'resolved', revision: 2 }));
      expect(store.listConflicts({ ...everything, status: 'open' })).toEqual([]);
      expect(store.listConflicts({ ...everything, status: 'resolved' }).map(nameOf)).toEqual(['c1']);
    });

    let seq = 0;
    transactionRules(rule, {
      write: (store, id) => {
        seq += 1;
        store.writeEntity(entity('task', id, { id }, seq));
      },
      written: (store) => store.readAfter(0, 100).map(idOf),
    });

    rule('a transaction that throws takes back every kind of write', async ({ store, reopen }) => {
      store.writeMeta(cloudMeta(2));
      store.writeEntity(entity('task', 'a', { n: 1 }, 1));
      store.writeEntity(entity('task', 'b', { n: 1 }, 2));
      store.writeNode(nodeRecord('n1', 1));
      store.writeConflict(conflict('c1', { status: 'open' }));
      const before = viewOf(store);
      const fails = () => {
        store.writeMeta(cloudMeta(9));
        store.writeEntity(entity('task', 'a', null, 3));
        store.writeEntity(entity('task', 'new', {}, 4));
        store.writeNode(nodeRecord('n1', 2));
        store.writeNode(nodeRecord('n2', 2));
        store.writeRefusal('n1:1', { code: 'forbidden', detail: '' });
        store.writeConflict(conflict('c1', { status: 'resolved', revision: 2 }));
        store.writeConflict(conflict('c2', { revision: 3 }));
        throw new Deliberate();
      };
      expect(() => store.transaction(fails)).toThrow(Deliberate);
      expect(viewOf(store)).toEqual(before);
      const again = await reopen();
      expect(viewOf(again)).toEqual(before);
      expect(again.readRefusal('n1:1')).toBeUndefined();
    });

    for (const [title, data] of HOSTILE) {
      rule(`keeps ${title} in data as they are`, async ({ store, reopen }) => {
        store.writeEntity(entity('task', 'a', data));
        store.writeConflict(conflict('c1', { data }));
        const again = await reopen();
        for (const read of [
          again.readEntity(keyOf('task', 'a'))?.data,
          again.readAfter(0, 1)[0]?.data,
          again.readConflict('c1')?.local.data,
          again.listConflicts({ ...everything, entityTypes: ['task'], status: 'open' })[0]?.local.data,
          again.readConflictsAfter(0, 1)[0]?.remote.data,
        ]) {
          expect(JSON.stringify(read)).toBe(JSON.stringify(data));
        }
      });
    }

    rule('keeps the largest record, and a conflict that has it on every side', async ({ store, reopen }) => {
      const data = dataOfBytes(LIMITS.recordBytes);
      const largest = entity('task', 'a', data);
      store.writeEntity(largest);
      const disputed: ConflictRecord = { ...conflict('c1', { data }), base: { data } };
      store.writeConflict(disputed);
      const again = await reopen();
      expect(JSON.stringify(again.readAfter(0, 10))).toBe(JSON.stringify([largest]));
      expect(JSON.stringify(again.readConflict('c1'))).toBe(JSON.stringify(disputed));
    });

    rule('nobody changes what is stored through what was passed in or handed out', ({ store }) => {
      const passed = {
        meta: cloudMeta(1),
        entity: entity('task', 'a', { list: [1], deep: { n: 1 } }),
        node: fullNode('n1'),
        conflict: conflict('c1', { data: { list: [1] } }),
        refusal: { code: 'forbidden' as const, detail: 'no' },
      };
      store.writeMeta(passed.meta);
      store.writeEntity(passed.entity);
      store.writeNode(passed.node);
      store.writeConflict(passed.conflict);
      store.writeRefusal('n1:1', passed.refusal);
      const all = () => [
        viewOf(store),
        store.readEntity(keyOf('task', 'a')),
        store.readNode(nodeOf('n1')),
        store.readConflict('c1'),
        store.readRefusal('n1:1'),
      ];
      const before = structuredClone(all());
      vandalize(passed);
      expect(all()).toEqual(before);
      vandalize(all());
      expect(all()).toEqual(before);
    });

    test('does what a trivial model does, whatever the order of the calls', async () => {
      const property = fc.asyncProperty(fc.array(cloudOp, { maxLength: 25 }), async (ops) => {
        await withStore(async (opened) => {
          let store = opened.store;
          let model = EMPTY_MODEL;
          for (const op of ops) {
            if (op.kind === 'reopen') store = await opened.reopen();
            else model = cloudStep(store, model, op);
            expect(viewOf(store)).toEqual(viewOfModel(model));
            for (const id of CHANGE_IDS) expect(store.readRefusal(id)).toEqual(model.refusals.get(id));
          }
        });
      });
      await fc.assert(property, { numRuns: 60 });
    });
  });
}

// What is there, as one value.

interface CloudView {
  readonly meta: CloudMeta | undefined;
  readonly feed: readonly EntityVersion[];
  readonly nodes: readonly NodeRecord[];
  readonly conflicts: readonly ConflictRecord[];
  readonly conflictFeed: readonly ConflictRecord[];
}

const EMPTY_VIEW: CloudView = { meta: undefined, feed: [], nodes: [], conflicts: [], conflictFeed: [] };
const everything: ConflictFilter = { status: 'all', after: '', limit: 1_000 };

function viewOf(store: CloudStore): CloudView {
  return {
    meta: store.readMeta(),
    feed: store.readAfter(0, 1_000),
    nodes: store.listNodeIds('', 1_000).flatMap((id) => store.readNode(id) ?? []),
    conflicts: store.listConflicts(everything),
    conflictFeed: store.readConflictsAfter(0, 1_000),
  };
}

// The model: plain maps that are never changed, so that going back is keeping the old one.

interface CloudModel {
  readonly seq: number;
  readonly revision: number;
  readonly meta: CloudMeta | undefined;
  readonly entities: ReadonlyMap<EntityKey, EntityVersion>;
  readonly nodes: ReadonlyMap<string, NodeRecord>;
  readonly refusals: ReadonlyMap<string, Refusal>;
  readonly conflicts: ReadonlyMap<string, ConflictRecord>;
}

const EMPTY_MODEL: CloudModel = {
  seq: 0,
  revision: 0,
  meta: undefined,
  entities: new Map(),
  nodes: new Map(),
  refusals: new Map(),
  conflicts: new Map(),
};

const CHANGE_IDS = ['n1:1', 'n1:2', 'n2:1'] as const;

type CloudOp =
  | { readonly kind: 'meta'; readonly seq: number }
  | { readonly kind: 'write'; readonly id: string; readonly data: EntityVersion['data'] }
  | { readonly kind: 'feed'; readonly back: number; readonly limit: number }
  | { readonly kind: 'node'; readonly node: NodeRecord }
  | { readonly kind: 'nodes'; readonly after: string; readonly limit: number }
  | { readonly kind: 'refuse'; readonly changeId: string; readonly detail: string }
  | { readonly kind: 'conflict'; readonly conflict: ConflictRecord }
  | { readonly kind: 'conflicts'; readonly filter: ConflictFilter }
  | { readonly kind: 'conflict-feed'; readonly back: number; readonly limit: number }
  | { readonly kind: 'transaction'; readonly ops: readonly CloudOp[]; readonly fails: boolean }
  | { readonly kind: 'reopen' };

function cloudStep(store: CloudStore, model: CloudModel, op: CloudOp): CloudModel {
  switch (op.kind) {
    case 'meta': {
      const meta = cloudMeta(op.seq);
      store.writeMeta(meta);
      return { ...model, meta };
    }
    case 'write': {
      const seq = model.seq + 1;
      const written = entity('task', op.id, op.data, seq);
      const key = entityKey(written);
      expect(store.readEntity(key)).toEqual(model.entities.get(key));
      store.writeEntity(written);
      return { ...model, seq, entities: new Map(model.entities).set(key, written) };
    }
    case 'feed': {
      const after = Math.max(0, model.seq - op.back);
      const expected = viewOfModel(model).feed.filter(({ seq }) => seq > after);
      expect(store.readAfter(after, op.limit)).toEqual(expected.slice(0, op.limit));
      return model;
    }
    case 'node':
      expect(store.readNode(op.node.nodeId)).toEqual(model.nodes.get(op.node.nodeId));
      store.writeNode(op.node);
      return { ...model, nodes: new Map(model.nodes).set(op.node.nodeId, op.node) };
    case 'nodes': {
      const expected = viewOfModel(model).nodes.filter(({ nodeId }) => nodeId > op.after);
      expect(store.listNodeIds(op.after, op.limit)).toEqual(expected.slice(0, op.limit).map(({ nodeId }) => nodeId));
      return model;
    }
    case 'refuse': {
      const refusal: Refusal = { code: 'forbidden', detail: op.detail };
      store.writeRefusal(op.changeId, refusal);
      const isNew = !model.refusals.has(op.changeId);
      return isNew ? { ...model, refusals: new Map(model.refusals).set(op.changeId, refusal) } : model;
    }
    case 'conflict': {
      const revision = model.revision + 1;
      const written = { ...op.conflict, revision };
      expect(store.readConflict(written.id)).toEqual(model.conflicts.get(written.id));
      store.writeConflict(written);
      return { ...model, revision, conflicts: new Map(model.conflicts).set(written.id, written) };
    }
    case 'conflict-feed': {
      const after = Math.max(0, model.revision - op.back);
      const expected = viewOfModel(model).conflictFeed.filter(({ revision }) => revision > after);
      expect(store.readConflictsAfter(after, op.limit)).toEqual(expected.slice(0, op.limit));
      return model;
    }
    case 'conflicts': {
      const { status, entityTypes, after, limit } = op.filter;
      const expected = viewOfModel(model)
        .conflicts.filter(({ id }) => id > after)
        .filter((each) => status === 'all' || each.status === status)
        .filter((each) => entityTypes === undefined || entityTypes.includes(each.entityType));
      expect(store.listConflicts(op.filter)).toEqual(expected.slice(0, limit));
      const open = [...model.conflicts.values()].filter((conflict) => conflict.status === 'open');
      expect(store.countOpenConflicts()).toBe(open.length);
      return model;
    }
    case 'transaction':
      return stepInTransaction(store, model, op.fails, () => {
        return op.ops.reduce((before, each) => cloudStep(store, before, each), model);
      });
    case 'reopen':
      return model;
  }
}

function viewOfModel({ meta, entities, nodes, conflicts }: CloudModel): CloudView {
  return {
    meta,
    feed: [...entities.values()].sort((a, b) => a.seq - b.seq),
    nodes: [...nodes.values()].sort((a, b) => (a.nodeId < b.nodeId ? -1 : 1)),
    conflicts: [...conflicts.values()].sort((a, b) => (a.id < b.id ? -1 : 1)),
    conflictFeed: [...conflicts.values()].sort((a, b) => a.revision - b.revision),
  };
}

// What is stored, made up.

function cloudMeta(seq: number): CloudMeta {
  const hlc = { wallMs: 2 ** 48 - 1, counter: 0xffff };
  const conflicts = { conflicts: 2, conflictRevision: 3 };
  const projected = { seq: 0, conflictRevision: 0, atMs: 0 };
  return { epoch: 'epoch-1', seq, changedAtMs: 12.5, digest: {}, hlc, ...conflicts, projected };
}

function nodeRecord(id: string, cursor: number): NodeRecord {
  return {
    nodeId: nodeOf(id),
    received: { upTo: 0, extra: [] },
    hashes: [],
    sessions: [],
    answers: [],
    cursor,
    lastSeenAtMs: 5,
    pending: 0,
  };
}

function fullNode(id: string): NodeRecord {
  const answer: NodeRecord['answers'][number]['answer'] = {
    batchId: 'b1',
    results: [{ id: 'n1:1', status: 'rejected', code: 'invalid_data', detail: "it's" }],
    changes: [],
    cursor: 3,
    more: false,
    vectorClock: { cloud: 3 },
    serverTime: 1,
  };
  return {
    ...nodeRecord(id, 3),
    received: { upTo: 3, extra: [[5, 7]] },
    hashes: [
      [7, '89abcdef'],
      [6, '01234567'],
    ],
    sessions: [{ id: 's1', expiresAtMs: 9, capabilities: ['delta'] }],
    answers: [{ batchId: 'b1', hash: 'h', answer }],
  };
}

function conflict(
  id: string,
  given: {
    readonly status?: ConflictRecord['status'];
    readonly entityType?: string;
    readonly data?: EntityVersion['data'];
    readonly revision?: number;
  } = {},
): ConflictRecord {
  const { status = 'open', entityType = 'task', data = { n: 1 }, revision = 1 } = given;
  const written = entity(entityType, 'a', data);
  const side = { version: written.version, stamp: written.stamp, data };
  return {
    id,
    type: 'update-update',
    entityType: written.entityType,
    entityId: written.entityId,
    base: null,
    local: side,
    remote: side,
    resolution: { winner: 'local', resolvedData: data, metadata: { strategy: 'lww', reason: "it's later" } },
    decidedBy: null,
    decidedAtMs: 7.5,
    status,
    atMs: 7.5,
    seq: 4,
    history: [],
    revision,
  };
}

function seqOf(version: EntityVersion): number {
  return version.seq;
}

function revisionOf(record: ConflictRecord): number {
  return record.revision;
}

function nameOf(record: ConflictRecord): string {
  return record.id;
}

const anyStatus = fc.constantFrom('open' as const, 'resolved' as const);

const simpleOp: fc.Arbitrary<CloudOp> = fc.oneof(
  fc.record({ kind: fc.constant('meta' as const), seq: fc.nat() }),
  fc.record({ kind: fc.constant('write' as const), id: anyId, data: fc.option(anyData) }),
  fc.record({ kind: fc.constant('feed' as const), back: fc.nat({ max: 8 }), limit: anyLimit }),
  fc.tuple(anyId, fc.nat()).map(([id, cursor]) => ({ kind: 'node' as const, node: nodeRecord(id, cursor) })),
  fc.record({ kind: fc.constant('nodes' as const), after: anyAfter, limit: anyLimit }),
  fc.record({ kind: fc.constant('refuse' as const), changeId: fc.constantFrom(...CHANGE_IDS), detail: fc.string() }),
  fc.tuple(anyId, anyStatus, fc.constantFrom('note', 'task'), anyData).map(([id, status, entityType, data]) => ({
    kind: 'conflict' as const,
    conflict: conflict(id, { status, entityType, data }),
  })),
  fc.record({
    kind: fc.constant('conflicts' as const),
    filter: fc.record({
      status: fc.oneof(anyStatus, fc.constant('all' as const)),
      entityTypes: fc.option(fc.subarray(['note', 'task', 'other']), { nil: undefined }),
      after: anyAfter,
      limit: anyLimit,
    }),
  }),
  fc.record({ kind: fc.constant('conflict-feed' as const), back: fc.nat({ max: 8 }), limit: anyLimit }),
);

const cloudOp: fc.Arbitrary<CloudOp> = fc.letrec<{ op: CloudOp }>((tie) => ({
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
