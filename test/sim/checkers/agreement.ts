import { canonicalText } from '../../../src/core/canonical.ts';
import { digestOf, digestTotal } from '../../../src/core/digest.ts';
import type { CloudHost } from '../cloud-host.ts';
import type { NodeHost } from '../node-host.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';
import { liveText } from './prefix.ts';

/** What of a space still has to go up, in words; undefined: all has gone. I11. */
export function holdUp({ nodes }: Space): string | undefined {
  for (const { process, nodeId } of nodes) {
    if (process === undefined) return `${nodeId} is down`;
    const { dead, total } = process.replica.queueStats();
    if (total > dead) return `${total - dead} changes wait at ${nodeId}`;
    if (process.replica.hasUnsent('normal')) return `${nodeId} has voids to tell`;
    if (process.replica.hasNews) return `${nodeId} has dead changes to tell of`;
  }
  return undefined;
}

/** What of a space has not come to rest yet, in words; undefined: all of it has. I11. */
export function unrest(space: Space): string | undefined {
  const { nodes, history, d1, cloud } = space;
  const reason = holdUp(space);
  if (reason !== undefined) return reason;
  for (const { process, nodeId } of nodes) {
    const { cursor, epoch } = process?.replica.meta ?? {};
    if (epoch === null || cursor !== history.head || epoch !== cloud.epoch) return `${nodeId} is behind`;
  }
  if (history.head === 0 && revisionOf(cloud) === 0) return undefined;
  const isUpToDate =
    d1.position.epoch === cloud.epoch &&
    d1.position.seq === history.head &&
    d1.position.conflictRevision === revisionOf(cloud);
  return isUpToDate ? undefined : 'D1 is behind';
}

/** I3: at rest all replicas, the cloud and D1 hold the same, and the digest is of what they hold. */
export function checkAgreement(space: Space): void {
  const { cloud, history, nodes, d1 } = space;
  const digest = digestTotal(digestOf(cloud.disk.readAfter(0, MANY)));
  require(digest === history.digestAt(history.head), 'I3', () => "the cloud's digest is not of what it holds");
  for (const key of history.keys()) {
    const entity = cloud.disk.readEntity(key);
    const expected = liveText(entity);
    require(expected === liveText(history.at(key, history.head)), 'I3', () =>
      `the cloud's ${key} is not what it wrote`);
    require(expected === liveText(d1.rows.get(key)), 'I3', () => `D1 has another ${key} than the cloud`);
    for (const node of nodes) {
      const view = node.process?.replica.read(key);
      const seen = canonicalText(view?.data ?? null);
      const data = canonicalText(entity?.data ?? null);
      require(seen === data, 'I3', () => `${node.nodeId} shows ${key} as ${seen}, the cloud has ${data}`);
    }
  }
  for (const node of nodes) {
    checkDigest(node, digest);
    checkDeadLetters(node, cloud);
  }
  const conflicts = cloud.disk.readConflictsAfter(0, MANY);
  for (const conflict of conflicts) {
    const isSame = canonicalText(conflict) === canonicalText(d1.conflicts.get(conflict.id) ?? null);
    require(isSame, 'I3', () => `D1 has another record of conflict ${conflict.id} than the cloud`);
  }
  // Those of lost clouds are kept there.
  const isAll = history.generation > 0 || conflicts.length === d1.conflicts.size;
  require(isAll, 'I3', () => 'D1 has conflicts that the cloud has not');
}

function revisionOf(cloud: CloudHost): number {
  return cloud.disk.readMeta()?.conflictRevision ?? 0;
}

function checkDigest({ nodeId, process }: NodeHost, digest: string): void {
  const isEqual = process !== undefined && digestTotal(process.replica.meta.digest) === digest;
  require(isEqual, 'I3', () => `the digest of ${nodeId} is not the cloud's`);
}

/** S35: the cloud knows, and has on its disk, how many changes are dead at a node. */
function checkDeadLetters({ nodeId, process }: NodeHost, cloud: CloudHost): void {
  const dead = process?.replica.queueStats().dead ?? 0;
  const known = cloud.disk.readNode(nodeId)?.report?.dead ?? 0;
  require(known === dead, 'S35', () => `${dead} changes are dead at ${nodeId}, and the cloud knows of ${known}`);
}

const MANY = 100_000;
