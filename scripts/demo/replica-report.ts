import { digestOf, digestTotal } from '../../src/core/digest.ts';
import { formatStamp } from '../../src/core/hlc.ts';
import { CLOUD } from '../../src/core/ids.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Entity } from './answers.ts';
import type { ApiClient } from './api-client.ts';
import { formatCount } from './format.ts';
import { nameOf } from './ledger.ts';
import type { Scope } from './stage.ts';
import { textTable } from './text-table.ts';

/** What one of the five replicas holds, as it was read from it over HTTP. */
export interface ReplicaReport {
  readonly replica: string;
  readonly entities: number;
  /** Its place in the cloud's history; undefined for D1, which tells its distance from it instead. */
  readonly cursor?: number | undefined;
  readonly lagMs?: number | undefined;
  /** Over all that was read of it, made by the demo. */
  readonly digest: string;
  /** What the replica itself says its digest is, where it keeps one of what was read. */
  readonly ownDigest?: string | undefined;
}

/** The reports, and the state of the cloud: data by name. Both are of what `scope` says. */
export interface Comparison {
  readonly scope: Scope;
  readonly reports: readonly ReplicaReport[];
  readonly state: ReadonlyMap<string, JsonObject>;
}

/** What is read from, of the API. */
type Replicas = Pick<ApiClient, 'exportCloud' | 'headOfCloud' | 'listAtNode' | 'status' | 'listAtD1' | 'lagOfD1'>;

/** Reads all that is in scope from every replica; the run's types also where the cloud has none of them. */
export async function compareReplicas(
  api: Replicas,
  nodes: readonly string[],
  scope: Scope,
  types: readonly string[],
  onReplica: () => void,
): Promise<Comparison> {
  const inCloud = (await api.exportCloud()).filter(({ entityType }) => scope === 'space' || types.includes(entityType));
  const [first] = inCloud;
  if (first === undefined) throw new Error('The cloud has no records of this run');
  const cloud = { ...report('cloud', inCloud), cursor: await api.headOfCloud(first) };
  onReplica();
  const allTypes = [...new Set([...types, ...inCloud.map(({ entityType }) => entityType)])];
  const edges: ReplicaReport[] = [];
  for (const node of nodes) {
    const edge = await reportNode(api, node, allTypes);
    // A node's own digest is of all that the space holds.
    edges.push(scope === 'space' ? edge : { ...edge, ownDigest: undefined });
    onReplica();
  }
  const inD1 = await allOf(allTypes, (type) => api.listAtD1(type));
  const d1 = { ...report('D1', inD1), lagMs: await api.lagOfD1(first.entityType) };
  onReplica();
  const state = new Map(inCloud.map((entity) => [nameOf(entity), entity.data]));
  return { scope, reports: [...edges, cloud, d1], state };
}

export function replicaTable(reports: readonly ReplicaReport[]): string {
  const columns = [
    { title: 'replica' },
    { title: 'entities', align: 'right' },
    { title: 'cursor', align: 'right' },
    { title: 'digest of its content' },
    { title: 'its own digest' },
  ] as const;
  const rows = reports.map(({ replica, entities, cursor, lagMs, digest, ownDigest }) => {
    const place = cursor === undefined ? `${lagMs} ms behind` : formatCount(cursor);
    const own = ownDigest === undefined ? '-' : ownDigest === digest ? 'the same' : ownDigest;
    return [replica, formatCount(entities), place, digest, own];
  });
  return textTable(columns, rows);
}

async function reportNode(api: Replicas, node: string, types: readonly string[]): Promise<ReplicaReport> {
  const entities = await allOf(types, (type) => api.listAtNode(node, type));
  const { cursor, digest } = await api.status(node);
  return { ...report(node, entities), cursor, ownDigest: digest };
}

function report(replica: string, entities: readonly Entity[]): ReplicaReport {
  // Place and time of a version are no part of the digest; its name and content are.
  const versions = entities.map((entity) => ({ ...entity, seq: 0, stamp: NO_STAMP }));
  return { replica, entities: entities.length, digest: digestTotal(digestOf(versions)) };
}

const NO_STAMP = formatStamp({ wallMs: 0, counter: 0, node: CLOUD });

async function allOf(types: readonly string[], list: (type: string) => Promise<Entity[]>): Promise<Entity[]> {
  const lists: Entity[][] = [];
  for (const type of types) lists.push(await list(type));
  return lists.flat();
}
