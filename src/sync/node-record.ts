import { type Change, contentHash, dotOf, isSameContent } from '../core/change.ts';
import { add, EMPTY_DOT_SET } from '../core/dot-set.ts';
import { CLOUD, type EntityId, type NodeId } from '../core/ids.ts';
import { entry } from '../core/vector-clock.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { BatchAnswer, IncomingBatch } from '../protocol/messages.ts';
import { utf8Bytes } from '../protocol/record.ts';
import type { NodeRecord, NodeSession, Rename } from './ports.ts';

/** What the cloud remembers of a node: pure steps from one record to the next. */

/** What is known of how it is. */
export type NodeCondition = Pick<NodeRecord, 'cursor' | 'lastSeenAtMs' | 'pending' | 'report'>;

export function freshNode(nodeId: NodeId): NodeRecord {
  return {
    nodeId,
    received: EMPTY_DOT_SET,
    hashes: [],
    sessions: [],
    answers: [],
    cursor: 0,
    lastSeenAtMs: 0,
    pending: 0,
  };
}

/** The change, and all that it covers, is known from now on. */
export function withChange(node: NodeRecord, change: Change): NodeRecord {
  const { counter } = dotOf(change);
  let received = add(node.received, counter);
  for (const [from, to] of change.covers ?? []) received = add(received, from, to);
  const hashes = [...node.hashes, [counter, contentHash(change)] as const];
  return { ...node, received, hashes: hashes.slice(-LIMITS.dotHashes) };
}

export function withVoid(node: NodeRecord, [from, to]: readonly [number, number]): NodeRecord {
  return { ...node, received: add(node.received, from, to) };
}

/**
 * Whether a change that arrives under a known dot is another one than the first; undefined: too long ago to tell. Where
 * its record has got another id since, it may come for that one.
 */
export function isForked(node: NodeRecord, change: Change): boolean | undefined {
  const { counter } = dotOf(change);
  const known = node.hashes.findLast(([other]) => other === counter);
  const formerIds = (node.renames ?? [])
    .filter(({ entityType, to }) => entityType === change.entityType && to === change.entityId)
    .map(({ entityId }) => entityId);
  const isKnownAs = (entityId: EntityId) => isSameContent(known?.[1] ?? '', contentHash({ ...change, entityId }));
  return known && ![change.entityId, ...formerIds].some(isKnownAs);
}

export function withRename(node: NodeRecord, rename: Rename): NodeRecord {
  return { ...node, renames: [...(node.renames ?? []), rename].slice(-LIMITS.renamesPerNode) };
}

/** The id that the record of a change has got, where its node had not heard of that when it made the change. */
export function renamedTo({ renames = [] }: NodeRecord, change: Change): EntityId | undefined {
  const { counter } = dotOf(change);
  return renames.findLast(
    (rename) =>
      rename.entityType === change.entityType &&
      rename.entityId === change.entityId &&
      rename.counter <= counter &&
      rename.counter >= (change.ownFrom ?? 1) &&
      rename.seq > entry(change.base, CLOUD),
  )?.to;
}

/** After an exchange whose answer went up to `cursor`. */
export function withExchange<T extends NodeCondition>(
  node: T,
  { pending = node.pending, report }: Pick<IncomingBatch, 'pending' | 'report'>,
  cursor: number,
): T {
  return { ...node, cursor, pending, report };
}

/** With a session more; those of a former life of the node end, so that what it had sent can't arrive any more. */
export function withSession(node: NodeRecord, session: NodeSession, nowMs: number): NodeRecord {
  const isOfFormerLife = ({ life = session.life }: NodeSession) => session.life !== undefined && life !== session.life;
  const alive = node.sessions.filter((one) => one.expiresAtMs > nowMs && !isOfFormerLife(one));
  const isReborn = node.isReborn ?? (node.sessions.some(isOfFormerLife) ? true : undefined);
  return { ...node, isReborn, sessions: [...alive, session].slice(-LIMITS.sessionsPerNode) };
}

export function withoutSession(node: NodeRecord, id: string): NodeRecord {
  return { ...node, sessions: node.sessions.filter((session) => session.id !== id) };
}

/** Keeps the answer, to be given again word for word, and the older ones as far as there is room. */
export function withAnswer(node: NodeRecord, batchId: string, hash: string, answer: BatchAnswer): NodeRecord {
  if (utf8Bytes(JSON.stringify(answer)) > LIMITS.answerBytes) return node;
  let bytes = 0;
  const older = node.answers.slice(0, LIMITS.answersPerNode - 1).filter((kept) => {
    bytes += utf8Bytes(JSON.stringify(kept));
    return bytes <= LIMITS.answersBytes;
  });
  return { ...node, answers: [{ batchId, hash, answer }, ...older] };
}
