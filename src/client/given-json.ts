import type { JsonValue } from '../core/json.ts';
import { copyJson, NotJson } from '../core/json-copy.ts';
import { LIMITS } from '../protocol/limits.ts';
import { refusalError, refusalOf } from '../protocol/record.ts';

/**
 * What an app gives, copied: so what it does to its own afterwards changes no record, and what would not come back as it
 * went (`undefined`, functions, dates, NaN) is told now instead of being left out.
 *
 * @throws SyncError `invalid_data`, with the place; `too_deep`.
 */
export function givenJson(value: unknown): JsonValue {
  try {
    return copyJson(value, LIMITS.changeDepth, LIMITS.changeBytes);
  } catch (error) {
    throw error instanceof NotJson ? refusalError(refusalOf(error.fault)) : error;
  }
}
