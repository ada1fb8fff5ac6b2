import type { Path } from './path.ts';

/** Why a value can't be kept, and where. */
export type JsonFault =
  | { readonly kind: 'too-deep'; readonly path: Path }
  | { readonly kind: 'no-json'; readonly path: Path; readonly message: string };

/**
 * What keeps a value that `JSON.parse` made from being stored, hashed and sent on as it is; undefined: nothing. The parser
 * lets pass what JSON can't hold: half of a surrogate pair, which has no UTF-8 and no canonical text, and `1e400`, which
 * becomes infinite. Looks no deeper than `maxDepth` containers inside one another. Pure; one pass.
 */
export function jsonFault(value: unknown, maxDepth: number): JsonFault | undefined {
  if (typeof value === 'string') return value.isWellFormed() ? undefined : noJson('the text has half of a character');
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : noJson('the number is too large');
  if (typeof value !== 'object' || value === null) return undefined;
  if (maxDepth <= 0) return { kind: 'too-deep', path: [] };
  for (const [key, child] of Object.entries(value)) {
    const fault = key.isWellFormed() ? jsonFault(child, maxDepth - 1) : noJson('the name has half of a character');
    if (fault !== undefined) return { ...fault, path: [key.toWellFormed(), ...fault.path] };
  }
  return undefined;
}

function noJson(message: string): JsonFault {
  return { kind: 'no-json', path: [], message };
}
