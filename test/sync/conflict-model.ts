import type { JsonObject, JsonValue } from '../../src/core/json.ts';
import { isJsonObject, jsonEqual } from '../../src/core/json.ts';
import type { ConflictRule, CreateRule, DeleteRule } from '../../src/core/policy.ts';

/**
 * What docs/policies.md says must become of writes to one record whose writers had not seen each other, said once more,
 * by hand, and with nothing of the engine: an oracle for small scopes.
 */

/** One thing that a write does. `value` undefined: the path is to hold nothing. */
export interface Effect {
  readonly how: 'set' | 'add' | 'push' | 'pull';
  readonly path: string;
  readonly value: JsonValue | undefined;
}

export interface Side {
  readonly by: string;
  /** When it was written; one that somebody waits for is later than all that waits. */
  readonly at: number;
  /** What its writer saw come of it; null: it deletes. */
  readonly record: JsonObject | null;
  /** What it changed of the record that it began with. */
  readonly effects: readonly Effect[];
  /** Whether somebody waits for it, and whether it says what to do with what it meets. */
  readonly strong?: 'record' | 'steps' | undefined;
}

export interface Rule {
  readonly conflict: ConflictRule;
  readonly onDelete: DeleteRule;
  readonly onCreate: CreateRule;
}

export type Records = Readonly<Record<string, JsonObject>>;

/**
 * The records that must be there in the end, `x` and what got another id.
 *
 * @param arrived in the order in which the cloud gets them.
 * @param began the record that all began with; undefined: there was none.
 * @returns undefined where it may depend on the order of arrival (docs/decisions/0005-marks.md).
 */
export function expectedRecords(
  arrived: readonly Side[],
  rule: Rule,
  began: JsonObject | undefined,
): Records | undefined {
  const sides = began === undefined ? withoutRefused(arrived) : arrived;
  if (isOrderOpen(sides, rule, began)) return undefined;
  // A strong one that isn't the first is done to what it meets.
  const isOfRecords = sides.every(({ record, strong }, index) => record !== null && (index === 0 || !strong));
  if (isMerging(rule, began) && isOfRecords && sides.length > 0)
    return { x: began === undefined ? united(sides) : merged(sides, began) };
  return folded(sides, rule, began);
}

/** What a resolver of these worlds makes of two. */
export function keptBoth(local: JsonObject, remote: JsonObject): JsonObject {
  return { ...local, ...remote, both: true };
}

/** The conflict of two, with what each wrote; undefined: there is none. */
export function expectedConflict(
  arrived: readonly Side[],
  rule: Rule,
  began: JsonObject | undefined,
): { status: 'open' | 'resolved'; local: JsonObject | null; remote: JsonObject | null } | undefined {
  const [first, second] = began === undefined ? withoutRefused(arrived) : arrived;
  if (first === undefined || second === undefined || second.strong === 'steps') return undefined;
  const [local, remote] = [first.record, second.record];
  if ((local === null && remote === null) || isAgreement(first, second, rule, began)) return undefined;
  const isOfUpdates = began !== undefined && local !== null && remote !== null;
  const isLeftToPeople = isOfUpdates && rule.conflict === 'manual' && second.strong === undefined;
  return { status: isLeftToPeople ? 'open' : 'resolved', local, remote };
}

/** Both made the same record; but two that count to the same meant more, unless a merge finds that they didn't. */
function isAgreement(first: Side, second: Side, rule: Rule, began: JsonObject | undefined): boolean {
  if (first.record === null || second.record === null || !jsonEqual(first.record, second.record)) return false;
  if (!isMerging(rule, began) || second.strong !== undefined) return !second.effects.some(isAdding);
  return jsonEqual(expectedRecords([first, second], rule, began)?.['x'] ?? null, first.record);
}

function isMerging(rule: Rule, began: JsonObject | undefined): boolean {
  return began === undefined ? rule.onCreate === 'merge' : rule.conflict === 'merge';
}

/** Whether a state shows all that a write did. */
export function shows(data: JsonObject | null, { record, effects }: Side): boolean {
  if (record === null || data === null) return record === data;
  return effects.every(({ how, path, value }) => {
    const there = valueAt(data, path);
    if (how === 'add') return Number(there) >= Number(valueAt(record, path));
    if (how === 'set')
      return value === undefined ? there === undefined : there !== undefined && jsonEqual(there, value);
    const isThere = Array.isArray(there) && there.some((one) => jsonEqual(one, value ?? null));
    return how === 'push' ? isThere : !isThere;
  });
}

