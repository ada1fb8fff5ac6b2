/**
 * Decides between two concurrent writes of one entity. The cloud decides by it, and a replica predicts by it what the
 * cloud will decide. `design.md`, section 5.
 */

import { assertNever } from './assert.ts';
import { diff, isAdditive } from './delta.ts';
import { formatDot } from './dot.ts';
import type { EntityVersion } from './entity.ts';
import { compareStamps, laterStamp, parseStamp, type Stamp } from './hlc.ts';
import { type JsonObject, jsonEqual } from './json.ts';
import { pathsWritten, type Written } from './marks.ts';
import { baseOf, type Incoming, type Merged, mergeUpdate } from './merge.ts';
import { messageOf } from './message-of.ts';
import type { Policy } from './policy.ts';
import { isPromiseLike } from './promise-like.ts';
import { checkResolverOutput, type Resolver, type ResolverInput, type ResolverSide } from './resolver.ts';

export type ConflictKind = 'update-update' | 'delete-update' | 'create-create';

/** `local` is the cloud's version, `remote` the write that comes in; `data: null`: it deletes. */
export interface Conflict {
  readonly kind: ConflictKind;
  readonly local: EntityVersion;
  readonly remote: Omit<Incoming, 'data'> & { readonly data: JsonObject | null };
  /** How often the node that pushed has resolved a conflict for this change already. */
  readonly attempts: number;
  /** Why it could not. */
  readonly failure?: string | undefined;
}

/** The little of a conflict that most rules look at. */
export interface Sides {
  readonly local: Side;
  readonly remote: Side;
}

/** `data: null`: it deleted. */
export interface Side {
  readonly data: JsonObject | null;
  readonly stamp: Stamp;
}

/** What was decided, by which rule, and why. `merged`: neither side's record as it was. */
export interface Resolution {
  readonly winner: 'local' | 'remote' | 'merged';
  readonly resolvedData: JsonObject | null;
  readonly metadata: { readonly strategy: string; readonly reason: string } & JsonObject;
}

export type Decision =
  | ResolvedDecision
  /** Both sides wrote the same: nobody loses, so there is nothing to record. `remote`: its stamp counts from now on. */
  | { readonly kind: 'agreement'; readonly winner: 'local' | 'remote'; readonly written: Written }
  | OpenDecision
  /** Both stay: the record that comes in gets another id. */
  | { readonly kind: 'rename' }
  /** The node that pushed resolves it. */
  | { readonly kind: 'ask-node' };

export interface ResolvedDecision {
  readonly kind: 'resolved';
  readonly resolution: Resolution;
  readonly written: Written;
}

/** What is there stays, until somebody decides. */
export interface OpenDecision {
  readonly kind: 'open';
  readonly resolution: Resolution;
  /** What a resolver will say. */
  readonly later?: Promise<unknown> | undefined;
}

/** Resolutions by the node that pushed, before the conflict is left to people. `design.md`, section 5. */
export const MAX_NODE_RESOLUTIONS = 3;

/** The kind of conflict between a version and a change that hasn't seen it; undefined for two deletes. */
export function conflictKind(
  current: JsonObject | null,
  operation: 'create' | 'update' | 'delete',
): ConflictKind | undefined {
  if (current === null) return operation === 'delete' ? undefined : 'delete-update';
  if (operation === 'delete') return 'delete-update';
  return operation === 'create' ? 'create-create' : 'update-update';
}

/**
 * Pure but for a custom resolver, which is the application's. By all rules but that, and but for `rename`, swapping the
 * sides swaps `winner` and nothing else: it doesn't matter which side arrived first.
 */
export function resolve(conflict: Conflict, policy: Policy): Decision {
  if (!isMerged(conflict, policy) && isAgreed(conflict)) return agreement(conflict);
  switch (conflict.kind) {
    case 'update-update':
      return resolveUpdates(conflict, policy);
    case 'delete-update':
      return resolveDelete(conflict, policy);
    case 'create-create':
      return resolveCreates(conflict, policy);
    default:
      return assertNever(conflict.kind);
  }
}

/** A write that somebody waits for takes effect when it is sequenced, whatever it meets; what it replaces is recorded. */
export function overrule(conflict: Conflict): Decision {
  if (isAgreed(conflict)) return agreement(conflict);
  return decided('remote', conflict, 'strong', 'a strong write takes effect when the cloud sequences it');
}

/** A write comes late that had been seen: no rule decides, but it is recorded, for under its name another one may come. */
export function overtaken(conflict: Conflict): Decision {
  if (isAgreed(conflict)) return agreement(conflict);
  return decided('local', conflict, 'seen', 'who wrote what is there had seen it, and wrote over it');
}

