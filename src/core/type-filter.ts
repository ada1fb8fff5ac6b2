/** The entity types that something is limited to; undefined: none is left out. */
export type TypeFilter<Type extends string = string> = readonly Type[] | undefined;

export function admits(filter: TypeFilter, entityType: string): boolean {
  return filter === undefined || filter.includes(entityType);
}

/** Whether a filter lets all pass that another one does. */
export function admitsAll(filter: TypeFilter, other: TypeFilter): boolean {
  if (filter === undefined) return true;
  return other?.every((entityType) => filter.includes(entityType)) ?? false;
}

/** What passes both. */
export function narrowed<Type extends string>(filter: TypeFilter<Type>, other: TypeFilter<Type>): TypeFilter<Type> {
  if (filter === undefined || other === undefined) return filter ?? other;
  return filter.filter((entityType) => other.includes(entityType));
}
