import type { EntityVersion } from '../../src/core/entity.ts';
import { type EntityKey, entityKey } from '../../src/core/ids.ts';
import { require } from './violation.ts';

/** All that a cloud ever committed: the state that there was at every seq. Kept beside the cloud, and never asked of it. */
export class History {
  #versions = new Map<EntityKey, EntityVersion[]>();
  #digests = new Map<number, string>();
  #names = new Set<string>();
  head = 0;
  /** When the cloud came to each head, ms, in order. */
  #heads: { readonly atMs: number; readonly head: number }[] = [];
  /** Those of clouds that were lost, by their epochs. */
  readonly former = new Map<string, History>();

  /** How many clouds were lost. */
  get generation(): number {
    return this.former.size;
  }

  /** The cloud is lost, and the next one begins with nothing. */
  beginAnew(epoch: string): void {
    const lost = new History();
    lost.#versions = this.#versions;
    lost.#digests = this.#digests;
    lost.#names = this.#names;
    lost.#heads = this.#heads;
    lost.head = this.head;
    this.former.set(epoch, lost);
    this.#versions = new Map();
    this.#digests = new Map();
    this.#names = new Set();
    this.#heads = [];
    this.head = 0;
  }

  /** The history that somebody is in. */
  of(epoch: string | null): History {
    return (epoch === null ? undefined : this.former.get(epoch)) ?? this;
  }

  /** Takes what one transaction wrote, in its order. */
  append(entities: readonly EntityVersion[], digest: string, atMs: number): void {
    for (const entity of entities) {
      const key = entityKey(entity);
      require(entity.seq === this.head + 1, 'I2', () => `${key} got seq ${entity.seq} after ${this.head}`);
      require(!this.#names.has(entity.version), 'I2', () =>
        `${entity.version} took effect again, as seq ${entity.seq}`);
      this.#names.add(entity.version);
      const versions = this.#versions.get(key);
      if (versions === undefined) this.#versions.set(key, [entity]);
      else versions.push(entity);
      this.head = entity.seq;
    }
    this.#digests.set(this.head, digest);
    this.#heads.push({ atMs, head: this.head });
  }

  /** How far the cloud had come before a moment. */
  headBefore(ms: number): number {
    return this.#heads.findLast(({ atMs }) => atMs < ms)?.head ?? 0;
  }

  keys(): Iterable<EntityKey> {
    return this.#versions.keys();
  }

  /** The version of an entity at a seq, a tombstone too. */
  at(key: EntityKey, seq: number): EntityVersion | undefined {
    return this.#versions.get(key)?.findLast((version) => version.seq <= seq);
  }

  /** As the cloud gave it out at that seq; undefined: no transaction ended there. */
  digestAt(seq: number): string | undefined {
    return this.#digests.get(seq);
  }
}
