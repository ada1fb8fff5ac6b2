import type { LocalServer } from '../../scripts/local-server.ts';
import type { ConsistencyLevel } from '../../src/core/consistency.ts';
import type { Operation } from '../history/operation.ts';

/** The server that there is now, or will be. */
export interface Server {
  running: Promise<LocalServer>;
}

/** A read of a record whose fields are registers, written once each with their own name. */
export type FieldsRead = Omit<Operation, 'key' | 'value'> & {
  readonly record: string;
  readonly fields: ReadonlySet<string>;
};

export interface HistoryClientOptions {
  readonly name: string;
  /** It is known by its name, and carries no token. */
  readonly isNamed: boolean;
  readonly bearer: string;
  readonly server: Server;
}

type Request = Pick<Operation, 'node' | 'level'> & {
  readonly method: string;
  readonly record: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
};

type Answered = Pick<Operation, 'client' | 'node' | 'level' | 'startMs' | 'endMs' | 'outcome'> & {
  /** What is there; null: nothing. */
  readonly data: Readonly<Record<string, unknown>> | null;
};

/** Somebody who goes from node to node over HTTP, and writes down what comes of each request. */
export class HistoryClient {
  readonly recorded: (Operation | FieldsRead)[] = [];
  /** The codes of what was refused. */
  readonly refusals: string[] = [];
  readonly #options: HistoryClientOptions;
  #token: string | undefined;

  constructor(options: HistoryClientOptions) {
    this.#options = options;
  }

  async write(node: string, level: ConsistencyLevel, record: string, value: string): Promise<void> {
    const answer = await this.#ask({ node, level, method: 'PUT', record, body: { value } });
    this.#wrote(answer, record, value);
  }

  async writeField(node: string, level: ConsistencyLevel, record: string, value: string): Promise<void> {
    const body = { operations: [{ op: 'set', path: `/${value}`, value: 1 }] };
    const answer = await this.#ask({ node, level, method: 'PATCH', record, body });
    this.#wrote(answer, `${record}#${value}`, value);
  }

  async read(node: string, level: ConsistencyLevel, record: string, maxStalenessMs?: number): Promise<void> {
    // Who has a bound waits for as long as a busy machine takes.
    const bound = { 'X-Max-Staleness-Ms': `${maxStalenessMs}`, 'X-Wait-Ms': '30000' };
    const headers = maxStalenessMs === undefined ? {} : bound;
    const { data, ...answer } = await this.#ask({ node, level, method: 'GET', record, headers });
    const value = typeof data?.['value'] === 'string' ? data['value'] : null;
    const read: Operation = { ...answer, op: 'read', key: record, value };
    this.recorded.push(maxStalenessMs === undefined ? read : { ...read, maxStalenessMs });
  }

  async readFields(node: string, level: ConsistencyLevel, record: string): Promise<void> {
    const { data, ...answer } = await this.#ask({ node, level, method: 'GET', record });
    this.recorded.push({ ...answer, op: 'read', record, fields: new Set(Object.keys(data ?? {})) });
  }

  #wrote({ data: _, ...answer }: Answered, key: string, value: string): void {
    const isAhead = isAheadOfCauses(this.#token, answer);
    this.recorded.push({ ...answer, op: 'write', key, value, isAhead });
  }

  async #ask({ level: wanted, node, method, record, body, headers }: Request): Promise<Answered> {
    // Whose session can't come is answered all the same at the level eventual, and what he sees then is not promised again.
    const level = this.#options.isNamed && wanted === 'eventual' ? 'session' : wanted;
    const { name, bearer, server } = this.#options;
    const { url } = await server.running;
    const session = this.#session();
    const startMs = performance.now();
    const who = { client: name, node, level, startMs };
    try {
      const response = await fetch(`${url}/v1/edge/${node}/data/${record}`, {
        method,
        headers: {
          Authorization: `Bearer ${bearer}`,
          'X-Consistency': level,
          'X-Wait-Ms': '200',
          ...session,
          ...headers,
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const { data = null, code } = (await response.json()) as Partial<Answered> & { readonly code: string };
      const endMs = performance.now();
      this.#token = response.headers.get('X-Causal-Token') ?? this.#token;
      const isDone = response.ok || (method === 'GET' && code === 'not_found');
      if (!isDone) this.refusals.push(code);
      const refusal = code === 'outcome_unknown' ? 'unknown' : 'fail';
      return { ...who, endMs, outcome: isDone ? 'ok' : refusal, data };
    } catch {
      // The server was killed: whether it was done, nobody knows.
      return { ...who, endMs: performance.now(), outcome: 'unknown', data: null };
    }
  }

  #session(): Record<string, string> {
    if (this.#options.isNamed) return { 'X-Session-Id': this.#options.name };
    return this.#token === undefined ? {} : { 'X-Causal-Token': this.#token };
  }
}

/**
 * Whether a write may arrive before what its writer had seen: then the token names what its node has not got, or, after a
 * strong write, what still waits there.
 */
function isAheadOfCauses(token: string | undefined, { node, level }: Omit<Answered, 'data'>): boolean {
  if (token === undefined) return false;
  const [payload = ''] = token.split('.');
  const { clock = {} } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return Object.keys(clock).some((name) => name !== 'cloud' && (level === 'strong' || name !== node));
}
