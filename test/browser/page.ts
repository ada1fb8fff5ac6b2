/** What the pages of the tests run, as a program that uses the client would have it. */
import { createCollection, createLiveQueryCollection } from '@tanstack/db';
import { browserStorage } from '../../src/client/browser-storage.ts';
import { type ClientOptions, EdgeCloudClient } from '../../src/client/client.ts';
import { syncStatusOf } from '../../src/client/sync-status.ts';
import { causewayCollectionOptions } from '../../src/client/tanstack-db.ts';

/** By which a test drives a page. */
class App {
  client = new EdgeCloudClient({ nodeId: 'none', cloudEndpoint: '', token: '' });
  /** Of visible changes, in their order. */
  readonly heard: string[] = [];
  readonly settled: Promise<unknown>[] = [];

  async start(options: Omit<ClientOptions, 'storage'>): Promise<void> {
    this.client = new EdgeCloudClient({ ...options, storage: browserStorage() });
    this.#watchStatus();
    this.client.on('change', ({ entityId, operation }) => this.heard.push(`${operation} ${entityId}`));
    await this.client.initialize();
  }

  async write(id: string, data: Record<string, string | number> = { id }): Promise<void> {
    const { settled } = await this.client.write('note', id, data);
    this.settled.push(settled);
  }

  /** One after the other, until the test has enough; each is one record of its own, and counts one. */
  async writeMany(prefix: string): Promise<void> {
    for (let n = 0, isEnough = false; !isEnough; n += 1) {
      await this.write(`${prefix}${n}`);
      await this.count(prefix);
      isEnough = await acknowledge(`${prefix}${n}`);
    }
  }

  async count(id: string): Promise<void> {
    const one = { op: 'increment', path: 'n', value: 1 } as const;
    const isThere = (await this.client.read('count', id)) !== null;
    const { settled } = await (isThere
      ? this.client.patch('count', id, [one])
      : this.client.write('count', id, { n: 1 }));
    this.settled.push(settled);
  }

  /** Writes until that fails. */
  async fill(): Promise<{ error: string; before: string[] }> {
    const before: string[] = [];
    for (;;) {
      const id = crypto.randomUUID();
      // Which no disk makes smaller.
      const text = String.fromCharCode(...crypto.getRandomValues(new Uint8Array(50_000)));
      try {
        await this.write(id, { text });
      } catch (error) {
        return { error: error instanceof Error && 'code' in error ? String(error.code) : String(error), before };
      }
      before.push(id);
    }
  }

  /** Writes by a collection, and answers what its live query told meanwhile. */
  async collect(entityType: string): Promise<string[]> {
    const all = createCollection(causewayCollectionOptions({ client: this.client, entityType }));
    const query = createLiveQueryCollection((q) => q.from({ each: all }));
    await query.preload();
    const told: string[] = [];
    query.subscribeChanges((changes) => {
      for (const { type, key, value } of changes) {
        told.push(`${type} ${key} ${value['n']}${value.$synced ? '' : '?'}`);
      }
    });
    await all.insert({ id: 'x', n: 1 }).isPersisted.promise;
    await all.update('x', (draft) => {
      Object.assign(draft, { n: 2 });
    }).isPersisted.promise;
    await all.delete('x').isPersisted.promise;
    return told;
  }

  /** As `useSyncStatus` shows them, one after the other. */
  readonly shown: string[] = [];

  #watchStatus(): void {
    const store = syncStatusOf(this.client);
    const look = () => {
      const status = store.get();
      const text = status === null ? 'closed' : `${status.online ? 'online' : 'cut off'}, ${status.queue.pending} wait`;
      if (text !== this.shown.at(-1)) this.shown.push(text);
    };
    look();
    store.subscribe(look);
  }

  async ids(): Promise<string[]> {
    const ids: string[] = [];
    for (let after = ''; ; ) {
      const { items, next } = await this.client.list('note', { after, limit: 1_000 });
      ids.push(...items.map(({ entityId }) => entityId));
      if (next === null) return ids;
      after = next;
    }
  }
}

declare global {
  var app: App;
  /** Tells the test, which answers whether it has enough. */
  function acknowledge(id: string): Promise<boolean>;
}

globalThis.app = new App();
