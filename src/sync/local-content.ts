import type { ChangeContent } from '../core/change.ts';
import { applyOperations, diff, isAdditive, isSmaller, mergePatchOperations, type Operation } from '../core/delta.ts';
import type { JsonObject } from '../core/json.ts';
import type { Policy } from '../core/policy.ts';
import { SyncError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { canBeSent } from '../protocol/messages.ts';
import { checkRecord } from '../protocol/record.ts';
import type { Write } from './write.ts';

/**
 * What a write makes of the record that its writer sees.
 *
 * @param hasBase whether the cloud may be told by operations what is written.
 * @throws SyncError as `LocalWrites.write`.
 */
export function localContent(
  write: Write,
  before: JsonObject | undefined,
  policy: Policy,
  hasBase: boolean,
): ChangeContent {
  if (write.kind === 'put') {
    checkRecord(write.data, policy);
    if (before === undefined) return { operation: 'create', data: write.data };
    const operations = hasBase ? diff(before, write.data) : undefined;
    return { operation: 'update', data: write.data, ...deltaOf(policy, write.data, operations) };
  }
  if (before === undefined) throw notFound(write);
  if (write.kind === 'delete') return { operation: 'delete' };
  const operations = write.kind === 'patch' ? write.operations : mergePatchOperations(before, write.patch);
  const applied = applyOperations(before, operations);
  if (!applied.ok) {
    const code = applied.reason === 'too-deep' ? 'too_deep' : 'invalid_operation';
    throw new SyncError(code, `operation ${applied.index}: ${applied.detail}`);
  }
  checkRecord(applied.data, policy);
  return { operation: 'update', data: applied.data, ...deltaOf(policy, applied.data, operations) };
}

/**
 * The operations, where a conflict needs to know them or they are worth sending instead of the record. None at all are
 * told as well: a record without operations claims all of its fields.
 */
function deltaOf(policy: Policy, data: JsonObject, operations: readonly Operation[] | undefined) {
  if (operations === undefined || operations.length > LIMITS.operations || !canBeSent(operations)) return {};
  const isTelling = policy.conflict === 'merge' || operations.some(isAdditive);
  return isTelling || isSmaller(operations, data) ? { operations } : {};
}

function notFound(write: Write): SyncError {
  return new SyncError('not_found', `there is no ${write.entityType}/${write.entityId}`);
}
