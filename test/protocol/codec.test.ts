import { deflateSync, gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeText } from '../../src/protocol/codec.ts';
import { ERRORS, fromResult, SyncError, toResult } from '../../src/protocol/errors.ts';
import { decodeText } from '../../src/protocol/inflate.ts';

test('a text comes back as it was, compressed where that pays', async () => {
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 4_000 }), fc.nat(40), async (text, times) => {
      const long = text.repeat(times);
      const { bytes, encoding } = await encodeText(long, 'deflate');
      expect(decodeText(bytes, encoding, 10_000_000)).toBe(long);
    }),
    { numRuns: 50 },
  );
  expect(await encodeText('a'.repeat(5_000), 'deflate')).toMatchObject({ encoding: 'deflate', plainBytes: 5_000 });
  const zipped = await encodeText('a'.repeat(5_000), 'gzip');
  expect(zipped.encoding).toBe('gzip');
  expect(gunzipSync(zipped.bytes).toString()).toBe('a'.repeat(5_000));
  expect((await encodeText('a'.repeat(1_000), 'deflate')).encoding).toBe('identity');
  expect((await encodeText('a'.repeat(5_000), undefined)).encoding).toBe('identity');
});

test('[S31] a text that compression makes smaller by less than a tenth goes as it is', async () => {
  // All of ASCII in a random order: seven bits of eight, and the table that says so.
  let seed = 1;
  const next = () => {
    seed = (seed * 48_271) % 2_147_483_647;
    return String.fromCharCode(seed % 128);
  };
  const text = Array.from({ length: 1_200 }, next).join('');
  const gain = 1 - deflateSync(new TextEncoder().encode(text)).byteLength / 1_200;
  expect(gain).toBeGreaterThan(0);
  expect(gain).toBeLessThan(0.1);
  expect(await encodeText(text, 'deflate')).toMatchObject({ encoding: 'identity', bytes: { byteLength: 1_200 } });
});

test('[I10] what would inflate beyond the limit is refused before it has', () => {
  const bomb = deflateSync(new Uint8Array(200_000_000));
  expect(bomb.byteLength).toBeLessThan(1_000_000);
  const isTooLarge = expect.objectContaining({ code: 'too_large' });
  expect(() => decodeText(bomb, 'deflate', 1_000_000)).toThrow(isTooLarge);
  // It is not looked at to its end, which is missing.
  expect(() => decodeText(bomb.subarray(0, 50_000), 'deflate', 1_000_000)).toThrow(isTooLarge);
});

test('what is no zlib, no UTF-8 or in another encoding has its code', () => {
  const bytes = new Uint8Array([0xff, 0xfe, 0x00]);
  expect(() => decodeText(bytes, 'deflate', 100)).toThrow(expect.objectContaining({ code: 'bad_json' }));
  expect(() => decodeText(bytes, 'identity', 100)).toThrow(expect.objectContaining({ code: 'bad_json' }));
  expect(() => decodeText(bytes, 'br', 100)).toThrow(expect.objectContaining({ code: 'unsupported_encoding' }));
  expect(() => decodeText(bytes, 'identity', 2)).toThrow(expect.objectContaining({ code: 'too_large' }));
});

test('a failure crosses a boundary as data, with its code and details; a bug does not', async () => {
  const failure = new SyncError('precondition_failed', 'no', { current: 'a:1' });
  const crossed = structuredClone(await toResult(() => Promise.reject(failure)));
  expect(() => fromResult(crossed)).toThrow(expect.objectContaining({ code: failure.code, details: failure.details }));
  expect(fromResult(await toResult(() => 7))).toBe(7);
  await expect(toResult(() => Promise.reject(new TypeError('a bug')))).rejects.toThrow(TypeError);
});

test('every code has a status that HTTP knows as a failure', () => {
  for (const { status } of Object.values(ERRORS)) expect(status).toSatisfy((code: number) => code >= 400 && code < 600);
});
