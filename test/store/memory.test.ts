import { MemoryCloudStore } from '../../src/store/memory-cloud-store.ts';
import { MemoryReplicaStore } from '../../src/store/memory-replica-store.ts';
import { cloudStoreContract } from '../contract/cloud-store.ts';
import { replicaStoreContract } from '../contract/replica-store.ts';

replicaStoreContract('memory', (check) => {
  const store = new MemoryReplicaStore();
  check({ store, reopen: () => store });
});

cloudStoreContract('memory', (check) => {
  const store = new MemoryCloudStore();
  check({ store, reopen: () => store });
});
