import type { JsonObject, JsonValue } from './json.ts';
import { isJsonObject } from './json.ts';

export type Resolver<T = JsonObject> = (conflict: ResolverInput<T>) => ResolverOutput<T> | Promise<ResolverOutput<T>>;
export interface ResolverSide<T = JsonObject> { readonly data: T; readonly version: string; readonly stamp: string; readonly updatedAt: number }
export interface ResolverInput<T = JsonObject> {
  readonly entityType: string; readonly entityId: string; readonly kind: 'update-update' | 'create-create' | 'delete-update';
  readonly local: ResolverSide<T>; readonly remote: ResolverSide<T>; readonly base: T | null;
}
export interface ResolverOutput<T = JsonObject> {
  readonly winner: 'local' | 'remote' | 'merged'; readonly resolvedData: T | null;
  readonly metadata?: ({ readonly reason?: string } & Readonly<Record<string, JsonValue>>) | undefined;
}
export function checkResolverOutput(value: unknown): ResolverOutput | undefined {
  return isJsonObject(value) ? (value as never) : undefined;
}
