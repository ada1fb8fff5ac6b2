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

/** What a request asks for beside its level. */
export interface Wish {
  readonly maxStalenessMs?: number | undefined;
  /** Of a read: how many replicas answer. */
  readonly quorum?: number | undefined;
  /** Of a write: only if the record is as this client has seen it last. */
  readonly isConditional?: boolean | undefined;
  /** Of a write: where it is sent once more, by the same key. */
  readonly again?: string | undefined;
}

/** A write that was done on one version. */
export interface OnVersion {
  readonly record: string;
  readonly version: string;
}

type Request = Pick<Operation, 'node' | 'level'> & {
  readonly method: string;
  readonly path: string;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
};

type Answered = Pick<Operation, 'client' | 'node' | 'level' | 'startMs' | 'endMs' | 'outcome'> & {
  /** What is there; null: nothing. */
  readonly data: Readonly<Record<string, unknown>> | null;
  readonly version: string | undefined;
};

/** Somebody who goes from node to node over HTTP, and writes down what comes of each request. */
export class HistoryClient {
  readonly recorded: (Operation | FieldsRead)[] = [];
  /** The codes of what was refused. */
  readonly refusals: string[] = [];
  /** Conditional writes that were done. */
  readonly conditional: OnVersion[] = [];
  /** The two answers to writes that were sent twice. */
  readonly repeated: (readonly [string | undefined, string | undefined])[] = [];
  /** The version of each record that this client has seen last. */
  readonly #versions = new Map<string, string>();
  readonly #options: HistoryClientOptions;
  #token: string | undefined;

  constructor(options: HistoryClientOptions) {
    this.#options = options;
  }

  async write(node: string, level: ConsistencyLevel, record: string, value: string, wish: Wish = {}): Promise<void> {
    await this.#write({ node, level, method: 'PUT', path: `data/${record}`, body: { value } }, record, value, wish);
  }

  async writeField(node: string, level: ConsistencyLevel, record: string, value: string, wish: Wish): Promise<void> {
    const body = { operations: [setting(value)] };
    const request = { node, level, method: 'PATCH', path: `data/${record}`, body };
    await this.#write(request, record, value, wish, `${record}#${value}`);
  }

  /** Writes a field of each record. */
  async writeFields(node: string, level: ConsistencyLevel, records: readonly string[], value: string): Promise<void> {
    const changes = records.map((record) => {
      const [entityType, entityId] = record.split('/');
      return { operation: 'update', entityType, entityId, operations: [setting(value)] };
    });
    const answer = await this.#ask({ node, level, method: 'POST', path: 'transactions', body: { changes } });
    for (const record of records) this.#wrote(answer, `${record}#${value}`, value);
  }

  async read(node: string, level: ConsistencyLevel, record: string, wish: Wish = {}): Promise<void> {
    const { maxStalenessMs } = wish;
    const { data, version, ...answer } = await this.#read(node, level, record, wish);
    const value = typeof data?.['value'] === 'string' ? data['value'] : null;
    const read: Operation = { ...answer, op: 'read', key: record, value };
    this.recorded.push(maxStalenessMs === undefined ? read : { ...read, maxStalenessMs });
  }

  async readFields(node: string, level: ConsistencyLevel, record: string, wish: Wish = {}): Promise<void> {
    const { data, version: _, ...answer } = await this.#read(node, level, record, wish);
    this.recorded.push({ ...answer, op: 'read', record, fields: new Set(Object.keys(data ?? {})) });
  }

