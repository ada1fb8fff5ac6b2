/** A name that is right by construction. */
export function named<T>(name: T | undefined): T {
  if (name === undefined) throw new Error('invariant broken: a bad name in the simulation');
  return name;
}
