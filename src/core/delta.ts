/**
 * What a change does to a record, as a list of operations: applied, found between two records, put together.
 * The words and rules are those of `http.md`, section 2.
 */

import { assertNever } from './assert.ts';
import type { JsonObject, JsonValue } from './json.ts';
import { isJsonObject, jsonEqual } from './json.ts';
import type { Path } from './path.ts';
import { formatPath, isForbidden, isWithin, overlaps, parsePath } from './path.ts';

/** `path` as on the wire: the text that `parsePath` reads. */
export type Operation =
  | { readonly op: 'set'; readonly path: string; readonly value: JsonValue }
  | { readonly op: 'unset'; readonly path: string }
  | { readonly op: 'increment'; readonly path: string; readonly value: number }
  | { readonly op: 'push'; readonly path: string; readonly value: JsonValue }
  | { readonly op: 'pull'; readonly path: string; readonly value: JsonValue };

export type Refusal =
  | 'bad-path'
  | 'forbidden-path'
  | 'not-a-number'
  | 'not-an-array'
  | 'not-an-object'
  | 'bad-index'
  | 'too-deep';

/** `index`: of the operation that was refused. `detail`: for people. */
export type ApplyResult =
  | { readonly ok: true; readonly data: JsonObject }
  | { readonly ok: false; readonly index: number; readonly reason: Refusal; readonly detail: string };

/** How many containers may be inside one another, the record itself being the first. Source: `http.md`, section 2. */
export const MAX_DEPTH = 32;

/** Of one change. Source: `http.md`, section 2. */
export const MAX_OPERATIONS = 1_000;

/** A delta pays only below this share of the record. Source: `design.md`, section 7. */
const MAX_DELTA_SHARE = 0.8;

/** Beyond this many different elements gone, an array is set whole: finding them costs elements times pulls. */
const MAX_PULLS = 16;

/**
 * The record after all operations, in order, or the first refusal and none of them.
 *
 * `set`, `increment` and `push` make the objects that are missing on their way; `unset` and `pull` of what is missing do
 * nothing. In an array a path may name only an element that is there. Pure: the input is shared, never changed. Costs
 * one copy of each container on the way, however many operations go through it.
 */
export function applyOperations(data: JsonObject, operations: readonly Operation[]): ApplyResult {
  const drafts: Drafts = { objects: new Map(), arrays: new Map() };
  const root = draftObject(data, drafts);
  for (const [index, operation] of operations.entries()) {
    const problem = applyOne(root, operation, drafts);
    if (problem !== undefined) return { ok: false, index, ...problem };
  }
  return { ok: true, data: root };
}

/**
 * Operations that turn `before` into `after`, in the order of their keys: `set`, `unset`, and `push` or `pull` where
 * they give exactly the array that is asked for. `undefined` where operations can't (a forbidden key changed, `after`
 * is deeper than {@link MAX_DEPTH}) or mustn't (more than {@link MAX_OPERATIONS}): send the whole record then.
 */
export function diff(before: JsonObject, after: JsonObject): Operation[] | undefined {
  if (exceedsDepth(after, MAX_DEPTH)) return undefined;
  const operations = diffObjects([], before, after);
  const isExpressible = operations.length <= MAX_OPERATIONS && applyOperations(before, operations).ok;
  return isExpressible ? operations : undefined;
}

/**
 * One delta that does what two in a row do, wherever these succeed.
 *
 * Simplified where that is sound on every record: a `set` or `unset` replaces what came before it at or below its path;
 * what comes at or below a `set` goes into its value; whole-number increments of one path add up. Adding is exact while
 * the number there is whole and safe; beside a fraction it may round differently in the last place. Operations with
 * fractions stay apart. Costs at most the product of the lengths.
 */
export function compose(first: readonly Operation[], second: readonly Operation[]): Operation[] {
  const all = [...first, ...second];
  const steps: Step[] = [];
  for (const operation of all) {
    const path = parsePath(operation.path);
    if (path === undefined) return all;
    append(steps, { operation, path });
  }
  return steps.map((step) => step.operation);
}

