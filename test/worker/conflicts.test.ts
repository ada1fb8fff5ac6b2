import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { describe, expect, test } from 'vitest';
import type { ApiBindings } from '../../src/api/env.ts';
import { type SpaceId, toEntityId, toEntityType, toSpaceId } from '../../src/core/ids.ts';
import { d1Projection } from '../../src/store/d1-projection.ts';
import { durableObjectSqlite } from '../../src/store/do-sqlite.ts';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import type { ConflictRecord, ProjectionPage } from '../../src/sync/ports.ts';
import { HOSTILE } from '../contract/replica-store.ts';

const typed: Pick<ApiBindings, 'CLOUD' | 'EDGE'> = env as never;

function made<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('a value is missing in a test');
  return value;
}

/** A space of its own for each test, so that nothing is shared. */
function freshSpace() {
  const space = made(toSpaceId(`s${crypto.randomUUID()}`));
  const cloudObject = () => env.CLOUD.getByName(space);
  return {
    space,
    cloud: () => typed.CLOUD.getByName(space),
    edge: (node: string) => typed.EDGE.getByName(`${space}/${node}`),
    /** By the alarm now, unless it is at work already; where none is set, D1 stays behind. */
    project: async () => {
      await runDurableObjectAlarm(cloudObject());
      const isBehind = async () => (await typed.CLOUD.getByName(space).lag()).lagMs > 0;
      for (let tries = 0; tries < 100 && (await isBehind()); tries += 1) await scheduler.wait(25);
    },
    /** Conflicts are decided at once by policy; this makes one wait for people. */
    reopen: (id: string) =>
      runInDurableObject(cloudObject(), (_, { storage }) => {
        const store = new SqlCloudStore(durableObjectSqlite(storage));
        store.writeConflict({ ...made(store.readConflict(id)), status: 'open' });
      }),
  };
}
type Space = ReturnType<typeof freshSpace>;

const entityOf = (type: string, id: string) => ({
  entityType: made(toEntityType(type)),
  entityId: made(toEntityId(id)),
});

/** Nodes `a` and `b` write the same apart. `b` is first in the cloud; its write is the later one too, so it wins. */
async function dispute({ edge, cloud }: Space, type: string, id: string): Promise<ConflictRecord> {
  const write = (node: string) => {
    return edge(node).write({ ...entityOf(type, id), kind: 'put', data: { by: node, quote: `'"\\` } }, {}, 0);
  };
  await edge('a').setNetwork({ online: false });
  await write('a');
  await scheduler.wait(2);
  await write('b');
  await edge('b').sync();
  await edge('a').setNetwork({ online: true });
  await edge('a').sync();
  const { items } = await cloud().conflicts({ status: 'all', entityTypes: [type], after: '', limit: 1_000 });
  return made(items.at(-1));
}

async function conflictRows(space: SpaceId) {
  const { results } = await env.DB.prepare('SELECT * FROM conflicts WHERE space = ? ORDER BY revision')
    .bind(space)
    .all();
  return results.map(({ value, ...columns }) => ({ ...columns, value: JSON.parse(String(value)) as unknown }));
}

const rowOf = (space: SpaceId) => (conflict: ConflictRecord) => ({
  space,
  id: conflict.id,
  entity_type: conflict.entityType,
  entity_id: conflict.entityId,
  type: conflict.type,
  status: conflict.status,
  at_ms: conflict.atMs,
  revision: conflict.revision,
  value: conflict,
});

