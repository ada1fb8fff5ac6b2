import { createCollection, createLiveQueryCollection, createTransaction, gt } from '@tanstack/db';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import * as z from 'zod';
import type { EdgeCloudClient } from '../../src/client/client.ts';
import { causewayCollectionOptions, causewayMutations } from '../../src/client/tanstack-db.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { Policies } from '../../src/core/policy.ts';
import { policies } from '../../src/policies.ts';
import { began } from './clients.ts';

type Notes = Policies<{ note: { n: number; text?: string }; tag: { n: number } }>;

/** A collection of notes with a live query of those above zero, and all that the query has told, in order. */
async function opened(client: EdgeCloudClient<Notes>) {
  const notes = createCollection(causewayCollectionOptions({ client, entityType: 'note' }));
  const query = createLiveQueryCollection((q) => q.from({ note: notes }).where(({ note }) => gt(note.n, 0)));
  await query.preload();
  const told: string[] = [];
  const subscription = query.subscribeChanges((changes) => {
    for (const { type, key, value } of changes) told.push(`${type} ${key} ${value.n}${value.$synced ? '' : '?'}`);
  });
  onTestFinished(() => subscription.unsubscribe());
  const shown = () => [...query.toArray].map(({ id, n }) => `${id} ${n}`).sort();
  return { notes, query, told, shown };
}

