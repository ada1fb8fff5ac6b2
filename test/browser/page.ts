/** What the pages of the tests run, as a program that uses the client would have it. */
import { browserStorage } from '../../src/client/browser-storage.ts';
import { type ClientOptions, EdgeCloudClient } from '../../src/client/client.ts';

/** By which a test drives a page. */
class App {
  client = new EdgeCloudClient({ nodeId: 'none', cloudEndpoint: '', token: '' });
  /** Of visible changes, in their order. */
  readonly heard: string[] = [];
  readonly acknowledged: string[] = [];
  readonly settled: Promise<unknown>[] = [];

  async start(options: Omit<ClientOptions, 'storage'>): Promise<void> {
    this.client = new EdgeCloudClient({ ...options, storage: browserStorage() });
    this.client.on('change', ({ entityId, operation }) => this.heard.push(`${operation} ${entityId}`));
    await this.client.initialize();
  }

  async write(id: string, data: Record<string, string | number> = { id }): Promise<void> {
    const { settled } = await this.client.write('note', id, data);
    this.settled.push(settled);
    this.acknowledged.push(id);
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
}

globalThis.app = new App();
