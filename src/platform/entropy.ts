import type { Entropy } from '../sync/ports.ts';

/** The randomness of Workers, Node and browsers. */
export const entropy: Entropy = {
  id: () => crypto.randomUUID().replaceAll('-', ''),
  fraction: () => Math.random(),
};