function resolveUpdates(conflict: Conflict, policy: Policy): Decision {
  switch (policy.conflict) {
    case 'lww':
      return latest(conflict, 'lww');
    case 'merge':
      return merge(conflict);
    case 'custom':
      return custom(conflict, policy.custom);
    case 'manual':
      return leftToPeople(conflict, 'by policy, people decide');
    default:
      return assertNever(policy.conflict);
  }
}

function resolveDelete(conflict: Conflict, policy: Policy): Decision {
  const deleted = conflict.local.data === null ? 'local' : 'remote';
  const updated = deleted === 'local' ? 'remote' : 'local';
  switch (policy.onDelete) {
    case 'latest':
      return latest(conflict, 'latest');
    case 'delete-wins':
      return decided(deleted, conflict, 'delete-wins', 'a delete wins over an update by policy');
    case 'update-wins':
      return decided(updated, conflict, 'update-wins', 'an update wins over a delete by policy');
    default:
      return assertNever(policy.onDelete);
  }
}

function resolveCreates(conflict: Conflict, policy: Policy): Decision {
  switch (policy.onCreate) {
    case 'merge':
      return merge(conflict);
    case 'rename':
      return { kind: 'rename' };
    case 'lww':
      return latest(conflict, 'lww');
    default:
      return assertNever(policy.onCreate);
  }
}

/** Equal records need no rule; but a merge keeps the stamps of their fields. */
function isMerged({ kind }: Conflict, policy: Policy): boolean {
  return kind === 'update-update' ? policy.conflict === 'merge' : policy.onCreate === 'merge';
}

/** Both sides wrote the same; but two that count up from 1 to 2 meant 3. */
function isAgreed({ local, remote }: Conflict): boolean {
  const isAdding = (remote.operations ?? []).some((operation) => isAdditive(operation));
  return local.data !== null && remote.data !== null && !isAdding && jsonEqual(local.data, remote.data);
}

function agreement(conflict: Sides): Decision {
  return { kind: 'agreement', winner: laterSide(conflict), written: [] };
}

function laterSide({ local, remote }: Sides): 'local' | 'remote' {
  return compareStamps(remote.stamp, local.stamp) > 0 ? 'remote' : 'local';
}

function latest(conflict: Sides, strategy: string): Decision {
  const { local, remote } = conflict;
  const winner = laterSide(conflict);
  const [later, earlier] = winner === 'remote' ? [remote, local] : [local, remote];
  return decided(winner, conflict, strategy, `${later.stamp} is later than ${earlier.stamp}`);
}

/** Of the write that won; of two that went into one, the later. */
export function stampAfter({ local, remote }: Sides, winner: Resolution['winner']): Stamp {
  if (winner === 'local') return local.stamp;
  return winner === 'remote' ? remote.stamp : laterStamp(local.stamp, remote.stamp);
}

// Merge.

function merge(conflict: Conflict): Decision {
  const { local, remote } = conflict;
  const [here, there] = [local.data, remote.data];
  if (here === null || there === null) throw new Error('invariant broken: only two records can be merged');
  const merged = mergeUpdate({ ...local, data: here }, { ...remote, data: there });
  const { data: resolvedData, written, contested } = merged;
  if (contested.length === 0 && jsonEqual(here, there) && jsonEqual(here, resolvedData)) {
    return { kind: 'agreement', winner: written.length > 0 ? 'remote' : 'local', written };
  }
  const winner = written.length === 0 ? 'local' : jsonEqual(resolvedData, there) ? 'remote' : 'merged';
  const metadata = { strategy: 'merge', reason: reasonOf(merged) };
  return { kind: 'resolved', resolution: { winner, resolvedData, metadata }, written };
}

function reasonOf({ contested, written }: Merged): string {
  if (contested.length === 0 && written.length === 0) return 'what came in changes nothing of what is here';
  if (contested.length === 0) return 'the two sides changed different fields, or in ways that add up';
  const named = contested.slice(0, MAX_NAMED).map(({ path, winner }) => `${path}: ${winner}`);
  const others = contested.length > MAX_NAMED ? ` and ${contested.length - MAX_NAMED} more` : '';
  return `of fields that both changed the later stamp's value stays: ${named.join(', ')}${others}`;
}

/** Contested paths that a reason names. */
const MAX_NAMED = 10;

// Custom.

