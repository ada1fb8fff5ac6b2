import { expect, test } from 'vitest';
import { signToken, verifyToken } from '../../src/api/causal-token.ts';
import { toSpaceId } from '../../src/core/ids.ts';
import { SyncError } from '../../src/protocol/errors.ts';
import { made } from '../sync/world.ts';

const SPACE = made(toSpaceId('one'));
const SECRET = 'a-secret-for-tests-of-at-least-32-characters';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

test('[I6] [I9] a token is good as it was given out, and in no other letter', async () => {
  const seen = { epoch: 'e', clock: { cloud: 7, oslo: 3 }, atMs: 1_000 };
  const token = await signToken(seen, SPACE, SECRET);
  expect(await verifyToken(token, SPACE, SECRET)).toEqual(seen);
  const others = [...token].flatMap((letter, at) =>
    [...ALPHABET].filter((other) => other !== letter).map((other) => token.slice(0, at) + other + token.slice(at + 1)),
  );
  const cut = [token.slice(0, -1), `${token}=`, `${token}A`, `${token}.`, token.split('.')[0] ?? '', '.', ''];
  const isGood = (text: string) =>
    verifyToken(text, SPACE, SECRET).then(
      () => true,
      (error: unknown) => !(error instanceof SyncError && error.code === 'bad_token'),
    );
  const good: string[] = [];
  for (const text of [...others, ...cut]) if (await isGood(text)) good.push(text);
  expect(good).toEqual([]);
  await expect(verifyToken(token, made(toSpaceId('two')), SECRET)).rejects.toMatchObject({ code: 'bad_token' });
});
