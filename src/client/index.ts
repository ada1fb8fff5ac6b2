/** The client: `causeway/client`. */

export {
  type ClientEvents,
  type ClientOptions,
  EdgeCloudClient,
  type ReadOptions,
  type Receipt,
  type TransactionWrite,
  type WriteOptions,
} from './client.ts';
export type { ConsistencyRule } from './client-policies.ts';
export type { OpenStorage } from './open-storage.ts';
export type { ClientRecord, Settlement } from './receipts.ts';
export { type ClientStorage, memoryStorage } from './storage.ts';
export type { TokenGiven } from './token-source.ts';
