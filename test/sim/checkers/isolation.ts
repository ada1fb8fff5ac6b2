import type { JsonObject } from '../../../src/core/json.ts';
import type { NodeHost } from '../node-host.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';

/** I9: every record says of which space it is, and none is seen in the other. Names and ids are the same in both. */
export function checkNodeIsolation({ name }: Space, node: NodeHost): void {
  for (const key of node.disk.recordKeys()) checkData(name, node.disk.readRecord(key)?.data, `${node.nodeId} ${key}`);
  for (const { change } of node.disk.readQueue(0)) checkData(name, change.data, `${node.nodeId} ${change.id}`);
}

export function checkCloudIsolation({ name, cloud, history, d1 }: Space): void {
  for (const key of history.keys()) checkData(name, cloud.disk.readEntity(key)?.data, `the cloud's ${key}`);
  for (const [key, row] of d1.rows) checkData(name, row.data, `D1's ${key}`);
}

export function checkData(space: string, data: JsonObject | null | undefined, where: string): void {
  const owner = data?.['space'];
  require(data === null || data === undefined || owner === space, 'I9', () => `${where} of ${space} is ${owner}'s`);
}
