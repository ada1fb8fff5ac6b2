import type { JsonValue } from './json.ts';

/**
 * A copy of a value that comes from code which nothing is known about, if JSON can hold it exactly: finite numbers,
 * well-formed texts, plain objects and arrays without holes. Shares nothing with the value.
 *
 * Bounds: at most `maxDepth` containers inside one another and `maxValues` values, so that circles and containers which
 * are shared over and over end.
 *
 * @throws where JSON can't hold the value, and whatever its getters and proxies throw.
 */
export function copyJson(value: unknown, maxDepth: number, maxValues: number): JsonValue {
  let valuesLeft = maxValues;
  const copy = (from: unknown, depthLeft: number): JsonValue => {
    valuesLeft -= 1;
    if (valuesLeft < 0) throw NOT_JSON;
    if (from === null || typeof from === 'boolean') return from;
    if (typeof from === 'string') return wellFormed(from);
    // JSON has no -0, so that a copy which kept it would become another value on its way.
    if (typeof from === 'number' && Number.isFinite(from)) return from === 0 ? 0 : from;
    if (typeof from !== 'object' || depthLeft === 0) throw NOT_JSON;
    if (Array.isArray(from)) return Array.from(from, (item) => copy(item, depthLeft - 1));
    if (!isPlain(from)) throw NOT_JSON;
    // Not by assignment: `__proto__` is a name like any other in JSON.
    return Object.fromEntries(
      Object.entries(from).map(([key, child]) => [wellFormed(key), copy(child, depthLeft - 1)]),
    );
  };
  return copy(value, maxDepth);
}

const NOT_JSON = new Error('JSON can not hold this');

/** Half of a surrogate pair has no UTF-8, and so neither a canonical text nor a hash. */
function wellFormed(text: string): string {
  if (!text.isWellFormed()) throw NOT_JSON;
  return text;
}

/** Made by a literal or without a prototype, in whichever realm: what is behind its prototype, if any, is nothing. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
