/**
 * Two concurrent updates of one record as one: path by path, with what each side had seen and when it wrote. Disjoint
 * paths both apply; increments add up; pushes and pulls both apply; of two values for one path the later stamp's stays.
 * `design.md`, section 5.
 */

import { type Change, stampOf } from './change.ts';
import { type ChangeContext, hasSeen } from './context.ts';
import { applyOperations, compose, type Operation, valueAt } from './delta.ts';
import { type Dot, parseDot } from './dot.ts';
import type { EntityVersion, Mark, WriteKind } from './entity.ts';
import { compareStamps, laterStamp, type Stamp } from './hlc.ts';
import { isJsonObject, type JsonObject, type JsonValue, jsonEqual } from './json.ts';
import { kindOf, madeFor, marksOf, type PathWrite, pathOf, throughArray } from './marks.ts';
import { formatPath, isWithin, overlaps, type Path, parsePath } from './path.ts';

/** The update that comes in: the whole record that its writer meant, and, if they are known, the operations to it. */
export interface Incoming extends ChangeContext {
  readonly data: JsonObject;
  readonly operations?: readonly Operation[] | undefined;
  readonly stamp: Stamp;
  /** Of operations, by path, where they are earlier. */
  readonly stamps?: Change['stamps'];
}

export interface Merged {
  readonly data: JsonObject;
  /** What the incoming side changed; empty: nothing. */
  readonly written: readonly PathWrite[];
  /** Paths to which both sides gave a value, and whose value stayed. */
  readonly contested: readonly { readonly path: string; readonly winner: 'local' | 'remote' }[];
}

/**
 * Merges an update into a live version that its writer had not seen all of. Pure. Whichever of two updates comes first,
 * the record is the same, and of more where they neither write inside one another, nor both set and add to one path, nor
 * repeat a value of each other in a whole record (which is no write of it: the value's time stays that of the first), nor
 * have a delete between them (what was deleted isn't kept: who brings the record back wrote all of it); but elements that
 * two push stand in the order in which they came, of a push and a pull of one element the later to come decides, and an
 * object that one made on the way to what the other unset later stays, empty, only where the one came first. Costs
 * paths of the update times marks of the version.
 */
export function mergeUpdate(current: EntityVersion & { readonly data: JsonObject }, incoming: Incoming): Merged {
  const merge = new Merge(current, incoming);
  for (const write of writesOf(current, incoming)) merge.take(write);
  return merge.result();
}

/** One thing that the incoming side did. `value`: what its path holds in its record; undefined: nothing. */
interface Write {
  readonly path: Path;
  readonly kind: WriteKind;
  readonly value: JsonValue | undefined;
  readonly stamp: Stamp;
  readonly operation?: Operation | undefined;
}

/** A mark of the current version that overlaps a write, and that the writer had not seen. */
interface Unseen extends Mark {
  readonly path: Path;
  readonly kind: WriteKind;
}

class Merge {
  readonly #current: EntityVersion & { readonly data: JsonObject };
  readonly #incoming: Incoming;
  readonly #written: PathWrite[] = [];
  readonly #contested: { path: string; winner: 'local' | 'remote' }[] = [];
  #data: JsonObject;

  constructor(current: EntityVersion & { readonly data: JsonObject }, incoming: Incoming) {
    this.#current = current;
    this.#incoming = incoming;
    this.#data = current.data;
  }

