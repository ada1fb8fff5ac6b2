import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import * as z from 'zod';
import { definePolicies } from '../../src/core/define-policies.ts';
import { policies } from '../../src/policies.ts';
import { freshSpace } from './space.ts';

/** An entity type with a schema; the policies file has none. */
const TYPE = 'checked';
const { types } = definePolicies({
  types: { [TYPE]: { schema: z.object({ n: z.number().min(0), tags: z.array(z.string()).optional() }) } },
});
const inUse: Record<string, unknown> = policies.types;

beforeAll(() => {
  Object.assign(inUse, types);
});

afterAll(() => {
  delete inUse[TYPE];
});

describe.each(['edge/a/data', 'data'])('[S1] at %s a record that is not what its schema says', (place) => {
  const path = `${place}/${TYPE}/x`;

  test('is refused with what is wrong, and where', async () => {
    const { call } = freshSpace();
    const refused = await call('PUT', path, { body: { n: -1, tags: ['a', 2] } });
    expect(refused).toMatchObject({ status: 422, code: 'invalid_data' });
    expect(refused.headers.get('Content-Type')).toContain('application/problem+json');
    const issue = (where: string) => ({ path: where, message: expect.stringMatching(/./) });
    expect(refused.json['issues']).toEqual([issue('n'), issue('tags.1')]);
    expect((await call('GET', path)).status).toBe(404);
  });

  test('is refused as well where a patch makes it, and what was there stays', async () => {
    const { call } = freshSpace();
    expect((await call('PUT', path, { body: { n: 1 } })).status).toBe(201);
    for (const [body, type] of [
      [{ operations: [{ op: 'increment', path: 'n', value: -2 }] }, 'application/json'],
      [{ n: null }, 'application/merge-patch+json'],
    ] as const) {
      const refused = await call('PATCH', path, { body, headers: { 'Content-Type': type } });
      expect(refused).toMatchObject({ status: 422, code: 'invalid_data', json: { issues: [{ path: 'n' }] } });
    }
    expect((await call('GET', path)).json).toMatchObject({ data: { n: 1 } });
  });
});