  async #read(node: string, level: ConsistencyLevel, record: string, wish: Wish): Promise<Answered> {
    const { maxStalenessMs, quorum } = wish;
    // Who has a bound, or asks several, waits for as long as a busy machine takes.
    const patience = maxStalenessMs === undefined && quorum === undefined ? {} : { 'X-Wait-Ms': '30000' };
    const headers = {
      ...patience,
      ...(maxStalenessMs === undefined ? {} : { 'X-Max-Staleness-Ms': `${maxStalenessMs}` }),
      ...(quorum === undefined ? {} : { 'X-Read-Quorum': `${quorum}` }),
    };
    const answer = await this.#ask({ node, level, method: 'GET', path: `data/${record}`, headers });
    if (answer.version !== undefined) this.#versions.set(record, answer.version);
    return answer;
  }

  async #write(request: Request, record: string, value: string, wish: Wish, key = record): Promise<void> {
    const version = wish.isConditional ? this.#versions.get(record) : undefined;
    const headers = {
      ...(version === undefined ? {} : { 'If-Match': `"${version}"` }),
      ...(wish.again === undefined ? {} : { 'Idempotency-Key': value }),
    };
    const first = await this.#ask({ ...request, headers });
    const second = wish.again === undefined ? undefined : await this.#ask({ ...request, headers, node: wish.again });
    if (second !== undefined && first.outcome === 'ok' && second.outcome === 'ok') {
      this.repeated.push([first.version, second.version]);
    }
    const answer = second === undefined ? first : bothOf(first, second);
    if (answer.version !== undefined) this.#versions.set(record, answer.version);
    if (version !== undefined && answer.outcome === 'ok') this.conditional.push({ record, version });
    this.#wrote(answer, key, value);
  }

  #wrote({ data: _, version: __, ...answer }: Answered, key: string, value: string): void {
    const isAhead = isAheadOfCauses(this.#token, answer);
    this.recorded.push({ ...answer, op: 'write', key, value, isAhead });
  }

  async #ask({ level: wanted, node, method, path, body, headers }: Request): Promise<Answered> {
    // Whose session can't come is answered all the same at the level eventual, and what he sees then is not promised again.
    const level = this.#options.isNamed && wanted === 'eventual' ? 'session' : wanted;
    const { name, bearer, server } = this.#options;
    const { url } = await server.running;
    const session = this.#session();
    const startMs = performance.now();
    const who = { client: name, node, level, startMs };
    try {
      const response = await fetch(`${url}/v1/edge/${node}/${path}`, {
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
      const { data = null, version, code } = (await response.json()) as Partial<Answered> & { readonly code: string };
      const endMs = performance.now();
      this.#token = response.headers.get('X-Causal-Token') ?? this.#token;
      const isDone = response.ok || (method === 'GET' && code === 'not_found');
      if (!isDone) this.refusals.push(code);
      const refusal = code === 'outcome_unknown' ? 'unknown' : 'fail';
      return { ...who, endMs, outcome: isDone ? 'ok' : refusal, data, version };
    } catch {
      // The server was killed: whether it was done, nobody knows.
      return { ...who, endMs: performance.now(), outcome: 'unknown', data: null, version: undefined };
    }
  }

  #session(): Record<string, string> {
    if (this.#options.isNamed) return { 'X-Session-Id': this.#options.name };
    return this.#token === undefined ? {} : { 'X-Causal-Token': this.#token };
  }
}

function setting(field: string) {
  return { op: 'set', path: `/${field}`, value: 1 };
}

/** What is known of a write that was sent twice: it was done where either was, between the two of them. */
function bothOf(first: Answered, second: Answered): Answered {
  if (first.outcome === 'ok') return first;
  const { startMs } = first;
  if (second.outcome === 'ok') return { ...second, startMs };
  const outcome = first.outcome === 'fail' && second.outcome === 'fail' ? 'fail' : 'unknown';
  return { ...second, startMs, outcome };
}

/**
 * Whether a write may arrive before what its writer had seen: then the token names what its node has not got, or, after a
 * strong write, what still waits there.
 */
function isAheadOfCauses(token: string | undefined, { node, level }: Omit<Answered, 'data' | 'version'>): boolean {
  if (token === undefined) return false;
  const [payload = ''] = token.split('.');
  const { clock = {} } = JSON.parse(Buffer.from(payload, 'base64url').toString());
  return Object.keys(clock).some((name) => name !== 'cloud' && (level === 'strong' || name !== node));
}
