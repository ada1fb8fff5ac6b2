import { canonicalText, hashHex } from './canonical.ts';
import type { EntityVersion } from './entity.ts';
import { admits, type TypeFilter } from './type-filter.ts';

/**
 * A digest of a set of entities that can be kept up to date in O(1) and doesn't depend on order: for each entity type
 * the sum, modulo 2^128, of a hash of each live entity (Clarke et al., Incremental Multiset Hash Functions, 2003).
 * Equal digests mean equal states but for chance; they are no defence against a forger.
 *
 * Shape: 32 hex digits for each entity type that isn't empty.
 */
export type Digest = Readonly<Record<string, string>>;

/** What of a version counts. */
type DigestedVersion = Pick<EntityVersion, 'entityType' | 'entityId' | 'version' | 'data'>;

export const EMPTY_DIGEST: Digest = {};

/** The digest after `before` has become `after`; `undefined` and tombstones count nothing. Pure. */
export function replaceInDigest(
  digest: Digest,
  before: EntityVersion | undefined,
  after: EntityVersion | undefined,
): Digest {
  const entity = after ?? before;
  if (entity === undefined) return digest;
  const type = entity.entityType;
  const sum = (parse(digest, type) - termOf(before) + termOf(after)) & MASK;
  const { [type]: _, ...others } = digest;
  return sum === 0n ? others : { ...others, [type]: format(sum) };
}

/** One number for all types together, or for those that pass a filter. */
export function digestTotal(digest: Digest, filter?: TypeFilter): string {
  let total = 0n;
  for (const type of Object.keys(digestWithin(digest, filter))) total = (total + parse(digest, type)) & MASK;
  return format(total);
}

/** What a filter lets pass of a digest. */
export function digestWithin(digest: Digest, filter: TypeFilter): Digest {
  return Object.fromEntries(Object.entries(digest).filter(([type]) => admits(filter, type)));
}

export function digestOf(entities: Iterable<DigestedVersion>): Digest {
  const sums = new Map<string, bigint>();
  for (const entity of entities) {
    sums.set(entity.entityType, ((sums.get(entity.entityType) ?? 0n) + termOf(entity)) & MASK);
  }
  return Object.fromEntries([...sums].filter(([, sum]) => sum !== 0n).map(([type, sum]) => [type, format(sum)]));
}

const MASK = (1n << 128n) - 1n;

/** A version never changes, and may be asked for its term more than once. */
const TERMS = new WeakMap<DigestedVersion, bigint>();

function termOf(entity: DigestedVersion | undefined): bigint {
  if (entity === undefined || entity.data === null) return 0n;
  const known = TERMS.get(entity);
  if (known !== undefined) return known;
  const { entityType, entityId, version, data } = entity;
  const term = BigInt(`0x${hashHex(canonicalText([entityType, entityId, version, data])).slice(0, 32)}`);
  TERMS.set(entity, term);
  return term;
}

function parse(digest: Digest, type: string): bigint {
  return Object.hasOwn(digest, type) ? BigInt(`0x${digest[type]}`) : 0n;
}

function format(sum: bigint): string {
  return sum.toString(16).padStart(32, '0');
}