describe('[S53] a collection of TanStack DB', () => {
  test('begins with all that the client has, page by page, and with what is written meanwhile', async () => {
    const { client } = began();
    const a = (await client('a')) as EdgeCloudClient<Notes>;
    await a.sync();
    a.setNetwork({ online: false });
    for (let n = 0; n < 250; n += 1) await a.write('note', `x${n}`, { n });
    const { list } = a;
    vi.spyOn(a, 'list').mockImplementationOnce(async (...args) => {
      const page = await list.apply(a, args);
      // Of the page that was read before.
      await a.write('note', 'x1', { n: 77 });
      await a.delete('note', 'x10');
      await a.write('note', 'late', { n: 7 });
      return page as never;
    });
    const { shown, notes } = await opened(a);
    expect(notes.size).toBe(250);
    expect(shown()).toEqual(expect.arrayContaining(['late 7', 'x1 77', 'x99 99']));
    expect(notes.has('x10')).toBe(false);
  });

  test('takes inserts, updates and deletes at once, and goes from the guess to what is durable without a flicker', async () => {
    const { client, call } = began();
    const a = (await client('a')) as EdgeCloudClient<Notes>;
    const { notes, shown, told } = await opened(a);
    const insert = notes.insert({ id: 'x', n: 1 });
    expect(shown()).toEqual(['x 1']);
    await insert.isPersisted.promise;
    expect(await a.read('note', 'x')).toMatchObject({ data: { n: 1 } });
    const update = notes.update('x', (draft) => {
      draft.n = 2;
    });
    expect(shown()).toEqual(['x 2']);
    await update.isPersisted.promise;
    await a.sync();
    expect((await call('GET', 'data/note/x')).json['data']).toEqual({ n: 2 });
    const removal = notes.delete('x');
    expect(shown()).toEqual([]);
    await removal.isPersisted.promise;
    expect(await a.read('note', 'x')).toBeNull();
    // Each guess, and then the same as a fact.
    expect(told).toEqual(['insert x 1?', 'update x 1', 'update x 2?', 'update x 2', 'delete x 2']);
  });

  test('shows what another client writes; an update writes the fields that it changed, and leaves the others', async () => {
    const { client } = began();
    const a = (await client('a')) as EdgeCloudClient<Notes>;
    const b = (await client('b')) as EdgeCloudClient<Notes>;
    const { notes, shown } = await opened(a);
    await (await b.write('note', 'x', { n: 1 })).settled;
    await a.sync();
    expect(shown()).toEqual(['x 1']);
    a.setNetwork({ online: false });
    await notes.update('x', (draft) => {
      draft.text = 'of a';
    }).isPersisted.promise;
    expect((await a.read('note', 'x'))?.data).toEqual({ n: 1, text: 'of a' });
    a.setNetwork({ online: true });
    await a.sync();

    const slow = createTransaction({ mutationFn: causewayMutations(a), autoCommit: false });
    slow.mutate(() =>
      notes.update('x', (draft) => {
        draft.text = 'later';
      }),
    );
    await b.sync();
    await (await b.patch('note', 'x', [{ op: 'set', path: 'n', value: 5 }])).settled;
    await a.sync();
    await slow.commit();
    expect((await a.read('note', 'x'))?.data).toEqual({ n: 5, text: 'later' });
    expect(shown()).toEqual(['x 5']);
    await a.sync();
    await b.sync();
    await (await b.delete('note', 'x')).settled;
    await a.sync();
    expect(shown()).toEqual([]);
  });

  test('takes back what the client refuses, and later what the cloud refuses', async () => {
    const { client } = began();
    const a = (await client('a')) as EdgeCloudClient<Notes>;
    const { notes, shown } = await opened(a);
    const wrong = notes.insert({ id: 'x', n: 1, text: Number.NaN as never });
    expect(shown()).toEqual(['x 1']);
    await expect(wrong.isPersisted.promise).rejects.toMatchObject({ code: 'invalid_data' });
    expect(shown()).toEqual([]);

    const inUse: Record<string, unknown> = policies.types;
    Object.assign(inUse, definePolicies({ types: { note: { schema: z.object({ n: z.number().max(9) }) } } }).types);
    onTestFinished(() => void delete inUse['note']);
    const dead = new Promise((resolve) => a.on('deadLetter', resolve));
    await notes.insert({ id: 'y', n: 10 }).isPersisted.promise;
    expect(await dead).toMatchObject({ code: 'invalid_data' });
    await Promise.resolve();
    expect(shown()).toEqual([]);
    expect(await a.deadLetters()).toMatchObject([{ entityId: 'y' }]);
  });

  test('[I8] writes several records as one transaction, also of several collections', async () => {
    const { client } = began();
    const a = (await client('a')) as EdgeCloudClient<Notes>;
    const b = (await client('b')) as EdgeCloudClient<Notes>;
    await a.sync();
    a.setNetwork({ online: false });
    const { notes, shown } = await opened(a);
    const tags = createCollection(causewayCollectionOptions({ client: a, entityType: 'tag' }));
    await tags.preload();
    await notes.insert([
      { id: 'x', n: 1 },
      { id: 'y', n: 2 },
    ]).isPersisted.promise;
    expect(shown()).toEqual(['x 1', 'y 2']);

    const both = () => createTransaction({ mutationFn: causewayMutations(a) });
    const good = both();
    good.mutate(() => {
      notes.update('x', (draft) => {
        draft.n = 3;
      });
      tags.insert({ id: 't', n: 1 });
    });
    await good.isPersisted.promise;
    expect((await a.read('tag', 't'))?.data).toEqual({ n: 1 });

    const bad = both();
    bad.mutate(() => {
      notes.update('x', (draft) => {
        draft.n = 4;
      });
      tags.insert({ id: 'u', n: Number.NaN });
    });
    await expect(bad.isPersisted.promise).rejects.toMatchObject({ code: 'invalid_data' });
    expect([shown(), tags.has('u')]).toEqual([['x 3', 'y 2'], false]);
    expect((await a.read('note', 'x'))?.data).toEqual({ n: 3 });
    // Two and two that belong together: not four by themselves.
    expect(a.status().queue.pending).toBe(4);

    const foreign = createTransaction({ mutationFn: causewayMutations(b) });
    foreign.mutate(() => notes.delete('x'));
    await expect(foreign.isPersisted.promise).rejects.toThrow(/not of this client/);
    expect(shown()).toEqual(['x 3', 'y 2']);
  });
});
