import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatStamp } from '../src/core/hlc.ts';
import { toNodeId } from '../src/core/ids.ts';
import type { ResolverSide } from '../src/core/resolver.ts';
import { checkResolverOutput } from '../src/core/resolver.ts';
import { policies } from '../src/policies.ts';

describe('the resolver of transactions', () => {
  const node = toNodeId('a') ?? expect.fail();
  const side = (data: ResolverSide['data'], wallMs: number): ResolverSide => {
    return { data, version: `a:${wallMs}`, stamp: formatStamp({ wallMs, counter: 0, node }), updatedAt: wallMs };
  };
  async function decide(local: ResolverSide, remote: ResolverSide) {
    const custom = policies.types['transactions']?.custom;
    if (typeof custom !== 'function') throw new Error('transactions have no resolver');
    const conflict = { entityType: 'transactions', entityId: 'x', kind: 'update-update', base: null } as const;
    const output = checkResolverOutput(await custom({ ...conflict, local, remote }));
    if (output === undefined) throw new Error('the resolver answered nonsense');
    return output;
  }
  const settled = { status: 'settled', amount: 1 };
  const open = { status: 'open', amount: 2 };

  test('what is settled is not undone by what is not, however late that is', async () => {
    expect(await decide(side(settled, 1), side(open, 9))).toMatchObject({ winner: 'local', resolvedData: settled });
    expect(await decide(side(open, 9), side(settled, 1))).toMatchObject({ winner: 'remote', resolvedData: settled });
    expect(await decide(side(settled, 9), side({}, 1))).toMatchObject({ winner: 'local', resolvedData: settled });
  });

  test('otherwise the later one counts', async () => {
    const other = { ...settled, amount: 3 };
    expect(await decide(side(settled, 1), side(other, 2))).toMatchObject({ winner: 'remote', resolvedData: other });
    expect(await decide(side(open, 2), side({}, 1))).toMatchObject({ winner: 'local', resolvedData: open });
  });

  test('[I3] whichever side arrived first', async () => {
    const data = fc.record({ status: fc.constantFrom('settled', 'open', 1), amount: fc.nat(3) }, { requiredKeys: [] });
    const distinct = fc.uniqueArray(fc.nat(1_000_000), { minLength: 2, maxLength: 2 });
    await fc.assert(
      fc.asyncProperty(data, data, distinct, async (one, other, [first = 0, second = 0]) => {
        const there = await decide(side(one, first), side(other, second));
        const back = await decide(side(other, second), side(one, first));
        expect(there.resolvedData).toEqual(back.resolvedData);
        expect(there.winner).not.toBe(back.winner);
      }),
    );
  });
});