describe('[I3] D1 holds the conflicts that the cloud holds', () => {
  const held = async ({ cloud, space }: Space) => {
    const { items } = await cloud().conflicts({ status: 'all', after: '', limit: 100 });
    return items.toSorted((one, other) => one.revision - other.revision).map(rowOf(space));
  };

  test('new and decided ones, also where the entity did not change', async () => {
    const space = freshSpace();
    await dispute(freshSpace(), 'note', 'x');
    await space.cloud().write({ ...entityOf('note', 'y'), kind: 'put', data: {} });
    await space.project();
    const { seq } = await dispute(space, 'note', 'x');
    await space.project();
    expect(seq).toBe(2);
    await dispute(space, 'task', 'x');
    expect((await space.cloud().lag()).asOfMs).toBeGreaterThan(0);
    await space.project();
    expect(await conflictRows(space.space)).toEqual(await held(space));
    const { id } = made((await space.cloud().conflicts({ status: 'all', after: '', limit: 1 })).items[0]);
    // The winner's content is there already: the history doesn't grow, and the conflict is projected all the same.
    for (const winner of ['local', 'remote'] as const) {
      const before = await conflictRows(space.space);
      expect((await space.cloud().resolveConflict(id, { winner }, 'ada', {})).result.ok).toBe(true);
      await space.project();
      const after = await conflictRows(space.space);
      expect(after).toEqual(await held(space));
      expect(after).not.toEqual(before);
    }
    expect(await conflictRows(space.space)).toHaveLength(2);
    expect(await space.cloud().lag()).toMatchObject({ lagMs: 0 });
  });

  const given = (conflict: ConflictRecord, revision: number, epoch = 'one'): ProjectionPage => {
    const { entityType, entityId } = conflict;
    const entity = {
      entityType,
      entityId,
      data: { revision },
      seq: revision,
      version: 'cloud:1',
      stamp: conflict.local.stamp,
    };
    const conflicts = [{ ...conflict, revision }];
    const entities = [{ ...entity, stamp: entity.stamp as never }];
    return { epoch, entities, conflicts, seq: revision, conflictRevision: revision, asOfMs: revision };
  };
  const revisionsOf = async (space: SpaceId) => {
    const entities = await env.DB.prepare('SELECT seq FROM entities WHERE space = ? ORDER BY seq').bind(space).all();
    const conflicts = await conflictRows(space);
    return [entities.results.map(({ seq }) => seq), conflicts.map(({ value }) => (value as ConflictRecord).revision)];
  };

  test('[S9] whatever comes twice or late, and nothing of a page that failed in the middle', async () => {
    const conflict = await dispute(freshSpace(), 'note', 'x');
    const { space } = freshSpace();
    const sink = d1Projection(env.DB, space);
    expect(await sink.position()).toEqual({ epoch: null, seq: 0, conflictRevision: 0 });
    for (const revision of [3, 3, 7, 7, 3]) await sink.apply(given(conflict, revision));
    expect(await revisionsOf(space)).toEqual([[7], [7]]);
    const reached = { epoch: 'one', seq: 7, conflictRevision: 7 };
    expect(await sink.position()).toEqual(reached);
    // The second statement of the batch fails: the first one, and the cursors, are taken back with it.
    const broken = { ...conflict, revision: 9, entityId: null as never };
    await expect(sink.apply({ ...given(conflict, 9), conflicts: [broken] })).rejects.toThrow(/NOT NULL/);
    expect(await revisionsOf(space)).toEqual([[7], [7]]);
    expect(await sink.position()).toEqual(reached);
    await sink.apply(given(conflict, 9));
    expect(await revisionsOf(space)).toEqual([[9], [9]]);
  });

  test('[S9] of another epoch, whose numbers are lower, page by page', async () => {
    const conflict = await dispute(freshSpace(), 'note', 'x');
    const { space } = freshSpace();
    const sink = d1Projection(env.DB, space);
    await sink.apply(given(conflict, 900));
    const other = { ...conflict, id: 'c2', entityId: made(toEntityId('other')) };
    await sink.apply(given(other, 901));
    for (const each of [given(other, 2, 'two'), given(conflict, 3, 'two'), given(other, 2, 'two')])
      await sink.apply(each);
    expect(await sink.position()).toEqual({ epoch: 'two', seq: 3, conflictRevision: 3 });
    expect(await revisionsOf(space)).toEqual([
      [2, 3],
      [2, 3],
    ]);
  });

  test('character by character', async () => {
    const conflict = await dispute(freshSpace(), 'note', 'x');
    const { space } = freshSpace();
    const conflicts = HOSTILE.map(([title, data], index): ConflictRecord => {
      const local = { ...conflict.local, data };
      return { ...conflict, id: `c${index}`, local, decidedBy: title, revision: index + 1 };
    });
    await d1Projection(env.DB, space).apply({ ...given(conflict, 99), conflicts });
    const { results } = await env.DB.prepare('SELECT value FROM conflicts WHERE space = ? ORDER BY revision')
      .bind(space)
      .all();
    expect(results.map(({ value }) => value)).toEqual(conflicts.map((each) => JSON.stringify(each)));
  });
});

