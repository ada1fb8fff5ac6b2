import { type Change, stampOf } from '../../../src/core/change.ts';
import { valueAt } from '../../../src/core/delta.ts';
import type { EntityVersion } from '../../../src/core/entity.ts';
import type { Stamp } from '../../../src/core/hlc.ts';
import type { EntityKey } from '../../../src/core/ids.ts';
import { isJsonObject, type JsonObject, type JsonValue, jsonEqual } from '../../../src/core/json.ts';
import { formatPath, overlaps, type Path, parsePath } from '../../../src/core/path.ts';
import { policyFor } from '../../../src/core/policy.ts';
import type { ChangeResult } from '../../../src/protocol/messages.ts';
import { named } from '../names.ts';
import type { Op } from '../op.ts';
import { policies } from '../policies.ts';
import type { Space } from '../space.ts';
import { Violation } from '../violation.ts';
import { knows, mayMistake } from './sight.ts';

/** A value that a write gave to a path. */
interface Setting {
  readonly value: JsonValue;
  readonly stamp: string;
  readonly op: Op;
  /** The version that it came with. */
  readonly seq: number;
  /** It came with a whole record, and was there already. */
  readonly isRepeated: boolean;
  /** What its writer had seen there, and wrote over. */
  readonly over: Setting | undefined;
}

type Settings = ReadonlyMap<string, Setting>;

/**
 * I3, path by path, where records are merged: of two that set one path, neither of whom had seen the other, the later
 * one's value stays, in whatever order they came. Of paths that are written in other ways nothing is known.
 */
export class Fields {
  readonly #space: () => Space;
  /** Whose values the last version of an entity holds that a change made. */
  readonly #known = new Map<EntityKey, { readonly seq: number; readonly settings: Settings }>();

  constructor(space: () => Space) {
    this.#space = space;
  }

  /** @param before the version of the entity that the change met. */
  decided(
    change: Change,
    op: Op,
    { seq, stamp, conflictId }: ChangeResult,
    key: EntityKey,
    before: EntityVersion | undefined,
  ): void {
    const isMerged = policyFor(policies, change.entityType).conflict === 'merge' && change.consistency !== 'strong';
    if (!isMerged || op.disk === undefined) return;
    // A whole record that was asked for has in it what others wrote, and is meant as it is; a merge goes by what it writes.
    if (change.checksum !== undefined && conflictId === undefined) {
      this.#known.delete(key);
      return;
    }
    const after = seq === undefined ? before : this.#space().history.at(key, seq);
    if (after === undefined) return;
    const decidedAt = { ...change, stamp: (stamp ?? change.stamp) as Stamp };
    const wasThere = (path: string, value: JsonValue) => {
      const there = before && at(before, path);
      return there !== undefined && jsonEqual(there, value);
    };
    const untouched = this.#untouched(change, key, before);
    const taken = untouched.find(([path, { value }]) => !jsonEqual(at(after, path) ?? null, value));
    if (taken !== undefined) throw new Violation('I3', `${change.id} took ${key} ${taken[0]} back without writing it`);
    const settings = new Map(untouched);
    for (const [path, value] of valuesSet(change)) {
      const other = this.#settings(key, before).get(path);
      // Whose the value is that was there already, nobody knows.
      if (other === undefined && wasThere(path, value)) continue;
      const isRepeated = change.operations === undefined && wasThere(path, value);
      const over = other !== undefined && knows(op, other.op, other.seq) ? other : undefined;
      const mine = { value, stamp: stampOf(decidedAt, path), op, seq: after.seq, isRepeated, over };
      const stays = this.#whatStays(`${key} ${path}`, mine, other, at(after, path));
      if (stays !== undefined) settings.set(path, stays);
    }
    this.#known.set(key, { seq: after.seq, settings });
  }

  /** Nothing is known any more where something else came between: what people decide, or what happens at once. */
  #settings(key: EntityKey, before: EntityVersion | undefined): Settings {
    const known = this.#known.get(key);
    return known !== undefined && known.seq === before?.seq ? known.settings : new Map();
  }

  #untouched(change: Change, key: EntityKey, before: EntityVersion | undefined): [string, Setting][] {
    const written = pathsWritten(change);
    return [...this.#settings(key, before)].filter(([path]) => !written.some((one) => overlaps(one, pathOf(path))));
  }

  #whatStays(
    place: string,
    mine: Setting,
    other: Setting | undefined,
    value: JsonValue | undefined,
  ): Setting | undefined {
    const isThere = (setting: Setting) => value !== undefined && jsonEqual(value, setting.value);
    const isKnown = other !== undefined && isOver(other, mine.op);
    if (other === undefined || mine.over !== undefined || isKnown) {
      // Of two that gave the same value it is of the one that had seen the other.
      const isOlder = isKnown && mine.over === undefined;
      return (isOlder ? [other, mine] : [mine, other]).find((setting) => setting !== undefined && isThere(setting));
    }
    this.#space().trace.count('conflict: two set one path');
    const [later, earlier] = mine.stamp > other.stamp ? [mine, other] : [other, mine];
    if (isThere(later)) return later;
    const detail = `${place} should be of ${later.op.dot} at ${later.stamp}, not of ${earlier.op.dot} at ${earlier.stamp}`;
    if (mayMistake(mine.op, other.op) || mayMistake(other.op, mine.op)) return undefined;
    // What repeats a value is no write of it: the value's time stays that of who gave it first.
    if (later.isRepeated) this.#space().trace.count('excused: a repeated value gives way');
    else throw new Violation('I3', detail);
    return isThere(earlier) ? earlier : undefined;
  }
}

/** Whether who gave a value had seen a write, or had seen a value whose writer had. */
function isOver({ op, over }: Setting, write: Op): boolean {
  return knows(op, write) || (over !== undefined && isOver(over, write));
}

/** The values that a change sets, each at a path that it writes once. */
function valuesSet(change: Change): [string, JsonValue][] {
  const { operations, data } = change;
  if (operations === undefined) return leavesOf(data ?? {});
  const written = pathsWritten(change);
  return operations.flatMap((operation): [string, JsonValue][] => {
    const isOnce = written.filter((path) => overlaps(path, pathOf(operation.path))).length === 1;
    return operation.op === 'set' && isOnce ? [[operation.path, operation.value]] : [];
  });
}

function pathsWritten({ operations }: Change): Path[] {
  const whole: Path = [];
  return operations === undefined ? [whole] : operations.map(({ path }) => pathOf(path));
}

function leavesOf(data: JsonObject, above: Path = []): [string, JsonValue][] {
  return Object.entries(data).flatMap(([key, value]): [string, JsonValue][] => {
    const path = [...above, key];
    return isJsonObject(value) ? leavesOf(value, path) : [[formatPath(path), value]];
  });
}

function at({ data }: EntityVersion, path: string): JsonValue | undefined {
  return data === null ? undefined : valueAt(data, pathOf(path));
}

function pathOf(path: string): Path {
  return named(parsePath(path));
}
