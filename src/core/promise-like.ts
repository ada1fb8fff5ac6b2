/** Whether code that nothing is known about answers later: a promise of any make. @throws what its `then` does, when it is read. */
export function isPromiseLike(value: unknown): value is PromiseLike<unknown> {
  const canHaveThen = (typeof value === 'object' && value !== null) || typeof value === 'function';
  return canHaveThen && 'then' in value && typeof value.then === 'function';
}
