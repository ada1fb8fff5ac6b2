import { describe, expect, test } from 'vitest';
import { freshSpace, seen } from './space.ts';

const lineOf = (id: string, data: object, entityType = 'note') => JSON.stringify({ entityType, entityId: id, data });

describe('an import', () => {
  test('[S40] takes what an export gave out, into another space, and the same again changes nothing', async () => {
    const [from, to] = [freshSpace(), freshSpace()];
    const count = 450;
    const text = Array.from({ length: count }, (_, n) => lineOf(`e${n}`, { n, text: 'é'.repeat(300) })).join('\n');
    expect(await from.call('POST', 'import', { body: text })).toMatchObject({
      json: { imported: count, unchanged: 0 },
    });
    await from.call('DELETE', 'data/note/e0');
    const exported = await from.text('export');
    const first = await to.call('POST', 'import', { body: exported });
    expect(first).toMatchObject({ status: 200, json: { success: true, imported: count - 1, unchanged: 0 } });
    expect(await to.call('POST', 'import', { body: exported })).toMatchObject({
      json: { imported: 0, unchanged: count - 1 },
    });
    const plain = (lines: string) =>
      lines
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line))
        .map(({ entityId, data }) => [entityId, data]);
    expect(plain(await to.text('export'))).toEqual(plain(exported));
    const headers = { ...seen(first), 'X-Consistency': 'causal' };
    expect((await to.call('GET', 'edge/a/data/note/e7', { headers })).json['data']).toMatchObject({ n: 7 });
  });

  test('[I6] [S40] comes after what its caller has seen, and gives that back with what it did', async () => {
    const { call } = freshSpace();
    await call('PUT', 'edge/a/network', { body: { online: false } });
    const written = await call('PUT', 'edge/a/data/note/x', { body: { n: 1 } });
    const bodies = ['', lineOf('y', { n: 1 }), `${lineOf('z', { n: 1 })}\n{`];
    for (const [index, status] of [200, 200, 400].entries()) {
      const imported = await call('POST', 'import', { body: bodies[index], headers: seen(written) });
      expect(imported.status).toBe(status);
      const read = { headers: { ...seen(imported), 'X-Wait-Ms': '0' } };
      expect((await call('GET', 'data/note/y', read)).code, `${index}`).toBe('causality_timeout');
    }
    const forged = { 'X-Causal-Token': 'forged' };
    expect(await call('POST', 'import', { body: bodies[1], headers: forged })).toMatchObject({ code: 'bad_token' });
  });

  test('[S40] stops at the first line that is wrong, says which, and keeps what came before', async () => {
    const { call } = freshSpace();
    const good = [lineOf('a', { n: 1 }), '', lineOf('b', { n: 2 })];
    const cases: [string, number, string][] = [
      ['{', 400, 'bad_json'],
      ['[]', 400, 'bad_request'],
      [lineOf('..', {}), 400, 'bad_name'],
      [lineOf('c', { deep: JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`) }), 422, 'too_deep'],
      [lineOf('c', { text: 'x'.repeat(300_000) }), 413, 'too_large'],
    ];
    for (const [wrong, status, code] of cases) {
      const body = [...good, wrong, lineOf('after', {})].join('\n');
      expect(await call('POST', 'import', { body }), code).toMatchObject({ status, code, json: { index: 3 } });
    }
    // What is wrong by itself is seen before anything is written; the rest by the cloud, with all that goes with it.
    expect((await call('GET', 'data/note/after')).code).toBe('not_found');
    const many = Array.from({ length: 250 }, (_, n) => lineOf(`m${n}`, { n }));
    const body = [...many, lineOf('c', { text: 'x'.repeat(300_000) })].join('\n');
    expect(await call('POST', 'import', { body })).toMatchObject({ json: { index: 250, imported: 200 } });
    expect((await call('GET', 'data/note/m199')).status).toBe(200);
  });

  test('[I9] [S40] is for admins, and for the types that they may write', async () => {
    const { call } = freshSpace();
    const body = lineOf('a', {});
    for (const claims of [{ role: 'client' }, { role: 'node', node: 'a' }, { types: { write: ['other'] } }]) {
      expect(await call('POST', 'import', { body, claims })).toMatchObject({ status: 403, code: 'forbidden' });
    }
    const headers = { 'Content-Encoding': 'deflate' };
    expect(await call('POST', 'import', { body, headers })).toMatchObject({ code: 'unsupported_encoding' });
    expect(await call('POST', 'import', { body: '' })).toMatchObject({ status: 200, json: { imported: 0 } });
  });
});
