import { runInDurableObject } from 'cloudflare:test';
import { env } from 'cloudflare:workers';
import { test } from 'vitest';
import { durableObjectSqlite } from '../../src/store/do-sqlite.ts';
import { SqlCloudStore } from '../../src/store/sql-cloud-store.ts';
import type { SqlDatabase } from '../../src/store/sql-database.ts';
import { SqlReplicaStore } from '../../src/store/sql-replica-store.ts';
import type { ReplicaStore } from '../../src/sync/ports.ts';
import { checkSchemaUpgrade } from '../contract/cloud-schema.ts';
import { cloudStoreContract } from '../contract/cloud-store.ts';
import { queueModel } from '../contract/queue-model.ts';
import { replicaStoreContract, type WithStore } from '../contract/replica-store.ts';

/**
 * Only the storage of the objects is used, each of which holds tables of the same kind; every check has its own. An
 * edge object is named by its space and node, a cloud object by its space.
 */
const open = { edge: (db: SqlDatabase) => new SqlReplicaStore(db), cloud: (db: SqlDatabase) => new SqlCloudStore(db) };

const withReplicaStore: WithStore<ReplicaStore> = (check) => {
  return runInDurableObject(env.EDGE.getByName(`contract/${crypto.randomUUID()}`), (_, { storage }) =>
    check(within(storage, open.edge)),
  );
};

replicaStoreContract('SQLite of a Durable Object', withReplicaStore);
queueModel('SQLite of a Durable Object', withReplicaStore, 25);

cloudStoreContract('SQLite of a Durable Object', (check) => {
  return runInDurableObject(env.CLOUD.getByName(`contract-${crypto.randomUUID()}`), (_, { storage }) =>
    check(within(storage, open.cloud)),
  );
});

test('a Durable Object that was made before conflicts had a feed is brought up, with all that it held', () => {
  return runInDurableObject(env.CLOUD.getByName(`contract-${crypto.randomUUID()}`), (_, { storage }) => {
    const db = durableObjectSqlite(storage);
    for (const table of ['schema_steps', 'meta', 'entities', 'nodes', 'refusals', 'conflicts', 'memos']) {
      db.all(`DROP TABLE ${table}`);
    }
    checkSchemaUpgrade(db);
  });
});

function within<Store>(
  storage: DurableObjectStorage,
  openStore: (db: SqlDatabase) => Store,
): Parameters<Parameters<WithStore<Store>>[0]>[0] {
  const reopen = () => openStore(durableObjectSqlite(storage));
  return { store: reopen(), reopen };
}
