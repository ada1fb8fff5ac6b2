import { describe, expect, test } from 'vitest';
import { Ledger } from '../../scripts/demo/ledger.ts';

const KEY = { entityType: 'days', entityId: 'one' };
const NAME = 'days/one';
const NO_CONFLICTS = new Map<string, string>();

function ledgerOf(...writes: [node: string, data: { v: number } | null][]): Ledger {
  const ledger = new Ledger();
  for (const [node, data] of writes) ledger.add(KEY, { node, data });
  return ledger;
}

describe('Ledger.missingIn', () => {
  test('without a conflict only the last acknowledged write is right', () => {
    const ledger = ledgerOf(['a', { v: 1 }], ['a', { v: 2 }]);
    expect(ledger.missingIn(new Map([[NAME, { v: 2 }]]), NO_CONFLICTS)).toEqual([]);
    expect(ledger.missingIn(new Map([[NAME, { v: 1 }]]), NO_CONFLICTS)).toEqual([
      `${NAME}: the last writer wrote {"v":2}, found {"v":1}`,
    ]);
  });

  test('with a conflict the last write of the winner is right, whoever wrote last', () => {
    const ledger = ledgerOf(['a', { v: 1 }], ['a', { v: 2 }], ['b', { v: 3 }]);
    const winners = new Map([[NAME, 'a']]);
    expect(ledger.missingIn(new Map([[NAME, { v: 2 }]]), winners)).toEqual([]);
    for (const v of [1, 3]) expect(ledger.missingIn(new Map([[NAME, { v }]]), winners)).toHaveLength(1);
  });

  test('a winner that never wrote is no excuse', () => {
    expect(ledgerOf(['a', { v: 1 }]).missingIn(new Map(), new Map([[NAME, 'b']]))).toHaveLength(1);
  });

  test('what was deleted has to be gone, what was not has to be there', () => {
    const deleted = ledgerOf(['a', { v: 1 }], ['a', null]);
    expect(deleted.missingIn(new Map(), NO_CONFLICTS)).toEqual([]);
    expect(deleted.missingIn(new Map([[NAME, { v: 1 }]]), NO_CONFLICTS)).toHaveLength(1);
    expect(ledgerOf(['a', { v: 1 }]).missingIn(new Map(), NO_CONFLICTS)).toHaveLength(1);
  });
});
