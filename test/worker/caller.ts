import { env, exports } from 'cloudflare:workers';
import { sign } from 'hono/jwt';
import { app } from '../../src/api/app.ts';
import { type SpaceId, toSpaceId } from '../../src/core/ids.ts';

export interface Sent {
  /** A text goes as it is, all else as JSON. */
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Of the token; an admin's, where nothing else is said. */
  readonly claims?: Record<string, unknown>;
  /** Of a deployment that is another one than that of the tests. */
  readonly bindings?: Record<string, unknown>;
}

/** Calls the HTTP API with tokens for a space of its own. */
export function freshCaller() {
  const space = toSpaceId(`s${crypto.randomUUID()}`);
  if (space === undefined) throw new Error('a bad name in a test');
  return { space, call: (method: string, path: string, sent: Sent = {}) => call(space, method, path, sent) };
}

async function call(space: SpaceId, method: string, path: string, { body, headers, claims, bindings }: Sent) {
  const token = await sign({ space, role: 'admin', ...claims } as never, env.CAUSEWAY_SECRET, 'HS256');
  const request = new Request(`http://localhost/v1/${path}`, {
    method,
    headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const response = await (bindings === undefined
    ? exports.default.fetch(request)
    : app.fetch(request, { ...env, ...bindings } as never));
  const text = await response.text();
  const json = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  return { status: response.status, code: json['code'], json, headers: response.headers };
}

/** The header that shows at a next request what an answer has shown. */
export function seen({ headers }: { readonly headers: Headers }): { readonly 'X-Causal-Token': string } {
  return { 'X-Causal-Token': headers.get('X-Causal-Token') ?? 'none' };
}
