import { type EntityId, entityKey, toEntityId } from '../../../src/core/ids.ts';
import type { JsonObject } from '../../../src/core/json.ts';
import { named } from '../names.ts';
import type { NodeHost } from '../node-host.ts';
import { PAIR } from '../policies.ts';
import type { Space } from '../space.ts';
import { require } from '../violation.ts';

/** The two records of a pair, which are only written together. */
export function halvesOf(pair: EntityId): [half: string, id: EntityId][] {
  return ['a', 'b'].map((half) => [half, named(toEntityId(`${pair}.${half}`))]);
}

/** I8: nobody sees one half of a pair without the other. */
export function checkPairsAt({ nodeId, process }: NodeHost, space: Space): void {
  if (process === undefined || !isSure(space)) return;
  // What a relay keeps may be made on what a lost disk had under the same counters, as far as its base tells.
  const mayMistake = process.replica.beside.size > 0 && space.nodes.some(({ disks }) => disks > 0);
  if (!mayMistake) check(nodeId, (id) => process.replica.read(keyOf(id))?.data);
}

export function checkPairsInCloud(space: Space): void {
  const { cloud } = space;
  if (!isSure(space)) return;
  check('the cloud', (id) => cloud.disk.readEntity(keyOf(id))?.data ?? undefined);
}

/**
 * Where both a disk and a cloud were lost, a token may name writes that are nowhere any more, and may be taken for the
 * next ones under their counters: who shows it seems to have seen one half of a pair, and not the other. And where a row of
 * one half was used again, after a day, a cloud that lost both gets back the other alone.
 */
function isSure({ history, nodes, trace }: Space): boolean {
  if (history.generation === 0) return true;
  return nodes.every(({ disks }) => disks === 0) && !trace.counts.has('outcome: row used again');
}

function check(where: string, read: (id: EntityId) => JsonObject | undefined): void {
  for (const pair of PAIRS) {
    const [first, second] = halvesOf(pair).map(([, id]) => read(id)?.['value']);
    require(first === second, 'I8', () => `${where} has ${first} and ${second} in the halves of ${pair}`);
  }
}

function keyOf(entityId: EntityId) {
  return entityKey({ entityType: PAIR, entityId });
}

export const PAIRS = ['p1', 'p2'].map((id) => named(toEntityId(id)));
