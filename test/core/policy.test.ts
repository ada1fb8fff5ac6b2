import { expect, test } from 'vitest';
import * as z from 'zod';
import { definePolicies } from '../../src/core/define-policies.ts';
import { describePolicies, policyFor } from '../../src/core/policy.ts';

const policies = definePolicies({
  types: {
    gone: { onDelete: 'delete-wins' },
    typed: {
      schema: z.object({}),
      conflict: 'custom',
      custom: () => ({ winner: 'local', resolvedData: null }),
    },
    asked: { conflict: 'custom', custom: 'node' },
  },
});

test('a policy is found by its own name only', () => {
  expect(policyFor(policies, 'constructor')).toBe(policies.default);
  expect(policyFor(policies, 'gone').onDelete).toBe('delete-wins');
});

test('a node is told what is data: no functions, no schemas', () => {
  const described = describePolicies(policies);
  expect(described).toEqual(JSON.parse(JSON.stringify(described)));
  const { default: fallback } = policies;
  const { entry: _, maxStalenessMs, custom, schema, ...open } = fallback;
  expect(described).toEqual({
    types: {
      gone: { ...open, onDelete: 'delete-wins' },
      typed: { ...open, conflict: 'custom' },
      asked: { ...open, conflict: 'custom', custom: 'node' },
    },
    default: open,
  });
});
