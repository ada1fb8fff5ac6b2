import type { Anomaly, AnomalyRule, IsOlder, Operation } from './operation.ts';

/**
 * The four session guarantees, and causality, which is all of them from client to client. Terry et al., "Session
 * guarantees for weakly consistent replicated data", 1994; Ahamad et al., "Causal memory", 1995.
 *
 * Every client carries what it has seen from request to request. Reads that are `eventual` are promised nothing, but what they
 * showed has been seen; writes are in the order of their client at any level. A read of a value that its writer had seen
 * replaced is one of an older value, whatever the order of versions knows.
 */
export function checkCausality(history: readonly Operation[], isOlder: IsOlder): Anomaly[] {
  return new Causality(history, isOlder).check();
}

/** A set of writes: one bit for each. */
type Writes = bigint;

interface Client {
  readonly rest: Operation[];
  /** All that it has written and seen, and all that the writers of that had seen. */
  past: Writes;
  wrote: Writes;
  read: Writes;
}

class Causality {
  readonly #isOlder: IsOlder;
  readonly #writes = new Map<Writes, Operation>();
  readonly #bits = new Map<string, Writes>();
  readonly #ofKey = new Map<string, Writes>();
  readonly #clients: readonly Client[];
  /** What of each write's causes has to be seen by who sees it; by their bits. */
  readonly #causes = new Map<Writes, Writes>();
  /** What the writer of each had read itself, and written itself. */
  readonly #readBefore = new Map<Writes, Writes>();
  readonly #wroteBefore = new Map<Writes, Writes>();
  readonly #anomalies: Anomaly[] = [];

  constructor(history: readonly Operation[], isOlder: IsOlder) {
    this.#isOlder = isOlder;
    for (const [index, write] of history.filter(({ op }) => op === 'write').entries()) {
      const bit = 1n << BigInt(index);
      this.#writes.set(bit, write);
      this.#bits.set(nameOf(write.key, write.value), bit);
      this.#ofKey.set(write.key, this.#maskOf(write.key) | bit);
    }
    const sessions = Map.groupBy(history, ({ client }) => client);
    this.#clients = [...sessions.values()].map((rest) => ({ rest: [...rest], past: 0n, wrote: 0n, read: 0n }));
  }

  /** Goes on with any client whose next operation can have happened; those that wait for each other are a circle. */
  check(): Anomaly[] {
    for (let isStuck = false; !isStuck; ) {
      isStuck = true;
      for (const client of this.#clients) {
        for (let next = client.rest[0]; next !== undefined && this.#isReady(next); next = client.rest[0]) {
          client.rest.shift();
          this.#take(next, client);
          isStuck = false;
        }
      }
    }
    const circle = this.#clients.flatMap(({ rest }) => rest[0] ?? []);
    if (circle.length > 0) this.#anomalies.push({ rule: 'causality', operations: circle });
    return this.#anomalies;
  }

  /** Whether what it read has been written by now. */
  #isReady({ op, key, value, outcome }: Operation): boolean {
    const bit = this.#bit(key, value);
    return op === 'write' || outcome !== 'ok' || bit === 0n || this.#causes.has(bit);
  }

  #take(operation: Operation, client: Client): void {
    if (operation.op === 'write') this.#takeWrite(operation, client);
    else if (operation.outcome === 'ok') this.#takeRead(operation, client);
  }

  #takeWrite(write: Operation, client: Client): void {
    const { key, value, outcome, isAhead } = write;
    const bit = this.#bit(key, value);
    this.#causes.set(bit, isAhead === true ? 0n : client.past);
    this.#readBefore.set(bit, client.read);
    this.#wroteBefore.set(bit, client.wrote);
    if (outcome !== 'ok') return;
    for (const seen of bitsOf(client.past & this.#maskOf(key))) {
      const earlier = this.#writeOf(seen);
      if (this.#isBehind(write.value, earlier)) this.#report(this.#ruleBetween(bit, seen), [earlier, write]);
    }
    client.wrote |= bit;
    client.past |= bit;
  }

  #takeRead(read: Operation, client: Client): void {
    const { key, value, level } = read;
    const bit = this.#bit(key, value);
    const isWritten = value === null || (bit !== 0n && this.#writeOf(bit).outcome !== 'fail');
    if (!isWritten) this.#report('written by nobody', [read]);
    if (level !== 'eventual') {
      for (const seen of bitsOf(client.past & this.#maskOf(key) & ~bit)) {
        const missed = this.#writeOf(seen);
        if (this.#isBehind(value, missed)) this.#report(this.#ruleFor(client, seen), [missed, read]);
      }
    }
    client.read |= bit;
    client.past |= bit | (this.#causes.get(bit) ?? 0n);
  }

  /** Whether a value is older than a write's. */
  #isBehind(value: string | null, write: Operation): boolean {
    if (value === null) return true;
    const [older, newer] = [this.#bit(write.key, value), this.#bit(write.key, write.value)];
    const hadSeen = ((this.#causes.get(newer) ?? 0n) & older) !== 0n;
    return hadSeen || this.#isOlder(write.key, value, write.value ?? '');
  }

  /** Why a client has to see a write. */
  #ruleFor({ wrote, read }: Client, missed: Writes): AnomalyRule {
    if ((wrote & missed) !== 0n) return 'read your writes';
    if ((read & missed) !== 0n) return 'monotonic reads';
    const rules = bitsOf(read).map((bit) => this.#ruleBetween(bit, missed));
    return rules.find((rule) => rule !== 'causality') ?? 'causality';
  }

  /** Why who sees a write has to see an earlier one. */
  #ruleBetween(write: Writes, earlier: Writes): AnomalyRule {
    if (((this.#wroteBefore.get(write) ?? 0n) & earlier) !== 0n) return 'monotonic writes';
    return ((this.#readBefore.get(write) ?? 0n) & earlier) !== 0n ? 'writes follow reads' : 'causality';
  }

  #report(rule: AnomalyRule, operations: readonly Operation[]): void {
    this.#anomalies.push({ rule, operations });
  }

  #bit(key: string, value: string | null): Writes {
    return this.#bits.get(nameOf(key, value)) ?? 0n;
  }

  #maskOf(key: string): Writes {
    return this.#ofKey.get(key) ?? 0n;
  }

  #writeOf(bit: Writes): Operation {
    const write = this.#writes.get(bit);
    if (write === undefined) throw new Error('invariant broken: a bit stands for a write');
    return write;
  }
}

function nameOf(key: string, value: string | null): string {
  return JSON.stringify([key, value]);
}

/** Its bits, each by itself. */
function bitsOf(writes: Writes): Writes[] {
  const text = writes.toString(2);
  const bits: Writes[] = [];
  for (let place = text.indexOf('1'); place >= 0; place = text.indexOf('1', place + 1)) {
    bits.push(1n << BigInt(text.length - 1 - place));
  }
  return bits;
}
