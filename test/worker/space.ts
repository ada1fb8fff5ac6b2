import { runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test';
import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { onTestFinished, vi } from 'vitest';
import type { ApiBindings } from '../../src/api/env.ts';
import { type EntityId, type EntityType, toEntityId, toEntityType, toSpaceId } from '../../src/core/ids.ts';

/** The objects by the types that the API calls them by; those of the platform don't end for values like JSON. */
const typed: Pick<ApiBindings, 'CLOUD' | 'EDGE'> = env as never;

export interface Sent {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Of the token; an admin's, where nothing else is said. */
  readonly claims?: Record<string, unknown>;
  readonly origin?: string;
  /** What the platform says of where the request came in. */
  readonly cf?: Record<string, unknown> | undefined;
}

/** A space of its own for each test, so that nothing is shared. */
export function freshSpace() {
  const space = made(toSpaceId(`s${crypto.randomUUID()}`));
  const cloudObject = () => env.CLOUD.getByName(space);
  const edgeObject = (node: string) => env.EDGE.getByName(`${space}/${node}`);
  return {
    space,
    cloudObject,
    edgeObject,
    cloud: () => typed.CLOUD.getByName(space),
    edge: (node: string) => typed.EDGE.getByName(`${space}/${node}`),
    /** When the next alarm of a node rings, ms since 1970; null: never. */
    alarmOf: (node: string) => runInDurableObject(edgeObject(node), (_, { storage }) => storage.getAlarm()),
    /** Brings D1 up. @returns false: nothing was to be done. */
    project: () => runDurableObjectAlarm(cloudObject()),
    /** A request of the HTTP API, by a token for this space. */
    call: (method: string, path: string, sent: Sent = {}) => call(space, method, path, sent),
    /** What an admin is answered, as it is. */
    text: async (path: string) => {
      const token = await sign({ space, role: 'admin' } as never, env.CAUSEWAY_SECRET, 'HS256');
      const headers = { Authorization: `Bearer ${token}` };
      return await (await exports.default.fetch(`http://localhost/v1/${path}`, { headers })).text();
    },
  };
}

async function call(space: string, method: string, path: string, sent: Sent) {
  const { body, headers, claims, origin, cf } = sent;
  const token = await sign({ space, role: 'admin', ...claims } as never, env.CAUSEWAY_SECRET, 'HS256');
  const response = await exports.default.fetch(`${origin ?? 'http://localhost'}/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, ...headers },
    ...(cf && { cf }),
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  // Not by `text()`, which warns of an export's lines.
  const text = new TextDecoder().decode(await response.arrayBuffer());
  const isJson = text !== '' && !response.headers.get('Content-Type')?.startsWith('text/plain');
  const json = isJson ? (JSON.parse(text) as Record<string, unknown>) : {};
  return { status: response.status, code: json['code'], json, text, headers: response.headers };
}

/** The header that shows at a next request what an answer has shown. */
export function seen(answer: { readonly headers: Headers }): { readonly 'X-Causal-Token': string } {
  return { 'X-Causal-Token': made(answer.headers.get('X-Causal-Token')) };
}

/** Time stands still until the test ends, a day ahead of the real one: no alarm rings by itself. */
export function stopClock(): { readonly pass: (ms: number) => void } {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 24 * 3600_000 });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  return { pass: (ms) => vi.setSystemTime(Date.now() + ms) };
}

/** Waits without moving a clock that stands still, as `vi.waitFor` does. */
export async function until(isSo: () => Promise<boolean> | boolean): Promise<void> {
  for (let tries = 0; !(await isSo()); tries += 1) {
    if (tries === 1_000) throw new Error(`it never came to be: ${isSo}`);
    await scheduler.wait(10);
  }
}

export function entityOf(type: string, id: string): { entityType: EntityType; entityId: EntityId } {
  return { entityType: made(toEntityType(type)), entityId: made(toEntityId(id)) };
}

export function made<T>(value: T | undefined | null): T {
  if (value === undefined || value === null) throw new Error('a value is missing in a test');
  return value;
}