/** Whether a delta is worth sending: under 80 % of the record, both as JSON in UTF-8. */
export function isSmaller(operations: readonly Operation[], record: JsonObject): boolean {
  return jsonBytes(operations) < MAX_DELTA_SHARE * jsonBytes(record);
}

/** Whether an operation builds on what is there, so that it means more than the record that it makes. */
export function isAdditive({ op }: Operation): boolean {
  return op === 'increment' || op === 'push' || op === 'pull';
}

/**
 * A merge patch (RFC 7386) as operations on the current record. `null` becomes an `unset`, also of what is missing; an
 * object goes into the object that is there, or is set without its nulls. A patch that names a forbidden key, or is too
 * deep, makes operations that {@link applyOperations} refuses.
 */
export function mergePatchOperations(current: JsonObject, patch: JsonObject): Operation[] {
  return patchObject([], current, patch);
}

/** The value at a path; undefined: there is none. */
export function valueAt(data: JsonObject, path: Path): JsonValue | undefined {
  let value: JsonValue | undefined = data;
  for (const key of path) value = value !== undefined && isContainer(value) ? childOf(value, key) : undefined;
  return value;
}

/** Whether a value has more than `limit` containers inside one another. Looks no deeper than that. */
export function exceedsDepth(value: JsonValue, limit: number): boolean {
  if (!isContainer(value)) return false;
  return limit <= 0 || Object.values(value).some((child) => exceedsDepth(child, limit - 1));
}

// Applying. A draft is a container that this call has made or copied, and so may change.

type DraftObject = { [key: string]: JsonValue };
type Draft = DraftObject | JsonValue[];
type Drafts = {
  readonly objects: Map<JsonObject, DraftObject>;
  readonly arrays: Map<readonly JsonValue[], JsonValue[]>;
};
type Container = JsonObject | readonly JsonValue[];
type Problem = { readonly reason: Refusal; readonly detail: string };

function applyOne(root: Draft, operation: Operation, drafts: Drafts): Problem | undefined {
  const path = parsePath(operation.path);
  if (path === undefined) return problem('bad-path', operation, 'is not a path');
  if (isForbidden(path)) return problem('forbidden-path', operation, 'goes through a forbidden name');
  if (isTooDeep(operation, path)) return problem('too-deep', operation, `is deeper than ${MAX_DEPTH}`);

  let parent = root;
  for (const [depth, key] of path.entries()) {
    if (isArray(parent) && !isIndexOf(parent, key)) return problem('bad-index', operation, `has no element ${key}`);
    const child = childOf(parent, key);
    if (depth === path.length - 1) return applyTo(parent, key, child, operation, drafts);
    if (child === undefined && isRemoval(operation)) return undefined;
    const container = child === undefined ? {} : child;
    if (!isContainer(container)) return problem('not-an-object', operation, `has no container at ${key}`);
    const draft = draftOf(container, drafts);
    put(parent, key, draft);
    parent = draft;
  }
  return undefined;
}

function applyTo(
  parent: Draft,
  key: string,
  child: JsonValue | undefined,
  operation: Operation,
  drafts: Drafts,
): Problem | undefined {
  switch (operation.op) {
    case 'set':
      put(parent, key, operation.value);
      return undefined;
    case 'unset':
      if (isArray(parent)) return problem('bad-index', operation, 'is an element of an array');
      delete parent[key];
      return undefined;
    case 'increment': {
      const number = child === undefined ? 0 : child;
      if (typeof number !== 'number') return problem('not-a-number', operation, 'is not a number');
      const sum = number + operation.value;
      if (!Number.isFinite(sum)) return problem('not-a-number', operation, 'would not be finite');
      put(parent, key, sum === 0 ? 0 : sum); // Not -0, which JSON doesn't keep.
      return undefined;
    }
    case 'push': {
      if (child !== undefined && !isArray(child)) return problem('not-an-array', operation, 'is not an array');
      const draft = draftArray(child ?? [], drafts);
      draft.push(operation.value);
      put(parent, key, draft);
      return undefined;
    }
    case 'pull': {
      if (child === undefined) return undefined;
      if (!isArray(child)) return problem('not-an-array', operation, 'is not an array');
      put(parent, key, without(child, [operation.value]));
      return undefined;
    }
    default:
      return assertNever(operation);
  }
}

