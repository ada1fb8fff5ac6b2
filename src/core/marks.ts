/**
 * The marks of a version: by them it can say, for any cursor, exactly which fields changed after it, and a merge can
 * tell, path by path, what a writer had seen. `design.md`, sections 3 and 4.
 */

import { type Operation, valueAt } from './delta.ts';
import { formatDot } from './dot.ts';
import type { EntityVersion, Mark, Marks, PathMark, WriteKind } from './entity.ts';
import { laterStamp, type Stamp } from './hlc.ts';
import { CLOUD } from './ids.ts';
import type { JsonObject } from './json.ts';
import { formatPath, isWithin, type Path, parsePath } from './path.ts';
import type { VectorClock } from './vector-clock.ts';

/** What a change writes, before the cloud has given it a place: `'whole'`, or its paths. */
export type Written = 'whole' | readonly PathWrite[];

export interface PathWrite {
  readonly path: Path;
  readonly kind: WriteKind;
  /** Where it is another than the change's. */
  readonly stamp?: Stamp | undefined;
  /** Whether the value stands for more than the change's writer had seen. */
  readonly isShared?: boolean | undefined;
}

/** Beyond this many, the oldest become part of the whole: readers get more than they need, merges see more conflicts. */
export const MAX_MARKS = 256;

/** The marks of a version; one without any was written as a whole. */
export function marksOf({ marks, seq, version, stamp }: EntityVersion): Marks {
  return marks ?? { whole: { seq, dot: version, stamp }, paths: [] };
}

/**
 * The marks of the version that comes after `current`; undefined: all of it is new.
 *
 * @param own of the change itself.
 * @param version of what the change shares with others.
 * @param ahead what was written over before it is here; undefined: the change says nothing of that.
 */
export function marksAfter(
  current: EntityVersion | undefined,
  written: Written,
  own: Mark,
  version: string,
  ahead?: VectorClock | undefined,
): Marks | undefined {
  if (written === 'whole' || current === undefined || current.data === null) {
    return hasEntries(ahead) ? { whole: { ...own, dot: version }, paths: [], ahead } : undefined;
  }
  const { whole, paths: before } = marksOf(current);
  const paths = [...before];
  for (const { path, kind, stamp = own.stamp, isShared } of written) {
    for (let index = paths.length - 1; index >= 0; index -= 1) {
      const earlier = paths[index];
      if (earlier !== undefined && isReplaced(earlier, path, kind)) paths.splice(index, 1);
    }
    paths.push({ seq: own.seq, dot: isShared ? version : own.dot, stamp, path: formatPath(path), kind });
  }
  const still = ahead ?? current.marks?.ahead;
  return { ...bounded({ whole, paths }), ...(hasEntries(still) ? { ahead: still } : {}) };
}

function hasEntries(clock: VectorClock | undefined): boolean {
  return Object.keys(clock ?? {}).length > 0;
}

/** A set covers all at and below its path; increments and elements only earlier ones of their kind. */
function isReplaced(earlier: PathMark, path: Path, kind: WriteKind): boolean {
  if (kind === 'set') return isWithin(pathOf(earlier), path);
  return earlier.kind === kind && earlier.path === formatPath(path);
}

/**
 * Folds the oldest marks into the whole, which counts from then on as written with the last of them. Its dot is the
 * cloud's: who made the last of them need not have seen the others.
 */
function bounded(marks: Marks): Marks {
  const surplus = marks.paths.length - MAX_MARKS;
  const last = marks.paths[surplus - 1];
  if (last === undefined) return marks;
  const folded = marks.paths.slice(0, surplus);
  const stamp = folded.reduce((latest, mark) => laterStamp(latest, mark.stamp), marks.whole.stamp);
  const whole = { seq: last.seq, dot: formatDot({ node: CLOUD, counter: last.seq }), stamp };
  return { whole, paths: marks.paths.slice(surplus) };
}

/** Fields as operations; `kinds` of the paths that were not only set. */
export interface Fields {
  readonly operations: readonly Operation[];
  readonly kinds: Readonly<Record<string, 'add' | 'list'>>;
}

/**
 * The fields of a version that were written after `seq`, as operations on the version that a reader has who has
 * everything up to `seq`; undefined: the reader needs the whole record.
 */
export function fieldsAfter(version: EntityVersion, seq: number): Fields | undefined {
  const { whole, paths } = marksOf(version);
  const { data } = version;
  if (data === null || whole.seq > seq) return undefined;
  const fields = new Map<string, { readonly path: Path; readonly kind: WriteKind }>();
  for (const mark of paths) {
    if (mark.seq <= seq) continue;
    const path = pathOf(mark);
    const kind = fields.has(mark.path) ? 'set' : mark.kind;
    // A value brings all that is below it.
    const isBrought = [...fields].some(([text, outer]) => text !== mark.path && isWithin(path, outer.path));
    if (!isBrought) fields.set(mark.path, { path, kind });
  }
  const operations = [...fields.values()].map(({ path }) => fieldOf(data, path));
  const kinds: Record<string, 'add' | 'list'> = {};
  for (const [text, { kind }] of fields) if (kind === 'add' || kind === 'list') kinds[text] = kind;
  return { operations, kinds };
}

function fieldOf(data: JsonObject, path: Path): Operation {
  const value = valueAt(data, path);
  const text = formatPath(path);
  return value === undefined ? { op: 'unset', path: text } : { op: 'set', path: text, value };
}

/**
 * What operations write: a path through an array writes the array.
 *
 * @param stampOf an operation's stamp by its path, where that is another than the change's.
 */
export function pathsWritten(
  operations: readonly Operation[],
  before: JsonObject,
  after: JsonObject,
  stampOf: (path: string) => Stamp | undefined = () => undefined,
): PathWrite[] {
  return operations.flatMap((operation): PathWrite[] => {
    const path = parsePath(operation.path) ?? [];
    const stamp = stampOf(operation.path);
    const array = throughArray(path, before) ?? throughArray(path, after);
    if (array !== undefined) return [{ path: array, kind: 'set', stamp }];
    return [...madeFor(path, before, after), { path, kind: kindOf(operation), stamp }];
  });
}

/** The object that had to be made so that there is a way to a path. */
export function madeFor(path: Path, before: JsonObject, after: JsonObject): PathWrite[] {
  for (let length = 1; length < path.length; length += 1) {
    const outer = path.slice(0, length);
    if (valueAt(before, outer) === undefined) {
      return valueAt(after, outer) === undefined ? [] : [{ path: outer, kind: 'made' }];
    }
  }
  return [];
}

/** The path of the first array that a path goes into, if it goes into one. */
export function throughArray(path: Path, data: JsonObject): Path | undefined {
  for (let length = 1; length < path.length; length += 1) {
    const outer = path.slice(0, length);
    if (Array.isArray(valueAt(data, outer))) return outer;
  }
  return undefined;
}

export function kindOf({ op }: Operation): WriteKind {
  if (op === 'increment') return 'add';
  return op === 'push' || op === 'pull' ? 'list' : 'set';
}

export function pathOf(mark: { readonly path: string }): Path {
  const path = parsePath(mark.path);
  if (path === undefined) throw new Error(`invariant broken: ${mark.path} is no path`);
  return path;
}