/** Does effects, one after the other. */
export function applied(data: JsonObject, effects: readonly Effect[]): JsonObject {
  return effects.reduce((before, { how, path, value }) => {
    const there = valueAt(before, path);
    switch (how) {
      case 'set':
        return withValue(before, path, value);
      case 'add':
        return withValue(before, path, Number(there ?? 0) + Number(value));
      case 'push':
        return withValue(before, path, [...(Array.isArray(there) ? there : []), value ?? null]);
      case 'pull':
        return withValue(
          before,
          path,
          (Array.isArray(there) ? there : []).filter((one) => one !== value),
        );
      default:
        throw new Error(`there is no ${how satisfies never}`);
    }
  }, data);
}

// Merge.

/**
 * Of values for one path the latest stays, and of `a` and `a.b` the later one holds for `a.b`: so values in the order of
 * time. Increments add up, pushes and pulls happen as they come. Where those and values meet all are values.
 */
function merged(arrived: readonly Side[], began: JsonObject): JsonObject {
  let data = began;
  const isCombined = (effect: Effect) => clusterOf(effect, arrived).every((other) => combines(effect, other));
  for (const { record, effects } of byTime(arrived)) {
    for (const effect of effects) {
      if (!isCombined(effect)) data = withValue(data, effect.path, valueAt(record ?? {}, effect.path));
    }
  }
  return arrived.reduce((before, { effects }) => applied(before, effects.filter(isCombined)), data);
}

/** Two creations keep what only one of them has; of what both have the later stays. */
function united(arrived: readonly Side[]): JsonObject {
  return byTime(arrived).reduce((data, { record }) => union(data, record ?? {}), {});
}

function union(earlier: JsonObject, later: JsonObject): JsonObject {
  const all: Record<string, JsonValue> = { ...earlier };
  for (const [key, value] of Object.entries(later)) {
    const before = all[key];
    all[key] = isJsonObject(before) && isJsonObject(value) ? union(before, value) : value;
  }
  return all;
}

// Where the order of arrival may decide: of three, by merge.

function isOrderOpen(sides: readonly Side[], rule: Rule, began: JsonObject | undefined): boolean {
  if (sides.length < 3) return false;
  if (began === undefined) return rule.onCreate === 'merge' && isRepeated(sides);
  if (rule.conflict !== 'merge') return false;
  const deletions = sides.filter(({ record }) => record === null);
  if (deletions.length === 0) return isEntangled(sides);
  // What was deleted isn't kept, so an update that comes after the delete can't be merged with one that came before it.
  return deletions.length === 1 && !hasWon(deletions, sides, rule);
}

/** The one delete wins over both updates, whenever it comes. */
function hasWon([deletion]: readonly Side[], sides: readonly Side[], { onDelete }: Rule): boolean {
  if (onDelete === 'latest') return byTime(sides).at(-1) === deletion;
  return onDelete === 'delete-wins';
}

/** Two of three add to a path (to pull twice is to pull once), and the third gives it a value, and isn't the last of them. */
function isEntangled(sides: readonly Side[]): boolean {
  return byTime(sides)
    .slice(0, -1)
    .some(({ effects }) => effects.some((effect) => !isAdding(effect) && addersOf(effect, sides) === 2));
}

function addersOf({ path }: Effect, sides: readonly Side[]): number {
  const adding = sides.flatMap(({ effects }) => effects.filter((other) => isAdding(other) && other.path === path));
  return adding.every(({ how }) => how === 'pull') ? 1 : adding.length;
}

/** What one creation has stands, by time, between two that have the same: what is repeated is as old as who wrote it first. */
function isRepeated(sides: readonly Side[]): boolean {
  const [first, between, last] = byTime(sides).map(({ record }) => record ?? {});
  return leavesOf(between ?? {}).some((path) => {
    const [before, value, after] = [first, between, last].map((record) => JSON.stringify(valueAt(record ?? {}, path)));
    return before !== undefined && before === after && before !== value;
  });
}

// All other rules: two at a time, as they come.

interface Held {
  readonly data: JsonObject | null;
  readonly at: number;
}

