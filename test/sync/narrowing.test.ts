import { expect, test } from 'vitest';
import { SyncError } from '../../src/protocol/errors.ts';
import { Narrowing } from '../../src/sync/narrowing.ts';

/** Sizes of batches on the way to a cloud that takes `limit` changes at a time, and the times that it refused one. */
function batches(narrowing: Narrowing, count: number, limit: number) {
  const sizes: number[] = [];
  for (let n = 0; n < count; n += 1) {
    const size = Math.min(100, narrowing.maxChanges);
    sizes.push(size);
    const changes = Array.from({ length: size }, (_, index) => ({ id: `a:${index}` }));
    if (size <= limit) expect(narrowing.passed()).toBeUndefined();
    else expect(narrowing.failed(changes, new SyncError('too_large', 'no'))).toBe(true);
  }
  return { sizes, refused: sizes.filter((size) => size > limit).length };
}

test.each([
  [1, [100, 50, 25, 12, 6, 3, 1, 2, 1, 1, 1, 1]],
  [60, [100, 50, 75, 37, 56, 65, 32, 48, 56, 60, 62, 31, 46, 54, 58, 60, 61, 30, 45, 53, 57, 59, 60, 60]],
])('[S28] a limit of %i changes is found, and kept to', (limit, sizes) => {
  const narrowing = new Narrowing();
  expect(batches(narrowing, sizes.length, limit).sizes).toEqual(sizes);
  expect(batches(narrowing, 20, limit).refused).toBe(0);
  expect(batches(narrowing, 1_000, limit).refused).toBeLessThan(150);
});

test('[S28] a limit that is gone is forgotten after 30 batches', () => {
  const narrowing = new Narrowing();
  batches(narrowing, 25, 10);
  expect(batches(narrowing, 30, 100)).toMatchObject({ refused: 0 });
  expect(batches(narrowing, 5, 100).sizes).toContain(100);
});