  result(): Merged {
    return { data: this.#data, written: this.#written, contested: this.#contested };
  }

  take(write: Write): void {
    const unseen = unseenBy(this.#incoming, this.#current, write.path);
    if (unseen.length === 0) this.#apply(write, { stamp: write.stamp });
    else if (unseen.every((mark) => addsUp(write, mark))) {
      this.#apply(write, { stamp: latest(unseen, write.stamp), isShared: true });
    } else this.#contest(write, unseen);
  }

  /** Nobody gave the path another value: the operation does what it does. */
  #apply(write: Write, as: Pick<PathWrite, 'stamp' | 'isShared'>): void {
    const applied = write.operation && applyOperations(this.#data, [write.operation]);
    if (applied?.ok) {
      const made = madeFor(write.path, this.#data, applied.data);
      this.#data = applied.data;
      this.#written.push(...made, { path: write.path, kind: write.kind, ...as });
    } else {
      this.#put(write, as);
    }
  }

  /** Both sides gave a value to the path, or to what is above or below it. */
  #contest(write: Write, unseen: readonly Unseen[]): void {
    const { path, stamp, value } = write;
    const above = unseen.filter((mark) => isWithin(path, mark.path));
    const isLater = above.every((mark) => compareStamps(mark.stamp, stamp) < 0);
    if (!isSame(valueAt(this.#current.data, path), value)) {
      this.#contested.push({ path: formatPath(path), winner: isLater ? 'remote' : 'local' });
    }
    if (!isLater) return;
    this.#put(write, { stamp, isShared: true });
    // What was written later somewhere below stands.
    for (const mark of unseen) {
      if (isWithin(path, mark.path) || compareStamps(mark.stamp, stamp) < 0) continue;
      this.#data = withValue(this.#data, mark.path, valueAt(this.#current.data, mark.path)).data;
      this.#written.push({ path: mark.path, kind: mark.kind, stamp: mark.stamp, isShared: true });
    }
  }

  #put({ path, value }: Write, as: Pick<PathWrite, 'stamp' | 'isShared'>): void {
    const { data, path: replaced } = withValue(this.#data, path, value);
    // Nothing was there, nor could be: there is a value on the way.
    if (value === undefined && data === this.#data && deepest(data, path) !== undefined) return;
    this.#written.push(...madeFor(path, this.#data, data));
    this.#data = data;
    // What had to go so that there is a way to the path is written as well, and no later than it was.
    if (replaced.length < path.length) {
      this.#written.push({ path: replaced, kind: 'set', stamp: stampAt(this.#current, replaced), isShared: true });
    }
    this.#written.push({ path, kind: 'set', ...as });
  }
}

/**
 * The record that both sides began with, where what the incoming side did tells: it set other paths than the version
 * here did, or counted. Null: it isn't known.
 */
export function baseOf(current: EntityVersion & { readonly data: JsonObject }, incoming: Incoming): JsonObject | null {
  const { whole, paths } = marksOf(current);
  if (incoming.operations === undefined || !isSeen(incoming, whole)) return null;
  const made = paths.filter((mark) => mark.kind === 'made' && !isSeen(incoming, mark)).map(pathOf);
  const writes = writesOf(current, incoming);
  let base = incoming.data;
  for (const write of writes) {
    // Who made the way to it isn't known: it may not have been there.
    if (made.some((outer) => isWithin(write.path, outer))) return null;
    if (unseenBy(incoming, current, write.path).length === 0) {
      const path = wayTo(write.path, current.data);
      base = withValue(base, path, valueAt(current.data, path)).data;
      continue;
    }
    const isAlone = writes.every((other) => other === write || !overlaps(other.path, write.path));
    const counted = isAlone ? countedFrom(write) : 0;
    // What isn't there counts as 0 too.
    if (counted === 0) return null;
    base = withValue(base, write.path, counted).data;
  }
  return base;
}

/** What an increment began with; 0: nothing, or it isn't known. Whole numbers only: a fraction may have been rounded. */
function countedFrom({ operation, value }: Write): number {
  if (operation?.op !== 'increment' || typeof value !== 'number') return 0;
  const before = value - operation.value;
  return [value, operation.value, before].every(Number.isSafeInteger) ? before : 0;
}

/** As far as a record goes on the way to a path, and one step further. */
function wayTo(path: Path, data: JsonObject): Path {
  const length = path.findIndex((_, index) => valueAt(data, path.slice(0, index + 1)) === undefined);
  return length === -1 ? path : path.slice(0, length + 1);
}

/**
 * What the incoming side wrote. Without its operations: what differs from the version here, but for what is only here
 * and that the writer had not seen, of which its record says nothing.
 */
function writesOf(current: EntityVersion & { readonly data: JsonObject }, incoming: Incoming): Write[] {
  const { data, operations, stamp } = incoming;
  if (operations !== undefined) {
    return apart(
      compose([], operations).map((operation) => writeOf(operation, incoming)),
      data,
    );
  }
  return differences([], current.data, data)
    .filter((path) => valueAt(data, path) !== undefined || unseenBy(incoming, current, path).length === 0)
    .map((path) => ({ path, kind: 'set', value: valueAt(data, path), stamp }));
}

/** Writes that overlap as one, of what they come to; but what adds to one path can be done one after the other. */
function apart(writes: readonly Write[], data: JsonObject): Write[] {
  const all: Write[] = [];
  for (const write of writes) {
    let { path, stamp } = write;
    let isAlone = true;
    for (let index = all.length - 1; index >= 0; index -= 1) {
      const other = all[index];
      if (other === undefined || !overlaps(other.path, path) || addsUp(write, other)) continue;
      all.splice(index, 1);
      isAlone = false;
      stamp = laterStamp(stamp, other.stamp);
      if (other.path.length < path.length) path = other.path;
    }
    all.push(isAlone ? write : { path, kind: 'set', value: valueAt(data, path), stamp });
  }
  return all;
}

/** An operation that goes into an array sets the array: an index says nothing where the other side moved elements. */
function writeOf(operation: Operation, incoming: Incoming): Write {
  const { data } = incoming;
  const path = parsePath(operation.path) ?? [];
  const stamp = stampOf(incoming, operation.path);
  const array = throughArray(path, data);
  if (array !== undefined) return { path: array, kind: 'set', value: valueAt(data, array), stamp };
  return { path, kind: kindOf(operation), value: valueAt(data, path), stamp, operation };
}

/** Paths at which two records differ, as deep as both have objects. */
function differences(path: Path, before: JsonObject, after: JsonObject): Path[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].sort().flatMap((key) => {
    const [here, there] = [valueAt(before, [key]), valueAt(after, [key])];
    if (isSame(here, there)) return [];
    const isDeeper = isJsonObject(here) && isJsonObject(there);
    return isDeeper ? differences([...path, key], here, there) : [[...path, key]];
  });
}

/** The marks that overlap a path and that a writer had not seen. */
function unseenBy(writer: Incoming, current: EntityVersion & { readonly data: JsonObject }, path: Path): Unseen[] {
  const { whole, paths } = marksOf(current);
  const unseen = paths
    .map((mark): Unseen => ({ ...mark, path: pathOf(mark) }))
    .filter((mark) => mark.kind !== 'made' && overlaps(mark.path, path) && !isSeen(writer, mark));
  // A record as a whole gives a value to what it holds, and says nothing of what it doesn't; nor of what was set since.
  const isSetSince = paths.some((mark) => mark.kind === 'set' && isWithin(path, pathOf(mark)));
  const isHeld = deepest(current.data, path) !== undefined && !isSetSince;
  return isHeld && !isSeen(writer, whole) ? [...unseen, { ...whole, path: [], kind: 'set' }] : unseen;
}

function isSeen(writer: ChangeContext, { seq, dot }: Mark): boolean {
  return hasSeen(writer, { seq, dot: parsedDot(dot) });
}

/** When what a path holds was last given to it as one. */
function stampAt(current: EntityVersion, path: Path): Stamp {
  const { whole, paths } = marksOf(current);
  const above = paths.filter((mark) => isWithin(path, pathOf(mark)));
  return latest(above, whole.stamp);
}

/** The value at a path, or the one that stands in the way to it; undefined: there is neither. */
function deepest(data: JsonObject, path: Path): JsonValue | undefined {
  let value: JsonValue | undefined = data;
  for (const key of path) {
    if (!isJsonObject(value)) return value;
    value = valueAt(value, [key]);
  }
  return value;
}

function addsUp(write: Write, mark: Pick<Write, 'path' | 'kind'>): boolean {
  return write.kind !== 'set' && write.kind === mark.kind && formatPath(write.path) === formatPath(mark.path);
}

function latest(marks: readonly Mark[], stamp: Stamp): Stamp {
  return marks.reduce((max, mark) => laterStamp(max, mark.stamp), stamp);
}

/**
 * The record with a value at a path (undefined: without), whatever stands in the way.
 *
 * @returns also the path that got a new value: the given one, or the one above it at which something had to go.
 */
function withValue(data: JsonObject, path: Path, value: JsonValue | undefined): { data: JsonObject; path: Path } {
  const [key, ...rest] = path;
  if (key === undefined) return { data: isJsonObject(value) ? value : {}, path };
  const { [key]: child, ...others } = data;
  const isThere = Object.hasOwn(data, key);
  if (rest.length === 0) return { data: value === undefined ? others : { ...data, [key]: value }, path };
  if (value === undefined && !(isThere && isJsonObject(child))) return { data, path };
  const inner = withValue(isThere && isJsonObject(child) ? child : {}, rest, value);
  if (inner.data === child) return { data, path };
  const isInTheWay = isThere && !isJsonObject(child);
  return { data: { ...data, [key]: inner.data }, path: isInTheWay ? [key] : [key, ...inner.path] };
}

function isSame(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  return a === undefined || b === undefined ? a === b : jsonEqual(a, b);
}

function parsedDot(text: string): Dot {
  const dot = parseDot(text);
  if (dot === undefined) throw new Error(`invariant broken: ${text} is no dot`);
  return dot;
}
