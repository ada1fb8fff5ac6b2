import { MAX_DEPTH } from './delta.ts';
import { isJsonObject, type JsonObject, type JsonValue } from './json.ts';
import { copyJson } from './json-copy.ts';

/**
 * Decides between two concurrent writes of one record, in place of a built-in rule. Only one place asks it about a
 * conflict, so two replicas never have to come to the same answer.
 */
export type Resolver<T = JsonObject> = (conflict: ResolverInput<T>) => ResolverOutput<T> | Promise<ResolverOutput<T>>;

export interface ResolverInput<T = JsonObject> {
  readonly entityType: string;
  readonly entityId: string;
  readonly kind: 'update-update';
  /** What the cloud has. */
  readonly local: ResolverSide<T>;
  /** What came in. */
  readonly remote: ResolverSide<T>;
  /** What both sides began with; null: it isn't known any more. */
  readonly base: T | null;
}

/** What one side wrote. */
export interface ResolverSide<T = JsonObject> {
  readonly data: T;
  readonly version: string;
  /** The order of the stamps, as texts, is the order in time, and no two are equal. */
  readonly stamp: string;
  /** The writer's time, ms since 1970: for people. Clocks differ; compare stamps. */
  readonly updatedAt: number;
}

export interface ResolverOutput<T = JsonObject> {
  readonly winner: 'local' | 'remote' | 'merged';
  /** What the record becomes; null: it is deleted. */
  readonly resolvedData: T | null;
  /** Kept with the conflict. As JSON, at most {@link MAX_METADATA_CHARS} long. */
  readonly metadata?: ({ readonly reason?: string } & Readonly<Record<string, JsonValue>>) | undefined;
}

/** Metadata tell why; the records themselves are kept beside them. */
export const MAX_METADATA_CHARS = 16 * 1024;

/** Records have at most 256 KiB, and a value takes two bytes with the comma behind it. */
const MAX_VALUES = 128 * 1024;

/**
 * What a resolver answered, copied, so that it keeps no hold on the record. Undefined where the answer is nonsense: not
 * an object, an unknown winner, data or metadata that are no plain JSON object, deeper than {@link MAX_DEPTH}. Never
 * throws, whatever the answer is.
 */
export function checkResolverOutput(value: unknown): ResolverOutput | undefined {
  try {
    if (!isJsonObject(value)) return undefined;
    const { winner: given, resolvedData: data, metadata: about } = value;
    const winner = WINNERS.find((name) => name === given);
    if (winner === undefined) return undefined;
    const resolvedData = data === null ? null : copyObject(data);
    return about === undefined
      ? { winner, resolvedData }
      : { winner, resolvedData, metadata: checkMetadata(copyObject(about)) };
  } catch {
    return undefined;
  }
}

const WINNERS = ['local', 'remote', 'merged'] as const;

function copyObject(value: unknown): JsonObject {
  const copy = copyJson(value, MAX_DEPTH, MAX_VALUES);
  if (!isJsonObject(copy)) throw new Error('data and metadata are objects');
  return copy;
}

function checkMetadata(metadata: JsonObject): ResolverOutput['metadata'] {
  const { reason, ...others } = metadata;
  if (JSON.stringify(metadata).length > MAX_METADATA_CHARS) throw new Error('metadata are short');
  if (reason === undefined) return others;
  if (typeof reason !== 'string') throw new Error('a reason is a text');
  return { ...others, reason };
}
