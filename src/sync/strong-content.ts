import { assertNever } from '../core/assert.ts';
import type { ChangeContent } from '../core/change.ts';
import type { Write } from './write.ts';

/** A strong write says what it wants of the state that it will meet, and not what its writer's view would make of it. */
export function strongContent(write: Write, isThere: boolean): ChangeContent {
  switch (write.kind) {
    case 'put':
      return { operation: isThere ? 'update' : 'create', data: write.data };
    case 'patch':
      return { operation: 'update', operations: write.operations };
    case 'merge-patch':
      return { operation: 'update', mergePatch: write.patch };
    case 'delete':
      return { operation: 'delete' };
    default:
      return assertNever(write);
  }
}
