import { checksum } from '../core/canonical.ts';
import { LIMITS } from './limits.ts';
import type { IncomingBatch } from './messages.ts';
import { contentProblem } from './record.ts';

/**
 * What a batch does, as one number: by it a batch is checked on arrival, and known again. A change that can't be taken in
 * has no canonical text, and is refused whatever it says: it counts by its id. Throws nothing.
 */
export function batchChecksum(batch: {
  readonly cursor: number;
  readonly changes: readonly { readonly id: string }[];
  readonly void?: IncomingBatch['void'] | readonly (readonly number[])[];
}): string {
  const changes = batch.changes.map((one) => (contentProblem(one, LIMITS.changeDepth) === undefined ? one : one.id));
  return checksum({ cursor: batch.cursor, changes, void: batch.void ?? [] });
}
