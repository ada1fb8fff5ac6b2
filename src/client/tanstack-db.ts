import type { Collection, CollectionConfig, MutationFnParams, PendingMutation, SyncConfig } from '@tanstack/db';
import { diff } from '../core/delta.ts';
import type { JsonObject } from '../core/json.ts';
import type { Policies, RecordOf } from '../core/policy.ts';
import type { EdgeCloudClient } from './client.ts';
import { type AnyRecords, asTyped, type TransactionWrite, type TypeName } from './typed.ts';

/** TanStack DB over a client: `causeway/tanstack-db`. */

/** A record as a row: its fields, and its id in a field of that name. */
export type RowOf<P extends Policies, T extends TypeName<P>> = RecordOf<P, T> & { readonly id: string };

/** By what the mutations of several collections are known to be of one client. */
export interface CausewayUtils {
  readonly causeway: { readonly client: object; readonly entityType: string };
  readonly [name: string]: unknown;
}

type AnyRow = JsonObject & { readonly id: string };
type Sync = Parameters<SyncConfig<AnyRow, string>['sync']>[0];

/**
 * A collection of all records of one type that the client holds, by their ids. The field `id` is the record's id, and no
 * part of what is stored.
 *
 * Inserts, updates and deletes are writes of the client: they are done when they are durable here, and rolled back where
 * the client refuses them. What the cloud refuses later goes away by itself, and is a dead letter.
 */
export function causewayCollectionOptions<P extends Policies = AnyRecords, const T extends TypeName<P> = TypeName<P>>({
  client: given,
  entityType,
}: {
  readonly client: EdgeCloudClient<P>;
  readonly entityType: T;
}): CollectionConfig<RowOf<P, T>, string, never, CausewayUtils> & { readonly utils: CausewayUtils } {
  const client: EdgeCloudClient = asTyped(given);
  const commit = causewayMutations(given);
  const options: CollectionConfig<AnyRow, string, never, CausewayUtils> = {
    id: `causeway:${entityType}`,
    getKey: ({ id }) => id,
    sync: { sync: (sync) => follow(client, entityType, sync), rowUpdateMode: 'full' },
    onInsert: (params) => commit(asTyped(params)),
    onUpdate: (params) => commit(asTyped(params)),
    onDelete: (params) => commit(asTyped(params)),
    utils: { causeway: { client, entityType } },
  };
  return asTyped(options);
}

/**
 * A function for `createTransaction({ mutationFn })`: what is changed in collections of this client is one transaction of
 * it, taken whole or not at all, here and in the cloud.
 *
 * @throws Error for a change in a collection that isn't of this client.
 */
export function causewayMutations<P extends Policies>(given: EdgeCloudClient<P>) {
  const client: EdgeCloudClient = asTyped(given);
  return async ({ transaction }: MutationFnParams): Promise<void> => {
    const all = transaction.mutations.map((mutation) => ({ mutation, ...utilsOf(mutation.collection) }));
    if (all.some((each) => each.client !== client)) {
      throw new Error('a collection in the transaction is not of this client');
    }
    const writes = all.flatMap(({ mutation, entityType }) => writeOf(entityType, mutation));
    const [only] = writes;
    if (writes.length === 1 && only !== undefined) await writeAlone(client, only);
    else if (writes.length > 0) await client.transact(writes);
  };
}

function utilsOf({ utils }: Pick<Collection, 'utils'>): Partial<CausewayUtils['causeway']> {
  return asTyped<Partial<CausewayUtils>>(utils).causeway ?? {};
}

function writeOf(entityType = '', { type, key, original, modified }: PendingMutation): TransactionWrite[] {
  const entity = { entityType, entityId: String(key) };
  if (type === 'delete') return [{ ...entity, kind: 'delete' }];
  const data = dataOf(modified);
  // What others have changed beside it meanwhile stays.
  const operations = type === 'update' ? diff(dataOf(original), data) : undefined;
  if (operations === undefined) return [{ ...entity, kind: 'put', data }];
  return operations.length === 0 ? [] : [{ ...entity, kind: 'patch', operations }];
}

/** What is no transaction may go into an earlier change of the same record. */
async function writeAlone(client: EdgeCloudClient, write: TransactionWrite): Promise<void> {
  const { entityType, entityId } = write;
  if (write.kind === 'put') await client.write(entityType, entityId, write.data);
  else if (write.kind === 'patch') await client.patch(entityType, entityId, write.operations);
  else await client.delete(entityType, entityId);
}

function dataOf(row: object): JsonObject {
  const { id: _, ...data } = asTyped<AnyRow>(row);
  return data;
}

function rowOf(entityId: string, data: JsonObject): AnyRow {
  return { ...data, id: entityId };
}

/** Keeps a collection at what the client shows of a type. @returns how to end it. */
function follow(client: EdgeCloudClient, entityType: string, { begin, write, commit, ...status }: Sync): () => void {
  let isLoaded = false;
  let hasEnded = false;
  /** What the collection has been given. */
  const known = new Set<string>();
  /** What has changed and isn't in the collection yet, by id; null: it is gone. */
  let changed = new Map<string, AnyRow | null>();
  const flush = () => {
    if (!isLoaded || hasEnded || changed.size === 0) return;
    begin();
    for (const [id, row] of changed) {
      if (row !== null) write({ type: known.has(id) ? 'update' : 'insert', value: row });
      else if (known.has(id)) write({ type: 'delete', key: id });
      if (row === null) known.delete(id);
      else known.add(id);
    }
    changed = new Map();
    commit();
  };
  const end = client.subscribe([entityType], (change) => {
    const { entityId } = change;
    changed.set(entityId, change.operation === 'delete' ? null : rowOf(entityId, change.data));
    // What comes in one turn, as of one transaction, is shown together; and before the write that did it is done.
    queueMicrotask(flush);
  });
  const load = async () => {
    for (let after: string | null = ''; after !== null; ) {
      const options = { after, level: 'eventual' } as const;
      const page: Awaited<ReturnType<typeof client.list>> = await client.list(entityType, options);
      for (const { entityId, data } of page.items) {
        // What was told meanwhile is at least as new.
        if (!changed.has(entityId)) changed.set(entityId, rowOf(entityId, data));
      }
      after = page.next;
    }
    isLoaded = true;
    flush();
    if (!hasEnded) status.markReady();
  };
  load().catch((error: unknown) => {
    if (!hasEnded) status.markError(error);
  });
  return () => {
    hasEnded = true;
    end();
  };
}
