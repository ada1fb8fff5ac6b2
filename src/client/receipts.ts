import { dotOf } from '../core/change.ts';
import { type EntityKey, entityKey } from '../core/ids.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type Batch, type BatchAnswer, type ChangeResult, isFinal } from '../protocol/messages.ts';

/** What the cloud made of a write. */
export interface Settlement {
  readonly changeId: string;
  /** `duplicate`: the cloud has it, and its first answer was lost. `cancelled`: made and deleted before it left. */
  readonly status: Exclude<ChangeResult['status'], 'needs-full' | 'conflict' | 'deferred' | 'failed'> | 'cancelled';
  /** The record of the conflict that it met. */
  readonly conflictId?: string | undefined;
  /** Of a record that got another id. */
  readonly entityId?: string | undefined;
  /** Of `rejected`: why. It is a dead letter of this client now. */
  readonly code?: string | undefined;
  readonly detail?: string | undefined;
}

interface Waiting {
  readonly key: EntityKey;
  readonly counter: number;
  readonly settled: Promise<Settlement>;
  readonly settle: (settlement: Settlement) => void;
}

/** Tells writers what became of their writes, as answers come in; of those of an earlier start, who asks for all. */
export class Receipts {
  readonly #waiting = new Map<string, Waiting>();
  /** Last words, oldest first: who asks late is told the same. */
  readonly #last = new Map<string, Settlement>();
  readonly #settled: (settlement: Settlement) => void;

  /** @param settled told of all of them. */
  constructor(settled: (settlement: Settlement) => void) {
    this.#settled = settled;
  }

  /** What the cloud will make of a change; it may take for ever. */
  expect(key: EntityKey, changeId: string): Promise<Settlement> {
    const known = this.known(changeId);
    if (known !== undefined) return known;
    const { promise: settled, resolve: settle } = Promise.withResolvers<Settlement>();
    this.#waiting.set(changeId, { key, counter: dotOf({ id: changeId }).counter, settled, settle });
    return settled;
  }

  /** What was said of a change that was written since the start, or will be; undefined: nobody waits for that. */
  known(changeId: string): Promise<Settlement> | undefined {
    const last = this.#last.get(changeId);
    return last === undefined ? this.#waiting.get(changeId)?.settled : Promise.resolve(last);
  }

  /** Of a write that the cloud has answered by itself. */
  settle(settlement: Settlement): Promise<Settlement> {
    this.#remember(settlement);
    return Promise.resolve(settlement);
  }

  /** @param data of the record that each change makes. */
  answered({ changes }: Batch, { results }: BatchAnswer): void {
    // Who makes a strong write gets its answer by itself.
    const queued = changes.filter((change) => 'withdrawn' in change || change.consistency !== 'strong');
    const keys = new Map(
      queued.flatMap((change) => ('withdrawn' in change ? [] : [[change.id, entityKey(change)] as const])),
    );
    for (const result of results) {
      if (!isFinal(result)) continue;
      const known = this.#waiting.get(result.id);
      const key = keys.get(result.id) ?? known?.key;
      if (key === undefined) continue;
      this.#settle(key, result);
      if (known === undefined) this.#tell(settlementOf(result.id, result));
    }
  }

  /** What went into a change before it left becomes what that becomes. */
  #settle(key: EntityKey, result: ChangeResult): void {
    const { counter } = dotOf(result);
    for (const [changeId, waiting] of this.#waiting) {
      if (waiting.key !== key || waiting.counter > counter) continue;
      this.#waiting.delete(changeId);
      const settlement = settlementOf(changeId, result);
      waiting.settle(settlement);
      this.#tell(settlement);
    }
  }

  #tell(settlement: Settlement): void {
    this.#remember(settlement);
    this.#settled(settlement);
  }

  #remember(settlement: Settlement): void {
    this.#last.set(settlement.changeId, settlement);
    const [oldest] = this.#last.keys();
    if (this.#last.size > LIMITS.settlementsKept && oldest !== undefined) this.#last.delete(oldest);
  }
}

function settlementOf(changeId: string, { status, conflictId, entityId, code, detail }: ChangeResult): Settlement {
  return { changeId, status, conflictId, entityId, code, detail } as Settlement;
}
