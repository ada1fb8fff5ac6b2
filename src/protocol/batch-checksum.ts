import { checksum } from '../core/canonical.ts';
import { SyncError } from './errors.ts';
import type { IncomingBatch } from './messages.ts';

/**
 * What a batch does, as one number: by it a batch is checked on arrival, and known again.
 *
 * @throws SyncError `bad_request` for what has no canonical text: half of a surrogate pair.
 */
export function batchChecksum(batch: {
  readonly cursor: number;
  readonly changes: readonly unknown[];
  readonly void?: IncomingBatch['void'] | readonly (readonly number[])[];
}): string {
  try {
    return checksum({ cursor: batch.cursor, changes: batch.changes, void: batch.void ?? [] });
  } catch (error) {
    throw new SyncError('bad_request', `the batch is no well-formed JSON: ${error}`);
  }
}