function custom(conflict: Conflict, resolver: Resolver | 'node' | undefined): Decision {
  if (resolver === 'node') {
    if (conflict.failure !== undefined) return leftToPeople(conflict, `at the node that pushed, ${conflict.failure}`);
    if (conflict.attempts < MAX_NODE_RESOLUTIONS) return { kind: 'ask-node' };
    return leftToPeople(
      conflict,
      `the node that pushed answered ${MAX_NODE_RESOLUTIONS} times, and others were faster`,
    );
  }
  if (resolver === undefined) return leftToPeople(conflict, 'there is no resolver that can be asked');
  return callResolver(conflict, resolver);
}

function callResolver(conflict: Conflict, resolver: Resolver): Decision {
  const input = resolverInput(conflict);
  try {
    const output: unknown = resolver(input);
    if (!isPromiseLike(output)) return customDecision(conflict, output);
    // A promise of our own: whatever its `then` does, it ends as one of these does, and nobody has to wait for it.
    const later = new Promise<unknown>((settle) => settle(output));
    later.catch(() => undefined);
    return { ...leftToPeople(conflict, 'the resolver has not answered yet'), later };
  } catch (error) {
    return leftToPeople(conflict, `the resolver failed: ${messageOf(error)}`);
  }
}

/** What becomes of a conflict by what a resolver said. */
export function customDecision(conflict: Sides, output: unknown): ResolvedDecision | OpenDecision {
  const checked = checkResolverOutput(output);
  if (checked === undefined) return leftToPeople(conflict, "the resolver's answer is no resolution");
  const { resolvedData, metadata } = checked;
  // By what it gives, and not by what it calls that: only so can the record not say another thing than the entity.
  const winner = winnerOf(conflict, resolvedData);
  const reason = metadata?.reason ?? 'the resolver decided';
  const resolution = { winner, resolvedData, metadata: { ...metadata, strategy: 'custom', reason } };
  const stamp = stampAfter(conflict, winner);
  return { kind: 'resolved', resolution, written: replacing(conflict.local.data, resolvedData, stamp) };
}

/** Content that is one side's makes that side the winner. */
export function winnerOf({ local, remote }: Sides, data: JsonObject | null): Resolution['winner'] {
  if (jsonEqual(data, local.data)) return 'local';
  return jsonEqual(data, remote.data) ? 'remote' : 'merged';
}

/** Copies: a resolver may do with them what it likes. */
function resolverInput({ local, remote }: Conflict): ResolverInput {
  const { entityType, entityId, data, version, stamp } = local;
  if (data === null || remote.data === null) throw new Error('invariant broken: a resolver is asked of two records');
  const sides = {
    local: resolverSide(data, version, stamp),
    remote: resolverSide(remote.data, formatDot(remote.dot), remote.stamp),
    base: copyOf(baseOf({ ...local, data }, { ...remote, data: remote.data })),
  };
  return { entityType, entityId, kind: 'update-update', ...sides };
}

export function resolverSide(data: JsonObject, version: string, stamp: Stamp): ResolverSide {
  return { data: copyOf(data), version, stamp, updatedAt: parseStamp(stamp)?.wallMs ?? 0 };
}

function copyOf<T extends JsonObject | null>(data: T): T {
  return JSON.parse(JSON.stringify(data));
}

// What all of them need.

/** Nothing is decided: what is there stays, and people are told why. */
export function leftToPeople({ local }: Sides, reason: string): OpenDecision {
  const metadata = { strategy: 'manual', reason };
  return { kind: 'open', resolution: { winner: 'local', resolvedData: local.data, metadata } };
}

function decided(winner: 'local' | 'remote', conflict: Sides, strategy: string, reason: string): Decision {
  const { local, remote } = conflict;
  const resolvedData = winner === 'local' ? local.data : remote.data;
  const resolution = { winner, resolvedData, metadata: { strategy, reason } };
  const stamp = stampAfter(conflict, winner);
  return { kind: 'resolved', resolution, written: replacing(local.data, resolvedData, stamp) };
}

/**
 * What changes where one record takes the place of another.
 *
 * @param decidedAs the stamp of what was decided between the two, where that was not for their writers to say.
 */
export function replacing(before: JsonObject | null, after: JsonObject | null, decidedAs?: Stamp): Written {
  if (before === null || after === null) return 'whole';
  const operations = diff(before, after);
  if (operations === undefined) return 'whole';
  // Elements that another record has more or fewer are no pushes and pulls of its writer.
  const isShared = decidedAs !== undefined;
  return pathsWritten(operations, before, after).map(({ path }) => ({ path, kind: 'set', stamp: decidedAs, isShared }));
}
