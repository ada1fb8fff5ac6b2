import { MemoryCloudStore } from '../../src/store/memory-cloud-store.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import type { ReplicaStore } from '../../src/sync/ports.ts';
import { cloudStoreContract } from '../contract/cloud-store.ts';
import { queueModel } from '../contract/queue-model.ts';
import { replicaStoreContract, type WithStore } from '../contract/replica-store.ts';

const inMemory: WithStore<ReplicaStore> = (check) => {
  const store = new MemoryReplicaStore();
  return check({ store, reopen: () => store });
};

replicaStoreContract('memory', inMemory);
queueModel('memory', inMemory, 200);

cloudStoreContract('memory', (check) => {
  const store = new MemoryCloudStore();
  return check({ store, reopen: () => store });
});
