/** The client: `causeway/client`. */

export type { Policies, RecordOf } from '../core/policy.ts';
export type { QueueItem } from '../sync/queue-item.ts';
export {
  type ClientEvents,
  type ClientOptions,
  EdgeCloudClient,
  type ReadOptions,
  type Receipt,
  type WriteOptions,
} from './client.ts';
export type { ConsistencyRule } from './client-policies.ts';
export type { OpenStorage } from './open-storage.ts';
export type { Settlement } from './receipts.ts';
export { type ClientStorage, memoryStorage } from './storage.ts';
export type { TokenGiven } from './token-source.ts';
export type { ClientRecord, RecordChange, TransactionWrite } from './typed.ts';
