import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import type { Priority } from '../../src/core/change.ts';
import type { JsonObject } from '../../src/core/json.ts';
import * as answers from './answers.ts';

/** A record's name, as in a path. */
export interface Key {
  readonly entityType: string;
  readonly entityId: string;
}

/** One write, in the three ways of the API. */
export type Write =
  | { readonly method: 'PUT'; readonly data: JsonObject; readonly priority?: Priority | undefined }
  | { readonly method: 'PATCH'; readonly fields: JsonObject; readonly as: 'operations' | 'merge-patch' }
  | { readonly method: 'DELETE' };

/** What is said of a node's link; what isn't named stays. */
export interface Network {
  readonly online?: boolean;
  readonly effectiveType?: '4g' | '3g' | '2g';
}

/** A request without the answer hoped for; the message says what was asked and what came. */
export class ApiError extends Error {
  /** Those of the problem document, where there was one. */
  readonly status: number | undefined;
  readonly code: string | undefined;

  constructor(message: string, problem?: { status: number; code: string }) {
    super(message);
    this.status = problem?.status;
    this.code = problem?.code;
  }
}

/** A sync of thousands of records answers when it has ended. */
const TIMEOUT_MS = 120_000;
/** Busy servers are asked again, patiently but not for ever. */
const MAX_TRIES = 6;
const RETRY_MS = 500;
const BUSY: readonly string[] = ['overloaded', 'rate_limited'];
/** The most that a list gives at once. */
const PAGE_ITEMS = 1_000;

/** The part of the HTTP API that the demo uses. */
export class ApiClient {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url.replace(/\/+$/, '');
    this.#token = token;
  }

  async write(node: string, key: Key, write: Write): Promise<answers.Written> {
    const { type, body } = bodyOf(write);
    const headers: Record<string, string> = type === undefined ? {} : { 'Content-Type': type };
    if (write.method === 'PUT' && write.priority !== undefined) headers['X-Priority'] = write.priority;
    return await this.#json(answers.written, write.method, `/v1/edge/${node}/${dataPath(key)}`, { headers, body });
  }

  async read(node: string, key: Key, consistency: 'eventual' | 'strong'): Promise<z.infer<typeof answers.readAnswer>> {
    const headers = { 'X-Consistency': consistency };
    return await this.#json(answers.readAnswer, 'GET', `/v1/edge/${node}/${dataPath(key)}`, { headers });
  }

  async status(node: string): Promise<answers.NodeStatus> {
    return await this.#json(answers.nodeStatus, 'GET', `/v1/edge/${node}/status`);
  }

  async sync(node: string): Promise<answers.SyncSummary> {
    return await this.#json(answers.syncSummary, 'POST', `/v1/edge/${node}/sync`);
  }

  /** @returns how the node stands then. */
  async setNetwork(node: string, network: Network): Promise<answers.NodeStatus> {
    const body = JSON.stringify(network);
    const headers = { 'Content-Type': 'application/json' };
    return await this.#json(answers.nodeStatus, 'PUT', `/v1/edge/${node}/network`, { headers, body });
  }

  /** All that a node has of a type, page by page. */
  async listAtNode(node: string, entityType: string): Promise<answers.Entity[]> {
    return await this.#pages(answers.entityPage, `/v1/edge/${node}/data/${entityType}`);
  }

  /** All that D1 has of a type, page by page. */
  async listAtD1(entityType: string): Promise<answers.Entity[]> {
    return await this.#pages(answers.queryPage, `/v1/data/${entityType}`);
  }

  /** Where the cloud's history ends, as a read of any record there tells. */
  async headOfCloud(key: Key): Promise<number> {
    return (await this.#json(answers.cloudRead, 'GET', `/v1/${dataPath(key)}`)).vectorClock.cloud;
  }

  /** How far D1 is behind the cloud, ms. */
  async lagOfD1(entityType: string): Promise<number> {
    return (await this.#json(answers.queryPage, 'GET', `/v1/data/${entityType}?limit=1`)).lagMs;
  }

  /** All that the cloud has, from its export: one entity a line. */
  async exportCloud(): Promise<answers.Entity[]> {
    const lines = (await (await this.#request('GET', '/v1/export')).text()).split('\n');
    return lines.filter((line) => line !== '').map((line) => answers.entity.parse(JSON.parse(line)));
  }

  async conflicts(entityType: string): Promise<answers.Conflict[]> {
    return await this.#pages(answers.conflictPage, '/v1/conflicts', { status: 'all', entityType });
  }

  async #pages<T>(
    schema: z.ZodType<{ items: T[]; next?: string | null | undefined }>,
    path: string,
    query: Record<string, string> = {},
  ): Promise<T[]> {
    const items: T[] = [];
    let after: string | undefined;
    do {
      const search = new URLSearchParams({ ...query, limit: `${PAGE_ITEMS}`, ...(after !== undefined && { after }) });
      const page = await this.#json(schema, 'GET', `${path}?${search}`);
      items.push(...page.items);
      after = page.next ?? undefined;
    } while (after !== undefined);
    return items;
  }

  async #json<T>(schema: z.ZodType<T>, method: string, path: string, init?: RequestInit): Promise<T> {
    const response = await this.#request(method, path, init);
    const parsed = schema.safeParse(await response.json());
    if (parsed.success) return parsed.data;
    throw new ApiError(`the answer to ${method} ${path} is not as expected: ${z.prettifyError(parsed.error)}`);
  }

  /** The answer, where it is a good one; waits and asks again where the server is only busy. */
  async #request(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    for (let tries = 1; ; tries += 1) {
      const response = await fetch(`${this.#url}${path}`, {
        ...init,
        method,
        headers: { ...init.headers, Authorization: `Bearer ${this.#token}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      }).catch((error: unknown) => {
        throw new ApiError(`${method} ${this.#url}${path} got no answer: ${reason(error)}`);
      });
      if (response.ok) return response;
      const { code, detail, retryAfterMs } = await problemOf(response);
      if (!BUSY.includes(code) || tries >= MAX_TRIES) {
        throw new ApiError(`${method} ${path} was answered ${response.status} ${code}: ${detail}`, {
          status: response.status,
          code,
        });
      }
      await sleep(retryAfterMs ?? RETRY_MS * tries);
    }
  }
}

function dataPath({ entityType, entityId }: Key): string {
  return `data/${encodeURIComponent(entityType)}/${encodeURIComponent(entityId)}`;
}

function bodyOf(write: Write): { type?: string; body: string | null } {
  switch (write.method) {
    case 'PUT':
      return { type: 'application/json', body: JSON.stringify(write.data) };
    case 'PATCH': {
      if (write.as === 'merge-patch')
        return { type: 'application/merge-patch+json', body: JSON.stringify(write.fields) };
      const operations = Object.entries(write.fields).map(([path, value]) => ({ op: 'set', path, value }));
      return { type: 'application/json', body: JSON.stringify({ operations }) };
    }
    case 'DELETE':
      return { body: null };
  }
}

async function problemOf(response: Response): Promise<z.infer<typeof answers.problem>> {
  const text = await response.text();
  try {
    return answers.problem.parse(JSON.parse(text));
  } catch {
    return { status: response.status, code: '(no problem document)', detail: text.slice(0, 300) };
  }
}

function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? error.cause.message || error.message : error.message;
}
