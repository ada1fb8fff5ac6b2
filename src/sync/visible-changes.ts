import { checksum } from '../core/canonical.ts';
import type { EntityVersion } from '../core/entity.ts';
import { type EntityId, type EntityKey, type EntityType, splitKey } from '../core/ids.ts';
import type { JsonObject } from '../core/json.ts';

/** What became of a record that a replica shows. */
export type VisibleChange = { readonly entityType: EntityType; readonly entityId: EntityId } & (
  | { readonly operation: 'create' | 'update'; readonly data: JsonObject; readonly version: string }
  /** Version null: nothing deleted it; a create was taken back, or the record isn't for this node any more. */
  | { readonly operation: 'delete'; readonly version: string | null }
);

/** Who is told of visible changes. It is called when all is durable, and must not throw. */
export interface Watcher {
  /** Whether it wants to know of records of a type. */
  watches(entityType: EntityType): boolean;
  changed(change: VisibleChange): void;
}

/**
 * Finds what changes for a reader: what is shown of an entity is noted before it may change, and compared afterwards. So
 * a write is told once, when it is made, and not again when the cloud confirms it. Costs nothing for types that nobody
 * watches; a read of the record and a hash, twice, for each noted entity of those that somebody does.
 */
export class VisibleChanges {
  readonly #shown: (key: EntityKey) => EntityVersion | undefined;
  readonly #watcher: Watcher | undefined;
  /** In the order of noting. */
  readonly #before = new Map<EntityKey, Trace | undefined>();
  /** By what version records were deleted of which nothing is left. */
  readonly #deletedBy = new Map<EntityKey, string>();

  /** @param shown what a reader sees of an entity now; undefined or without data: nothing. */
  constructor(shown: (key: EntityKey) => EntityVersion | undefined, watcher: Watcher | undefined) {
    this.#shown = shown;
    this.#watcher = watcher;
  }

  /**
   * What is shown of the entity may be about to change. Until {@link tell} the first call counts.
   *
   * @param deletion the version that deletes it, where nothing of the record stays to tell.
   */
  note(key: EntityKey, deletion?: string | undefined): void {
    if (this.#watcher?.watches(splitKey(key).entityType) !== true) return;
    if (!this.#before.has(key)) this.#before.set(key, traceOf(this.#shown(key)));
    if (deletion !== undefined) this.#deletedBy.set(key, deletion);
  }

  /** What was noted has changed by now, or has not: tells of what has. */
  tell(): void {
    for (const [key, before] of this.#before) {
      this.#before.delete(key);
      const shown = this.#shown(key);
      const after = traceOf(shown);
      if (before?.version === after?.version && before?.hash === after?.hash) continue;
      const entity = splitKey(key);
      if (shown === undefined || shown.data === null) {
        const version = shown?.version ?? this.#deletedBy.get(key) ?? null;
        this.#watcher?.changed({ ...entity, operation: 'delete', version });
      } else {
        const { data, version } = shown;
        this.#watcher?.changed({ ...entity, operation: before === undefined ? 'create' : 'update', data, version });
      }
    }
    this.#deletedBy.clear();
  }
}

/** What is kept of a record, to tell whether it changed: many may be noted at a time, and records are large. */
interface Trace {
  readonly version: string;
  readonly hash: string;
}

function traceOf(shown: EntityVersion | undefined): Trace | undefined {
  if (shown === undefined || shown.data === null) return undefined;
  return { version: shown.version, hash: checksum(shown.data) };
}