function problem(reason: Refusal, { op, path }: Operation, what: string): Problem {
  return { reason, detail: `${op}: the path "${path}" ${what}` };
}

function isTooDeep(operation: Operation, path: Path): boolean {
  const left = MAX_DEPTH - path.length;
  if (operation.op === 'set') return left < 0 || exceedsDepth(operation.value, left);
  if (operation.op === 'push') return exceedsDepth([operation.value], left);
  return left < 0;
}

function isRemoval(operation: Operation): boolean {
  return operation.op === 'unset' || operation.op === 'pull';
}

/** Digits as JavaScript writes them, so that an element has one name. */
const INDEX_PATTERN = /^(?:0|[1-9][0-9]*)$/;

function isIndexOf(array: readonly JsonValue[], key: string): boolean {
  return INDEX_PATTERN.test(key) && Number(key) < array.length;
}

/** Own properties only: what a prototype has isn't there. */
function childOf(container: Container, key: string): JsonValue | undefined {
  if (isArray(container)) return container[Number(key)];
  return Object.hasOwn(container, key) ? container[key] : undefined;
}

function put(parent: Draft, key: string, value: JsonValue): void {
  if (isArray(parent)) parent[Number(key)] = value;
  else parent[key] = value;
}

function draftOf(container: Container, drafts: Drafts): Draft {
  return isArray(container) ? draftArray(container, drafts) : draftObject(container, drafts);
}

function draftArray(array: readonly JsonValue[], { arrays }: Drafts): JsonValue[] {
  const draft = arrays.get(array) ?? [...array];
  arrays.set(draft, draft);
  return draft;
}

function draftObject(object: JsonObject, { objects }: Drafts): DraftObject {
  const draft = objects.get(object) ?? { ...object };
  objects.set(draft, draft);
  return draft;
}

// Finding a delta.

function diffObjects(path: Path, before: JsonObject, after: JsonObject): Operation[] {
  const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...keys].sort().flatMap((key) => diffChild([...path, key], childOf(before, key), childOf(after, key)));
}

function diffChild(path: Path, before: JsonValue | undefined, after: JsonValue | undefined): Operation[] {
  if (after === undefined) return [{ op: 'unset', path: formatPath(path) }];
  if (before === undefined) return [{ op: 'set', path: formatPath(path), value: after }];
  if (jsonEqual(before, after)) return [];
  if (isJsonObject(before) && isJsonObject(after)) return diffObjects(path, before, after);
  if (isArray(before) && isArray(after)) return diffArrays(path, before, after);
  return [{ op: 'set', path: formatPath(path), value: after }];
}

function diffArrays(path: Path, before: readonly JsonValue[], after: readonly JsonValue[]): Operation[] {
  const text = formatPath(path);
  const whole: Operation[] = [{ op: 'set', path: text, value: after }];
  if (before.length < after.length) {
    const isAppended = before.every((item, index) => isSame(item, after[index]));
    return isAppended ? after.slice(before.length).map((value) => ({ op: 'push', path: text, value })) : whole;
  }
  if (before.length > after.length) {
    return removedValues(before, after)?.map((value) => ({ op: 'pull', path: text, value })) ?? whole;
  }
  const single = before.flatMap((item, index) => diffChild([...path, String(index)], item, after[index]));
  return jsonBytes(single) < jsonBytes(whole) ? single : whole;
}

/** The values without which `before` is `after`, or `undefined` where there are none, or more than is worth it. */
function removedValues(before: readonly JsonValue[], after: readonly JsonValue[]): JsonValue[] | undefined {
  const removed: JsonValue[] = [];
  let kept = 0;
  for (const item of before) {
    if (includes(removed, item)) continue;
    if (isSame(item, after[kept])) kept += 1;
    else if (removed.length === MAX_PULLS) return undefined;
    else removed.push(item);
  }
  // An equal element may have been kept before it was known to be removed elsewhere.
  return jsonEqual(without(before, removed), after) ? removed : undefined;
}

