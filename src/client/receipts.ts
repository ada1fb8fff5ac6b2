import { dotOf } from '../core/change.ts';
import { type EntityKey, entityKey } from '../core/ids.ts';
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
  readonly settle: (settlement: Settlement) => void;
}

/** Tells writers what became of their writes, as answers come in; of those of an earlier start, who asks for all. */
export class Receipts {
  readonly #waiting = new Map<string, Waiting>();
  readonly #settled: (settlement: Settlement) => void;

  /** @param settled told of all of them. */
  constructor(settled: (settlement: Settlement) => void) {
    this.#settled = settled;
  }

  /** What the cloud will make of a change; it may take for ever. */
  expect(key: EntityKey, changeId: string): Promise<Settlement> {
    return new Promise((resolve) => {
      this.#waiting.set(changeId, { key, counter: dotOf({ id: changeId }).counter, settle: resolve });
    });
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
      if (known === undefined) this.#settled(settlementOf(result.id, result));
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
      this.#settled(settlement);
    }
  }
}

function settlementOf(changeId: string, { status, conflictId, entityId, code, detail }: ChangeResult): Settlement {
  return { changeId, status, conflictId, entityId, code, detail } as Settlement;
}
