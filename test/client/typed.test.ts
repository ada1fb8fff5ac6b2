import { describe, expect, expectTypeOf, test } from 'vitest';
import * as z from 'zod';
import { EdgeCloudClient } from '../../src/client/client.ts';
import type { ClientRecord } from '../../src/client/typed.ts';
import { definePolicies } from '../../src/core/define-policies.ts';
import type { JsonObject } from '../../src/core/json.ts';
import type { Policies } from '../../src/core/policy.ts';

const policies = definePolicies({
  types: {
    orders: { schema: z.object({ total: z.number(), note: z.string().optional() }) },
    free: {},
  },
});
type Order = { total: number; note?: string | undefined };

const ANYWHERE = { nodeId: 'a', cloudEndpoint: 'http://localhost', token: '' };

/** For tsc alone: it is never called. */
type Calls<P extends Policies> = (client: EdgeCloudClient<P>) => unknown;

describe('[S50] types, checked by tsc', () => {
  test('a record is what the schema of its type takes', () => {
    const calls: Calls<typeof policies> = async (client) => {
      expectTypeOf(await client.read('orders', 'x')).toEqualTypeOf<ClientRecord<Order> | null>();
      expectTypeOf((await client.list('orders')).items).toEqualTypeOf<readonly ClientRecord<Order>[]>();
      expectTypeOf((await client.write('orders', 'x', { total: 1 })).data).toEqualTypeOf<Order | null>();
      expectTypeOf(await client.read('free', 'x')).toEqualTypeOf<ClientRecord<JsonObject> | null>();
      await client.transact([
        { entityType: 'orders', entityId: 'x', kind: 'put', data: { total: 1 } },
        { entityType: 'free', entityId: 'x', kind: 'put', data: { any: ['thing'] } },
      ]);
      client.subscribe(['orders'], (change) => {
        expectTypeOf(change.entityType).toEqualTypeOf<'orders'>();
        if (change.operation !== 'delete') expectTypeOf(change.data).toEqualTypeOf<Order>();
      });
      client.on('change', (change) => {
        expectTypeOf(change.entityType).toEqualTypeOf<'orders' | 'free'>();
        if (change.entityType === 'orders' && change.operation !== 'delete') {
          expectTypeOf(change.data).toEqualTypeOf<Order>();
        }
      });
      client.registerCustomResolver('orders', ({ local }) => {
        expectTypeOf(local.data).toEqualTypeOf<Order>();
        return { winner: 'local', resolvedData: local.data };
      });
    };
    expect(calls).toBeTypeOf('function');
  });

  test('what is no such record, and a type that has no policy, is refused', () => {
    const calls: Calls<typeof policies> = async (client) => {
      // @ts-expect-error: the total is a number
      await client.write('orders', 'x', { total: '1' });
      // @ts-expect-error: there is no total
      await client.write('orders', 'x', {});
      // @ts-expect-error: there is no such type
      await client.write('order', 'x', { total: 1 });
      // @ts-expect-error: there is no such type
      await client.read('order', 'x');
      // @ts-expect-error: there is no such type
      client.subscribe(['order'], () => undefined);
      // @ts-expect-error: the total is a number
      await client.transact([{ entityType: 'orders', entityId: 'x', kind: 'put', data: { total: '1' } }]);
      // @ts-expect-error: a date is no JSON
      await client.write('free', 'x', { at: new Date() });
    };
    expect(calls).toBeTypeOf('function');
    // @ts-expect-error: there is no such type
    expect(new EdgeCloudClient<typeof policies>({ ...ANYWHERE, consistencyRules: { order: { level: 'strong' } } }));
    // @ts-expect-error: there is no such type
    expect(new EdgeCloudClient<typeof policies>({ ...ANYWHERE, entityTypes: ['order'] }));
  });

  test('without policies a record of any type is a JSON object; they can also be written by hand', () => {
    const client = new EdgeCloudClient({ ...ANYWHERE, consistencyRules: { any: { level: 'strong' } } });
    const read = async () => await client.read('any', 'x');
    expectTypeOf(read).returns.resolves.toEqualTypeOf<ClientRecord<JsonObject> | null>();
    const calls: Calls<Policies<{ note: { text: string } }>> = async (typed) => {
      expectTypeOf((await typed.read('note', 'x'))?.data).toEqualTypeOf<{ text: string } | undefined>();
    };
    expect(calls).toBeTypeOf('function');
  });
});