type Claims = Record<string, unknown>;

async function call(method: string, path: string, claims: Claims, body?: unknown, headers = {}) {
  const token = await sign(claims as never, env.CAUSEWAY_SECRET, 'HS256');
  const response = await exports.default.fetch(`http://localhost/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const json = (await response.json()) as Record<string, unknown>;
  return { status: response.status, code: json['code'], json, headers: response.headers };
}

describe('POST /v1/conflicts/{id}/resolve', () => {
  test('decides an open conflict, by whoever the token names, and the nodes get the outcome', async () => {
    const space = freshSpace();
    const { cloud, edge, reopen } = space;
    const { id, local } = await dispute(space, 'note', 'x');
    await reopen(id);
    const admin = { space: space.space, role: 'admin', sub: 'ada@example.org' };
    expect((await call('GET', 'conflicts', admin)).json).toMatchObject({ items: [{ id, status: 'open' }], next: null });
    const current = { 'If-Match': `"${local.version}"` };
    const wrong = await call('POST', `conflicts/${id}/resolve`, admin, { data: { n: 3 } }, { 'If-Match': '"a:99"' });
    expect(wrong).toMatchObject({ status: 412, code: 'precondition_failed', json: { current: local.version } });

    await edge('b').sync();
    const cursorOfB = async () => (await edge('b').status()).cursor;
    const before = await cursorOfB();
    const decided = await call('POST', `conflicts/${id}/resolve`, admin, { data: { n: 3 } }, current);
    expect(decided).toMatchObject({
      status: 200,
      json: {
        id,
        status: 'resolved',
        resolution: {
          winner: 'merged',
          resolvedData: { n: 3 },
          metadata: { strategy: 'manual', reason: 'decided by ada@example.org' },
        },
        history: [{ by: null, resolution: { winner: 'local' } }],
      },
    });
    expect(decided.headers.get('X-Causal-Token')).toBeTruthy();
    expect((await call('GET', `conflicts/${id}`, admin)).json).toEqual(decided.json);
    expect((await call('GET', 'conflicts', admin)).json).toEqual({ items: [], next: null });
    expect((await call('GET', 'conflicts?status=resolved', admin)).json).toEqual({ items: [decided.json], next: null });
    // Nothing but the poke makes b ask: its own alarm is 30 s away.
    for (let tries = 0; tries < 200 && (await cursorOfB()) === before; tries += 1) await scheduler.wait(25);
    expect(await cursorOfB()).toBe(before + 1);
    const seen = { 'X-Causal-Token': decided.headers.get('X-Causal-Token') ?? '' };
    expect((await call('GET', 'edge/a/data/note/x', admin, undefined, seen)).json).toMatchObject({ data: { n: 3 } });

    const again = await call(
      'POST',
      `conflicts/${id}/resolve`,
      { space: space.space, role: 'admin' },
      { winner: 'remote' },
    );
    expect(again.json).toMatchObject({
      resolution: { winner: 'remote', metadata: { reason: 'decided by admin' } },
      decidedBy: 'admin',
      history: [{ by: null }, { by: 'ada@example.org', resolution: { winner: 'merged' } }],
    });
    expect((await cloud().read(`note/x` as never)).entity?.data).toMatchObject({ by: 'a' });
  });

  test('refuses bodies that are not exactly one decision, and records that may not be stored', async () => {
    const space = freshSpace();
    const { id } = await dispute(space, 'note', 'x');
    const admin = { space: space.space, role: 'admin' };
    const before = await space.cloud().conflict(id);
    const bad: [unknown, number, string][] = [
      [{}, 400, 'bad_request'],
      [[], 400, 'bad_request'],
      ['{"winner":', 400, 'bad_json'],
      [undefined, 400, 'bad_json'],
      [{ winner: 'local', data: {} }, 400, 'bad_request'],
      [{ winner: 'merged' }, 400, 'bad_request'],
      [{ winner: null }, 400, 'bad_request'],
      [{ data: [] }, 400, 'bad_request'],
      [{ data: 'text' }, 400, 'bad_request'],
      [{ data: {}, by: 'somebody else' }, 400, 'bad_request'],
      [{ winner: 'local', status: 'open' }, 400, 'bad_request'],
      [{ data: { text: 'x'.repeat(300_000) } }, 413, 'too_large'],
    ];
    for (const [body, status, code] of bad) {
      const answer = await call('POST', `conflicts/${id}/resolve`, admin, body);
      expect(answer, JSON.stringify(body)?.slice(0, 80)).toMatchObject({ status, code });
    }
    expect(await space.cloud().conflict(id)).toEqual(before);
    expect(await call('POST', `conflicts/${id}/resolve`, admin, { data: null })).toMatchObject({
      status: 200,
      json: { resolution: { winner: 'merged', resolvedData: null } },
    });
    expect((await call('GET', 'data/note/x', admin)).status).toBe(404);
  });

  test('[I9] is for admins whose token may write the type, and for their own space only', async () => {
    const space = freshSpace();
    const { id } = await dispute(space, 'note', 'x');
    const other = freshSpace();
    const path = `conflicts/${id}/resolve`;
    const body = { winner: 'remote' };
    const before = await space.cloud().conflict(id);
    const forbidden = { status: 403, code: 'forbidden' };
    const mine = { space: space.space, role: 'admin' };
    expect(await call('POST', path, { ...mine, role: 'client' }, body)).toMatchObject(forbidden);
    expect(await call('POST', path, { ...mine, role: 'node', node: 'a' }, body)).toMatchObject(forbidden);
    expect(await call('POST', path, { ...mine, types: { write: ['task'] } }, body)).toMatchObject(forbidden);
    expect(await call('POST', path, { ...mine, types: { read: ['task'] } }, body)).toMatchObject(forbidden);
    const missing = await call('POST', 'conflicts/c999999999999/resolve', mine, body);
    const foreign = await call('POST', path, { space: other.space, role: 'admin' }, body);
    expect(missing).toMatchObject({ status: 404, code: 'not_found' });
    expect([foreign.status, foreign.json]).toEqual([missing.status, missing.json]);
    expect(await space.cloud().conflict(id)).toEqual(before);
    const allowed = { ...mine, types: { read: ['note'], write: ['note'] } };
    expect((await call('POST', path, allowed, body)).status).toBe(200);
  });
});

test('[I9] a page of the inbox is full of what the token may read, and the next one goes on behind it', async () => {
  const space = freshSpace();
  const { reopen } = space;
  const ids: string[] = [];
  for (const type of ['note', 'task', 'note', 'task', 'note']) {
    const { id } = await dispute(space, type, `x${ids.length}`);
    await reopen(id);
    ids.push(id);
  }
  const all = { space: space.space, role: 'admin' };
  const notes = { ...all, types: { read: ['note', 'secret'] } };
  const page = async (claims: Claims, query: string) => {
    const { json } = await call('GET', `conflicts?${query}`, claims);
    return [(json['items'] as { id: string }[]).map(({ id }) => id), json['next']];
  };
  expect(await page(all, 'limit=5')).toEqual([ids, null]);
  expect(await page(notes, 'limit=2')).toEqual([[ids[0], ids[2]], ids[2]]);
  expect(await page(notes, `limit=2&after=${ids[2]}`)).toEqual([[ids[4]], null]);
  expect(await page(notes, 'limit=2&entityType=note')).toEqual([[ids[0], ids[2]], ids[2]]);
  expect(await page(all, 'limit=1&entityType=task')).toEqual([[ids[1]], ids[1]]);
  expect(await page(all, 'entityType=none')).toEqual([[], null]);
  expect(await page({ ...all, types: { read: [] } }, '')).toEqual([[], null]);
  const refused: [string, number, string][] = [
    ['entityType=task', 403, 'forbidden'],
    ['entityType=_', 400, 'bad_name'],
    ['status=closed', 400, 'bad_request'],
    ['limit=0', 400, 'bad_request'],
  ];
  for (const [query, status, code] of refused) {
    expect(await call('GET', `conflicts?${query}`, notes)).toMatchObject({ status, code });
  }
  expect(await call('GET', `conflicts/${ids[1]}`, notes)).toMatchObject({ status: 403 });
});
