import { expect, test } from 'vitest';
import { freshSpace } from './space.ts';

test('[I9] a query finds what is of its own space, though D1 holds all and ids are the same', async () => {
  const [one, other, empty] = [freshSpace(), freshSpace(), freshSpace()];
  await one.call('PUT', 'data/note/x', { body: { of: 'one' } });
  await other.call('PUT', 'data/note/x', { body: { of: 'other' } });
  for (const space of [one, other]) expect(await space.project()).toBe(true);
  for (const query of ['', '?where=of:ne:none', '?order=-of', '?limit=1']) {
    const found = async (space: typeof one) => (await space.call('GET', `data/note${query}`)).json;
    expect(await found(one)).toMatchObject({ items: [{ data: { of: 'one' } }], next: null });
    expect(await found(other)).toMatchObject({ items: [{ data: { of: 'other' } }], next: null });
    expect(await found(empty)).toMatchObject({ items: [], next: null });
  }
});
