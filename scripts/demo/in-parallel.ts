/**
 * Runs `body` for each item, at most `limit` at a time, begun in their order. Throws the first failure, and then
 * begins no more.
 */
export async function inParallel<T>(
  items: Iterable<T>,
  limit: number,
  body: (item: T) => Promise<void>,
): Promise<void> {
  const rest = items[Symbol.iterator]();
  let failed = false;
  const worker = async () => {
    while (!failed) {
      const { done, value } = rest.next();
      if (done) return;
      try {
        await body(value);
      } catch (error) {
        failed = true;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: limit }, worker));
}
