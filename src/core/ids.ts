/**
 * Names of things, as branded strings. Each brand has one maker, which answers `undefined` for a bad name; so a value
 * of a branded type has been checked, wherever it is seen.
 */

declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

/** A tenant, the unit of isolation. Comes from the token. */
export type SpaceId = Branded<'SpaceId'>;
/** Anything that writes under its own id. Never {@link CLOUD}. */
export type NodeId = Branded<'NodeId'>;
export type EntityType = Branded<'EntityType'>;
export type EntityId = Branded<'EntityId'>;

/** `<type>/<id>`: one string for one entity; neither part may hold a slash. */
export type EntityKey = Branded<'EntityKey'>;

/** The clock entry and dot name of the sequencer. */
export const CLOUD = 'cloud';

/** Patterns of `http.md`, section 1. */
export const NODE_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;
export const MAX_NAME_CHARS = 128;
export const ENTITY_NAME_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._~:@-]{0,127}$/;

/** Shape: as a node id, since a space names a Durable Object too. */
export function toSpaceId(text: string): SpaceId | undefined {
  return NODE_ID_PATTERN.test(text) ? (text as SpaceId) : undefined;
}

export function toNodeId(text: string): NodeId | undefined {
  return NODE_ID_PATTERN.test(text) && text !== CLOUD ? (text as NodeId) : undefined;
}

export function toEntityType(text: string): EntityType | undefined {
  return ENTITY_NAME_PATTERN.test(text) ? (text as EntityType) : undefined;
}

export function toEntityId(text: string): EntityId | undefined {
  return ENTITY_NAME_PATTERN.test(text) ? (text as EntityId) : undefined;
}

export function entityKey(entity: { entityType: EntityType; entityId: EntityId }): EntityKey {
  return `${entity.entityType}/${entity.entityId}` as EntityKey;
}

/** The parts of a key that {@link entityKey} made. */
export function splitKey(key: EntityKey): { entityType: EntityType; entityId: EntityId } {
  const slash = key.indexOf('/');
  return { entityType: key.slice(0, slash) as EntityType, entityId: key.slice(slash + 1) as EntityId };
}