function without(array: readonly JsonValue[], values: readonly JsonValue[]): JsonValue[] {
  return array.filter((item) => !includes(values, item));
}

function includes(values: readonly JsonValue[], item: JsonValue): boolean {
  return values.some((value) => jsonEqual(value, item));
}

function isSame(a: JsonValue, b: JsonValue | undefined): boolean {
  return b !== undefined && jsonEqual(a, b);
}

// Composing. Operations on paths that don't overlap commute; so the last one that overlaps decides what can be done.

type Step = { readonly operation: Operation; readonly path: Path };

function append(steps: Step[], next: Step): void {
  for (let index = steps.length - 1; index >= 0; index -= 1) {
    const earlier = steps[index];
    if (earlier === undefined || !overlaps(earlier.path, next.path)) continue;
    if (replaces(next, earlier)) {
      steps.splice(index, 1);
      continue;
    }
    const folded = fold(earlier, next);
    if (folded === undefined) break;
    steps[index] = { operation: folded, path: earlier.path };
    return;
  }
  steps.push(next);
}

/**
 * Whether the later operation leaves nothing of the earlier one. An `unset` below the top leaves the parents that the
 * earlier one may have made: then both stay.
 */
function replaces(later: Step, earlier: Step): boolean {
  if (!isWithin(earlier.path, later.path)) return false;
  if (later.operation.op === 'set') return true;
  return later.operation.op === 'unset' && (later.path.length === 1 || isRemoval(earlier.operation));
}

/** Both in one, in the place of the earlier. Their paths overlap, so these are equal where they are equally long. */
function fold(earlier: Step, next: Step): Operation | undefined {
  const [first, second] = [earlier.operation, next.operation];
  const isSamePath = earlier.path.length === next.path.length;
  if (first.op === 'increment' && second.op === 'increment') return isSamePath ? addUp(first, second.value) : undefined;
  if (first.op !== 'set' || next.path.length < earlier.path.length) return undefined;
  const applied = applyOperations({}, [first, second]);
  // Nothing is left where the later one is an `unset` of just that path.
  const value = applied.ok ? valueAt(applied.data, earlier.path) : undefined;
  return value === undefined ? undefined : { ...first, value };
}

/** Whole numbers only: the sum of fractions depends on the order of adding. */
function addUp(increment: Operation & { readonly op: 'increment' }, more: number): Operation | undefined {
  const value = increment.value + more;
  return [increment.value, more, value].every(Number.isSafeInteger) ? { ...increment, value } : undefined;
}

// Merge patch.

function patchObject(path: Path, current: JsonObject, patch: JsonObject): Operation[] {
  return Object.entries(patch).flatMap(([key, value]) => patchChild([...path, key], childOf(current, key), value));
}

function patchChild(path: Path, current: JsonValue | undefined, value: JsonValue): Operation[] {
  if (value === null) return [{ op: 'unset', path: formatPath(path) }];
  if (isJsonObject(current) && isJsonObject(value)) return patchObject(path, current, value);
  return [{ op: 'set', path: formatPath(path), value: withoutNulls(value, MAX_DEPTH) }];
}

/** Objects in arrays keep their nulls. What is nested beyond `levels` stays as it is, to be refused as too deep. */
function withoutNulls(value: JsonValue, levels: number): JsonValue {
  if (!isJsonObject(value) || levels === 0) return value;
  const kept = Object.entries(value).filter(([, child]) => child !== null);
  return Object.fromEntries(kept.map(([key, child]) => [key, withoutNulls(child, levels - 1)]));
}

// JSON.

function isContainer(value: JsonValue): value is Container {
  return typeof value === 'object' && value !== null;
}

function isArray(value: JsonValue): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** The size of a value as JSON in UTF-8. */
function jsonBytes(value: JsonValue | readonly Operation[]): number {
  const text = JSON.stringify(value);
  let bytes = 0;
  // JSON escapes lone surrogates, so each one here is half of a pair, which takes four bytes.
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    bytes += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3;
  }
  return bytes;
}
