import { type JsonObject, jsonEqual } from '../../src/core/json.ts';
import type { ApiClient, Key, Write } from './api-client.ts';
import type { Reading } from './dataset.ts';
import { inParallel } from './in-parallel.ts';
import { type Ledger, nameOf } from './ledger.ts';

/** Writes under way at once at one node. */
const CONCURRENCY = 16;

/** Somebody who writes at one node, over HTTP, and enters every acknowledged write in the ledger. */
export class Station {
  readonly node: string;
  readonly #api: ApiClient;
  readonly #ledger: Ledger;

  constructor(node: string, api: ApiClient, ledger: Ledger) {
    this.node = node;
    this.#api = api;
    this.#ledger = ledger;
  }

  async write(readings: readonly Reading[], onWritten: () => void = () => {}): Promise<void> {
    await inParallel(readings, CONCURRENCY, async (reading) => {
      await this.#send(reading, { method: 'PUT', data: reading.data, priority: reading.priority }, reading.data);
      onWritten();
    });
  }

  /** Changes fields of records which hold what the readings do. */
  async change(
    readings: readonly Reading[],
    as: 'operations' | 'merge-patch',
    fieldsOf: (reading: Reading) => JsonObject,
  ): Promise<void> {
    await inParallel(readings, CONCURRENCY, async (reading) => {
      const fields = fieldsOf(reading);
      await this.#send(reading, { method: 'PATCH', fields, as }, { ...reading.data, ...fields });
    });
  }

  async delete(keys: readonly Key[]): Promise<void> {
    await inParallel(keys, CONCURRENCY, (key) => this.#send(key, { method: 'DELETE' }, null));
  }

  async #send(key: Key, write: Write, expected: JsonObject | null): Promise<void> {
    const { data } = await this.#api.write(this.node, key, write);
    if (!jsonEqual(data, expected)) {
      throw new Error(
        `${this.node} acknowledged ${nameOf(key)} as ${JSON.stringify(data)}, not as ${JSON.stringify(expected)}`,
      );
    }
    this.#ledger.add(key, { node: this.node, data: expected });
  }
}
