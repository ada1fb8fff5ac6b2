import type { Transactional } from '../../src/sync/ports.ts';

/** Where in a transaction the power goes off. */
export type CrashPoint = 'before-commit' | 'after-commit';

class PowerOff extends Error {}

/**
 * One run of one process, from its start to its crash. What belongs to a life does nothing any more once it has ended:
 * its store refuses every call, its timers and answers never come.
 */
export class Life {
  readonly #onEnd: (how: CrashPoint | 'now') => void;
  #isOver = false;
  #crash: { readonly point: CrashPoint; transactions: number } | undefined;
  #depth = 0;

  constructor(onEnd: (how: CrashPoint | 'now') => void) {
    this.#onEnd = onEnd;
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  end(how: CrashPoint | 'now' = 'now'): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#onEnd(how);
  }

  /** Has the life end in the n-th transaction from now. */
  endIn(transactions: number, point: CrashPoint): void {
    this.#crash = { point, transactions };
  }

  /** Takes a crash back that has not come yet. */
  spare(): void {
    this.#crash = undefined;
  }

  /** Runs a store's transaction, with the crash that may be due. */
  transaction<T>(store: Transactional, body: () => T, watch: StoreWatch): T {
    this.check();
    if (this.#depth > 0) return store.transaction(body);
    const crash = this.#crashDue();
    this.#depth += 1;
    try {
      const result = store.transaction(() => {
        const result = body();
        if (crash === 'before-commit') this.#powerOff(crash);
        return result;
      });
      watch.committed?.();
      if (crash === 'after-commit') this.#powerOff(crash);
      return result;
    } finally {
      // What came to stay has been told of by now.
      watch.ended?.();
      this.#depth -= 1;
    }
  }

  check(): void {
    if (this.#isOver) throw new PowerOff('the process has ended');
  }

  #crashDue(): CrashPoint | undefined {
    if (this.#crash === undefined) return undefined;
    this.#crash.transactions -= 1;
    return this.#crash.transactions > 0 ? undefined : this.#crash.point;
  }

  #powerOff(point: CrashPoint): never {
    this.end(point);
    throw new PowerOff(`the power went off ${point}`);
  }
}

/** What somebody who looks on is told of a store. */
export interface StoreWatch {
  called?(method: string, args: readonly unknown[]): void;
  /** What was called for in the transaction has come to stay. */
  committed?(): void;
  /** The transaction has ended, and what has not come to stay by now never will. */
  ended?(): void;
}

/** A store as one life has it. Made for any port, whatever methods it has. */
export function storeOf<Store extends Transactional>(store: Store, life: Life, watch: StoreWatch): Store {
  return new Proxy(store, {
    get(target, name) {
      if (name === 'transaction') return <T>(body: () => T) => life.transaction(target, body, watch);
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]): unknown => {
        life.check();
        watch.called?.(String(name), args);
        return Reflect.apply(member, target, args);
      };
    },
  });
}
