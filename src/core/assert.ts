/** Broken invariants: never expected, never handled, always loud. */

export function assert(condition: boolean, invariant: string): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${invariant}`);
}

/** Makes a `switch` over a union exhaustive at compile time. */
export function assertNever(value: never): never {
  throw new Error(`invariant broken: unexpected variant ${JSON.stringify(value)}`);
}
