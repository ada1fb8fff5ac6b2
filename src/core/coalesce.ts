import { type Change, type ChangeHeader, stampOf } from './change.ts';
import { compose, MAX_OPERATIONS, type Operation } from './delta.ts';
import type { WriteKind } from './entity.ts';
import type { Stamp } from './hlc.ts';
import { kindOf } from './marks.ts';
import { isWithin, overlaps, type Path, parsePath } from './path.ts';

/**
 * Two changes of one entity, one after the other, as one that stands for both: for changes that never left their node.
 * `'nothing'`: the entity was made and deleted again. Undefined: the two have to stay two.
 *
 * The earlier one's base stays, so neither may have seen more of the entity than the other. The dot is the later one's;
 * the earlier one's will never be sent. Pure. `design.md`, section 6.
 *
 * @param keepStamps whether each path keeps the stamp of what wrote it, for a merge.
 */
export function coalesce(earlier: Change, later: Change, keepStamps: boolean): Change | 'nothing' | undefined {
  if (!isPlain(earlier) || !isPlain(later)) return undefined;
  const { id, stamp, timestamp } = later;
  const { operation, data, operations, mergePatch, stamps, ...rest } = earlier;
  const header = { ...rest, id, stamp, timestamp, priority: morePressing(earlier.priority, later.priority) };
  switch (earlier.operation) {
    case 'create':
      if (later.operation === 'delete') return 'nothing';
      return later.data === undefined ? undefined : { ...header, operation: 'create', data: later.data };
    case 'update':
      return later.operation === 'delete'
        ? { ...header, operation: 'delete' }
        : updateOf(header, earlier, later, keepStamps);
    case 'delete':
      // A record that is made anew is another one: it must not look like a change of the old one.
      return undefined;
  }
}

function updateOf(header: ChangeHeader, earlier: Change, later: Change, keepStamps: boolean): Change | undefined {
  if (later.operation !== 'update' || later.data === undefined) return undefined;
  const { data } = later;
  if (earlier.operations === undefined || later.operations === undefined) {
    return { ...header, operation: 'update', data };
  }
  if (keepStamps && !canBeTold(earlier.operations, later.operations)) return undefined;
  const operations = compose(earlier.operations, later.operations);
  if (operations.length > MAX_OPERATIONS) return undefined;
  const stamps = keepStamps ? earlierStamps(earlier, later, operations) : undefined;
  return { ...header, operation: 'update', data, operations, stamps };
}

/** Whether each path that both write is written by both in one way, so that the later write stands for the two. */
function canBeTold(earlier: readonly Operation[], later: readonly Operation[]): boolean {
  const first = earlier.map(placeOf);
  return later
    .map(placeOf)
    .every(({ path, kind }) =>
      first.every((other) => !overlaps(path, other.path) || (isWithin(other.path, path) && kind === other.kind)),
    );
}

function placeOf(operation: Operation): { path: Path; kind: WriteKind } {
  return { path: parsePath(operation.path) ?? [], kind: kindOf(operation) };
}

/** The stamps of the paths that only the earlier change wrote. */
function earlierStamps(earlier: Change, later: Change, operations: readonly Operation[]): Record<string, Stamp> {
  const rewritten = (later.operations ?? []).map(({ path }) => parsePath(path) ?? []);
  const isKept = (path: string) => !rewritten.some((other) => overlaps(parsePath(path) ?? [], other));
  const kept = operations.map(({ path }) => path).filter(isKept);
  return Object.fromEntries(kept.map((path) => [path, stampOf(earlier, path)]));
}

/** Nothing hangs on the change but its effect. */
function isPlain({ transaction, consistency, ifMatch, ifNoneMatch, resolves }: Change): boolean {
  return [transaction, consistency, ifMatch, ifNoneMatch, resolves].every((value) => value === undefined);
}

function morePressing(a: Change['priority'], b: Change['priority']): Change['priority'] {
  if (a === 'critical' || b === 'critical') return 'critical';
  return a === 'high' || b === 'high' ? 'high' : (a ?? b);
}