function folded(sides: readonly Side[], rule: Rule, began: JsonObject | undefined): Records {
  let held: Held | undefined;
  const renamed: Record<string, JsonObject> = {};
  for (const side of sides) {
    const isSecond = held?.data != null && side.record !== null && !isSame(held.data, side);
    if (isSecond && began === undefined && rule.onCreate === 'rename' && side.strong === undefined) {
      renamed[`x~${side.by}`] = side.record ?? {};
    } else held = held === undefined ? { data: side.record, at: side.at } : met(held, side, rule, began);
  }
  return held?.data == null ? renamed : { x: held.data, ...renamed };
}

function met(held: Held, side: Side, rule: Rule, began: JsonObject | undefined): Held {
  const { record, at } = side;
  const mine: Held = { data: record, at };
  const later = at > held.at ? mine : held;
  if (side.strong !== undefined) return strongOn(held, side);
  if (held.data === null && record === null) return later;
  if (held.data === null || record === null) {
    const deletion = record === null ? mine : held;
    const update = record === null ? held : mine;
    if (rule.onDelete === 'latest') return later;
    return rule.onDelete === 'delete-wins' ? deletion : update;
  }
  if (isSame(held.data, side)) return { data: held.data, at: later.at };
  // The records of two creations are one's or the other's here; `merge` and `rename` are above.
  const conflict = began === undefined ? 'lww' : rule.conflict;
  switch (conflict) {
    case 'lww':
      return later;
    case 'manual':
      return held;
    case 'custom':
      return { data: keptBoth(held.data, record), at: later.at };
    case 'merge':
      // Both give way to a third, which deletes: when is all that matters.
      return later;
    default:
      throw new Error(`there is no ${conflict satisfies never}`);
  }
}

/** It takes effect when it arrives, whatever it meets and whatever the policy; but there has to be what it is meant for. */
function strongOn(held: Held, { record, effects, strong, at }: Side): Held {
  if (strong === 'record') return { data: record, at };
  return held.data === null ? held : { data: applied(held.data, effects), at };
}

/** A strong one that finds nothing to begin with is refused. */
function withoutRefused(arrived: readonly Side[]): readonly Side[] {
  const first = arrived.findIndex(
    ({ strong, record }) => strong === undefined || (strong === 'record' && record !== null),
  );
  return first === -1 ? [] : arrived.slice(first);
}

function isSame(data: JsonObject, { record, effects }: Side): boolean {
  return record !== null && jsonEqual(data, record) && !effects.some(isAdding);
}

// What all of them need.

function isAdding({ how }: Effect): boolean {
  return how !== 'set';
}

function byTime(sides: readonly Side[]): Side[] {
  return [...sides].sort((a, b) => a.at - b.at);
}

function combines(one: Effect, other: Effect): boolean {
  const isCounting = (effect: Effect) => effect.how === 'add';
  return isAdding(one) && isAdding(other) && one.path === other.path && isCounting(one) === isCounting(other);
}

/** All effects that overlap one, or one that overlaps it, and so on. */
function clusterOf(effect: Effect, sides: readonly Side[]): Effect[] {
  const cluster = [effect];
  const others = new Set(sides.flatMap(({ effects }) => effects));
  for (const one of cluster) {
    for (const other of others) if (overlaps(one.path, other.path) && !cluster.includes(other)) cluster.push(other);
  }
  return cluster;
}

function overlaps(one: string, other: string): boolean {
  return one === other || one.startsWith(`${other}.`) || other.startsWith(`${one}.`);
}

function valueAt(data: JsonObject, path: string): JsonValue | undefined {
  return path
    .split('.')
    .reduce<JsonValue | undefined>((value, key) => (isJsonObject(value) ? value[key] : undefined), data);
}

function withValue(data: JsonObject, path: string, value: JsonValue | undefined): JsonObject {
  const [key = '', ...rest] = path.split('.');
  const { [key]: child, ...others } = data;
  if (rest.length === 0) return value === undefined ? others : { ...data, [key]: value };
  if (value === undefined && !isJsonObject(child)) return data;
  return { ...data, [key]: withValue(isJsonObject(child) ? child : {}, rest.join('.'), value) };
}

function leavesOf(data: JsonObject, above = ''): string[] {
  return Object.entries(data).flatMap(([key, value]) => {
    return isJsonObject(value) ? leavesOf(value, `${above}${key}.`) : [`${above}${key}`];
  });
}
