import type { EntityVersion } from '../core/entity.ts';
import { type EntityKey, entityKey, type NodeId } from '../core/ids.ts';
import type { Refusal } from '../protocol/record.ts';
import type { CloudMeta, CloudStore, ConflictFilter, ConflictRecord, Memo, NodeRecord } from '../sync/ports.ts';
import { Journal, MemoryMemos, MemoryTable } from './memory-replica-store.ts';

/** The cloud in memory. */
export class MemoryCloudStore implements CloudStore {
  readonly #journal = new Journal();
  readonly #meta = new MemoryTable<1, CloudMeta>(this.#journal);
  readonly #entities = new MemoryTable<EntityKey, EntityVersion>(this.#journal);
  readonly #feed = new MemoryTable<number, EntityKey>(this.#journal);
  readonly #nodes = new MemoryTable<NodeId, NodeRecord>(this.#journal);
  readonly #refusals = new MemoryTable<string, Refusal>(this.#journal);
  readonly #conflicts = new MemoryTable<string, ConflictRecord>(this.#journal);
  readonly #conflictFeed = new MemoryTable<number, string>(this.#journal);
  readonly #memos = new MemoryMemos(this.#journal);

  transaction<T>(body: () => T): T {
    return this.#journal.transaction(body);
  }

  readMemo(key: string): Memo | undefined {
    return this.#memos.readMemo(key);
  }

  writeMemo(key: string, memo: Memo): void {
    this.#memos.writeMemo(key, memo);
  }

  forgetMemos(beforeMs: number): void {
    this.#memos.forgetMemos(beforeMs);
  }

  readMeta(): CloudMeta | undefined {
    return this.#meta.get(1);
  }

  writeMeta(meta: CloudMeta): void {
    this.#meta.set(1, meta);
  }

  readEntity(key: EntityKey): EntityVersion | undefined {
    return this.#entities.get(key);
  }

  writeEntity(entity: EntityVersion): void {
    const key = entityKey(entity);
    const holder = this.#feed.get(entity.seq);
    if (holder !== undefined && holder !== key) {
      throw new Error(`invariant broken: ${holder} has seq ${entity.seq} already`);
    }
    const before = this.#entities.get(key);
    if (before !== undefined) this.#feed.delete(before.seq);
    this.#feed.set(entity.seq, key);
    this.#entities.set(key, entity);
  }

  readAfter(seq: number, limit: number): EntityVersion[] {
    const seqs = this.#feed.keys().filter((other) => other > seq);
    return this.#entities.getAll(this.#feed.getAll(seqs.sort((a, b) => a - b).slice(0, limit)));
  }

  readNode(nodeId: NodeId): NodeRecord | undefined {
    return this.#nodes.get(nodeId);
  }

  writeNode(node: NodeRecord): void {
    this.#nodes.set(node.nodeId, node);
  }

  listNodeIds(after: string, limit: number): NodeId[] {
    const ids = this.#nodes.keys().filter((id) => id > after);
    return ids.sort().slice(0, limit);
  }

  readRefusal(changeId: string): Refusal | undefined {
    return this.#refusals.get(changeId);
  }

  writeRefusal(changeId: string, refusal: Refusal): void {
    if (this.#refusals.get(changeId) === undefined) this.#refusals.set(changeId, refusal);
  }

  readConflict(id: string): ConflictRecord | undefined {
    return this.#conflicts.get(id);
  }

  writeConflict(conflict: ConflictRecord): void {
    const { id, revision } = conflict;
    const holder = this.#conflictFeed.get(revision);
    if (holder !== undefined && holder !== id) {
      throw new Error(`invariant broken: ${holder} has revision ${revision} already`);
    }
    const before = this.#conflicts.get(id);
    if (before !== undefined) this.#conflictFeed.delete(before.revision);
    this.#conflictFeed.set(revision, id);
    this.#conflicts.set(id, conflict);
  }

  readConflictsAfter(revision: number, limit: number): ConflictRecord[] {
    const revisions = this.#conflictFeed.keys().filter((other) => other > revision);
    return this.#conflicts.getAll(this.#conflictFeed.getAll(revisions.sort((a, b) => a - b).slice(0, limit)));
  }

  listConflicts({ status, entityTypes, after, limit }: ConflictFilter): ConflictRecord[] {
    const ids = this.#conflicts.keys().filter((id) => id > after);
    const isWanted = (conflict: ConflictRecord) =>
      (status === 'all' || conflict.status === status) &&
      (entityTypes === undefined || entityTypes.includes(conflict.entityType));
    return this.#conflicts.getAll(ids.sort()).filter(isWanted).slice(0, limit);
  }
  countOpenConflicts(): number {
    return this.#conflicts.getAll(this.#conflicts.keys()).filter(({ status }) => status === 'open').length;
  }
}
