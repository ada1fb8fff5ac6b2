import { dotOf } from '../core/change.ts';
import { has } from '../core/dot-set.ts';
import type { EntityVersion } from '../core/entity.ts';
import type { Stamp } from '../core/hlc.ts';
import { type EntityId, type EntityKey, type EntityType, entityKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';
import { LIMITS } from '../protocol/limits.ts';
import type { QueuedChange } from './ports.ts';
import type { ReplicaState } from './replica-state.ts';
import { predictedVersion } from './replica-version.ts';
import { VisibleChanges, type Watcher } from './visible-changes.ts';

/** What a reader sees of an entity that is there. */
export interface View {
  readonly data: JsonObject;
  readonly version: string;
  readonly stamp: Stamp;
  /** Whether the cloud has all that this replica shows. */
  readonly synced: boolean;
}

export interface Version extends Omit<View, 'data'> {
  /** Null: it is deleted. */
  readonly data: JsonObject | null;
}

export interface ViewPage {
  readonly items: readonly (View & { readonly entityId: EntityId })[];
  /** The id to go on behind, if there is more. */
  readonly next?: string;
}

/** What a replica shows: `visible = fold(confirmed, pending)`. Who watches is told of what is noted here, where it changes. */
export class ReplicaView {
  readonly #state: ReplicaState;
  readonly #visible: VisibleChanges;
  /** Of records of which several changes wait, what these make of what is confirmed; until another state of it is. */
  readonly #folded = new Map<EntityKey, Folded>();

  constructor(state: ReplicaState, watcher: Watcher | undefined) {
    this.#state = state;
    this.#visible = new VisibleChanges((key) => this.#fold(key, state.store.readRecord(key)).current, watcher);
  }

  read(key: EntityKey): View | undefined {
    return this.#view(key, this.#state.store.readRecord(key));
  }

  /** As {@link read}, and also what waits here to be deleted. */
  version(key: EntityKey): Version | undefined {
    const { current, synced } = this.#fold(key, this.#state.store.readRecord(key));
    return current && { data: current.data, version: current.version, stamp: current.stamp, synced };
  }

  /**
   * The entities of a type behind `after`, in the order of their ids. At most `limit`, and no more than
   * `LIMITS.listBytes` after the first.
   */
  list(type: EntityType, after: string, limit: number): ViewPage {
    const items: (View & { entityId: EntityId })[] = [];
    let bytes = 0;
    for (const { entityId, view } of this.#viewsOf(type, after, limit)) {
      bytes += JSON.stringify(view.data).length;
      const last = items.at(-1);
      if (last !== undefined && (items.length === limit || bytes > LIMITS.listBytes)) {
        return { items, next: last.entityId };
      }
      items.push({ ...view, entityId });
    }
    return { items };
  }

  /** As {@link VisibleChanges.note}. */
  note(key: EntityKey, deletion?: string | undefined): void {
    this.#visible.note(key, deletion);
  }

  /** As {@link VisibleChanges.tell}. */
  tell(): void {
    this.#visible.tell();
  }

  /** Another state is confirmed: nothing folds on the former one any more. */
  forgetFolds(): void {
    this.#folded.clear();
  }

  #view(key: EntityKey, confirmed: EntityVersion | undefined): View | undefined {
    const { current, synced } = this.#fold(key, confirmed);
    if (current === undefined || current.data === null) return undefined;
    return { data: current.data, version: current.version, stamp: current.stamp, synced };
  }

  #fold(key: EntityKey, confirmed: EntityVersion | undefined): Folded {
    const changes = this.#state.queue.of(key);
    const before = this.#folded.get(key);
    // What is there is another list only by what has come behind it, or it counts for nothing.
    const known = before?.changes.every((queued, index) => queued === changes[index]) ? before : undefined;
    let { current, synced } = known ?? { current: confirmed, synced: true };
    for (const { change, isDoubtful } of changes.slice(known?.changes.length)) {
      // In the confirmed state already, though the answer that said so was lost; unless that was another one.
      if (!isDoubtful && has(this.#state.meta.received, dotOf(change).counter)) continue;
      synced = false;
      current = predictedVersion(current, change, this.#state.policyOf(change));
    }
    const folded = { changes, current, synced };
    // One change is folded as fast as it is found here.
    if (changes.length > 1) this.#folded.set(key, folded);
    return folded;
  }

  *#viewsOf(type: EntityType, after: string, limit: number): Generator<{ entityId: EntityId; view: View }> {
    const pending = this.#state.queue.idsOf(type);
    let from = after;
    for (;;) {
      const records = this.#state.store.listRecords(type, from, limit + 1);
      const end = records.length > limit ? records.at(-1)?.entityId : undefined;
      const confirmed = new Map(records.map((record) => [record.entityId as string, record]));
      const created = pending.filter((id) => id > from && (end === undefined || id <= end) && !confirmed.has(id));
      for (const id of [...confirmed.keys(), ...created].sort()) {
        const entityId = id as EntityId;
        const view = this.#view(entityKey({ entityType: type, entityId }), confirmed.get(id));
        if (view !== undefined) yield { entityId, view };
      }
      if (end === undefined) return;
      from = end;
    }
  }
}

/** What changes make of the confirmed version of their record. */
interface Folded {
  readonly changes: readonly QueuedChange[];
  readonly current: EntityVersion | undefined;
  readonly synced: boolean;
}
