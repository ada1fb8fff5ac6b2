/** Where a value is in a record: the keys and indexes on the way to it. */

/** Shape: at least one segment; a segment may be any string, also an empty one. */
export type Path = readonly string[];

/**
 * The path that a text names: a JSON Pointer (RFC 6901) where it begins with `/`, otherwise dotted (`a.b`).
 * `undefined` for the empty text, an empty dotted segment (`a..b`), and a `~` that isn't `~0` or `~1` in a pointer.
 */
export function parsePath(text: string): Path | undefined {
  if (!text.startsWith('/')) return DOTTED_PATTERN.test(text) ? text.split('.') : undefined;
  return BAD_ESCAPE.test(text) ? undefined : text.slice(1).split('/').map(unescapeSegment);
}

/** The text of a path: dotted where {@link parsePath} reads that back as the same path, otherwise a JSON Pointer. */
export function formatPath(path: Path): string {
  const isDotted = path.every((segment) => segment !== '' && !segment.includes('.')) && !path[0]?.startsWith('/');
  return isDotted ? path.join('.') : path.map((segment) => `/${escapeSegment(segment)}`).join('');
}

/** Whether a path goes through a name by which a prototype can be reached. */
export function isForbidden(path: Path): boolean {
  return path.some((segment) => FORBIDDEN.has(segment));
}

/** Whether two paths touch the same value: they are equal, or one is inside the other. */
export function overlaps(a: Path, b: Path): boolean {
  return isWithin(a, b) || isWithin(b, a);
}

/** Whether a path is equal to another or inside it: `a.b` is within `a`. */
export function isWithin(inner: Path, outer: Path): boolean {
  return outer.length <= inner.length && outer.every((segment, depth) => segment === inner[depth]);
}

const DOTTED_PATTERN = /^[^.]+(?:\.[^.]+)*$/;
const BAD_ESCAPE = /~(?![01])/;
const FORBIDDEN: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype']);

/** `~1` first: `~01` is the text `~1`, not a slash. */
function unescapeSegment(text: string): string {
  return text.replaceAll('~1', '/').replaceAll('~0', '~');
}

function escapeSegment(segment: string): string {
  return segment.replaceAll('~', '~0').replaceAll('/', '~1');
}
