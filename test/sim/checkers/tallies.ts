import type { EntityKey } from '../../../src/core/ids.ts';
import type { JsonValue } from '../../../src/core/json.ts';
import { isJsonObject } from '../../../src/core/json.ts';
import type { Op } from '../op.ts';
import { require } from '../violation.ts';

/** One increment: the digit of a number in base 4 that only it adds to. */
export interface Increment {
  readonly key: EntityKey;
  readonly field: string;
  readonly amount: number;
}

/** `open`: it may happen or not; `refused`: it never will; a write that waits: it will, unless its disk is lost. */
type Outcome = 'open' | 'done' | 'refused' | Op;

/**
 * I2, by arithmetic alone: each increment adds another power of 4, so a sum tells which of them are in it, and how often.
 * An answered one must be in it once, one without an answer at most once.
 */
export class Tallies {
  readonly #issued = new Map<string, { key: EntityKey; field: string; digits: Outcome[] }>();

  /** The next increment of an entity. */
  issue(key: EntityKey): Increment {
    for (let index = 0; ; index += 1) {
      const field = `f${index}`;
      const name = `${key}.${field}`;
      const tally = this.#issued.get(name) ?? { key, field, digits: [] };
      this.#issued.set(name, tally);
      if (tally.digits.length < DIGITS) {
        tally.digits.push('open');
        return { key, field, amount: 4 ** (tally.digits.length - 1) };
      }
    }
  }

  settle({ key, field, amount }: Increment, outcome: Outcome): void {
    const tally = this.#issued.get(`${key}.${field}`);
    if (tally !== undefined) tally.digits[Math.round(Math.log(amount) / Math.log(4))] = outcome;
  }

  /** @param read the record of an entity as the cloud has it. */
  check(read: (key: EntityKey) => JsonValue | undefined): void {
    for (const { key, field, digits } of this.#issued.values()) {
      const record = read(key);
      const sums = isJsonObject(record) ? record['sums'] : undefined;
      const sum = isJsonObject(sums) ? (sums[field] ?? 0) : 0;
      for (const [index, outcome] of digits.entries()) {
        const times = Math.floor(Number(sum) / 4 ** index) % 4;
        const [least, most] = boundsOf(outcome);
        require(least <= times && times <= most, 'I2', () => {
          return `increment ${index} of ${key}.${field} is there ${times} times; ${least} to ${most} would be right`;
        });
      }
    }
  }
}

function boundsOf(outcome: Outcome): readonly [least: number, most: number] {
  if (outcome === 'open') return [0, 1];
  if (outcome === 'done') return [1, 1];
  if (outcome === 'refused' || outcome.fate?.status === 'rejected') return [0, 0];
  return outcome.fate === undefined ? [0, 1] : [1, 1];
}

/** 4^25 and all below it add up exactly in a double. */
const DIGITS = 25;
