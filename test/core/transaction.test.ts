import { expect, test } from 'vitest';
import type { Dot } from '../../src/core/dot.ts';
import { isWhole, transactionName } from '../../src/core/transaction.ts';

const dots = (...counters: number[]): Dot[] => counters.map((counter) => ({ node: 'p', counter }));

test('[S34] the name of a transaction tells whether these are all of its changes', () => {
  const [first, , last] = dots(7, 8, 9);
  const name = first && last && transactionName(first, last);
  expect(name).toBe('p:7-9');
  expect(isWhole('p:7-9', dots(7, 8, 9))).toBe(true);
  expect(isWhole('p:7-9', dots(9, 7, 8))).toBe(true);
  expect(isWhole('p:7-9', dots(7, 8))).toBe(false);
  // As many as there should be, but one of them twice.
  expect(isWhole('p:7-9', dots(7, 8, 8))).toBe(false);
});

test.each([
  ['invoice:2024-2025', dots(1, 2, 3)],
  ['invoice:1-9', dots(1, 2, 3)],
  ['p:50-51', dots(5, 6, 7)],
  ['p:1-9', dots(9, 10)],
  ['p:9-1', dots(1)],
  ['p:01-9', dots(1)],
  ['p:1-9e9', dots(1)],
  ['p:1-', dots(1)],
  ['1-9', dots(1)],
  ['', dots(1)],
])('[S34] a name of somebody else tells nothing: %s', (name, members) => {
  expect(isWhole(name, members)).toBe(true);
});
