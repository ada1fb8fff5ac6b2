import type { JsonValue } from './json.ts';
import type { JsonFault } from './json-fault.ts';

/** JSON can't hold a value. */
export class NotJson extends Error {
  override readonly name = 'NotJson';
  readonly fault: JsonFault;

  constructor(fault: JsonFault) {
    super(fault.kind);
    this.fault = fault;
  }
}

/**
 * A copy of a value that comes from code which nothing is known about, if JSON can hold it exactly: finite numbers,
 * well-formed texts, plain objects and arrays without holes. Shares nothing with the value.
 *
 * Bounds: at most `maxDepth` containers inside one another and `maxValues` values, so that containers which are shared
 * over and over end.
 *
 * @throws NotJson where JSON can't hold the value, and whatever its getters and proxies throw.
 */
export function copyJson(value: unknown, maxDepth: number, maxValues: number): JsonValue {
  let valuesLeft = maxValues;
  const path: string[] = [];
  /** Those around the value that is looked at. */
  const around: object[] = [];
  const refuse = (message: string): never => {
    throw new NotJson({ kind: 'no-json', path: [...path], message });
  };
  const text = (from: string) => (from.isWellFormed() ? from : refuse('the text has half of a character'));
  const within = <T>(key: string, body: () => T): T => {
    path.push(key.toWellFormed());
    const made = body();
    path.pop();
    return made;
  };
  const copy = (from: unknown): JsonValue => {
    valuesLeft -= 1;
    if (valuesLeft < 0) refuse('there is too much of it');
    if (from === null || typeof from === 'boolean') return from;
    if (typeof from === 'string') return text(from);
    // JSON has no -0, so that a copy which kept it would become another value on its way.
    if (typeof from === 'number' && Number.isFinite(from)) return from === 0 ? 0 : from;
    if (typeof from !== 'object') return refuse(`${nameOf(from)} is not JSON`);
    if (around.includes(from)) return refuse('it is inside itself');
    if (around.length === maxDepth) throw new NotJson({ kind: 'too-deep', path: [...path] });
    if (!Array.isArray(from) && !isPlain(from)) return refuse(`${nameOf(from)} is not JSON`);
    around.push(from);
    const made = Array.isArray(from)
      ? Array.from(from, (item, index) => within(String(index), () => copy(item)))
      : // Not by assignment: `__proto__` is a name like any other in JSON.
        Object.fromEntries(
          Object.entries(from).map(([key, child]) => within(key, () => [text(key), copy(child)] as const)),
        );
    around.pop();
    return made;
  };
  return copy(value);
}

/** Made by a literal or without a prototype, in whichever realm: what is behind its prototype, if any, is nothing. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** A value that JSON hasn't got, as its author would recognize it. */
function nameOf(value: unknown): string {
  if (typeof value === 'number' || value === undefined) return String(value);
  if (typeof value !== 'object' || value === null) return `a ${typeof value}`;
  const { constructor: made } = value;
  return typeof made === 'function' && made.name !== '' ? `a ${made.name}` : 'an object of a class';
}
