import { expect, test } from 'vitest';
import { type ErrorCode, SyncError } from '../../src/protocol/errors.ts';
import type { Batch, ConnectRequest, HandshakeRequest } from '../../src/protocol/messages.ts';
import { MeasuredUpstream } from '../../src/sync/measured-upstream.ts';
import { UNMEASURED } from '../../src/sync/plan.ts';
import { NO_BYTES } from '../../src/sync/tally.ts';

/** A way on which every call takes `ms` by the node's clock, and fails with `code`, if that is given. */
function way() {
  const next: { ms: number; code: ErrorCode | 'bug' | undefined } = { ms: 0, code: undefined };
  let nowMs = 1_000;
  const call = async () => {
    nowMs += next.ms;
    if (next.code === 'bug') throw new TypeError('it is not a function');
    if (next.code !== undefined) throw new SyncError(next.code, 'not now');
    return { value: undefined as never, ...NO_BYTES };
  };
  const upstream = new MeasuredUpstream(
    { connect: call, handshake: call, exchange: call },
    { nowMs: () => nowMs, sleep: () => Promise.resolve() },
  );
  const does = async (name: 'connect' | 'handshake' | 'exchange', ms: number, code?: ErrorCode | 'bug') => {
    Object.assign(next, { ms, code });
    const calls = {
      connect: () => upstream.connect({} as ConnectRequest),
      handshake: () => upstream.handshake('s', {} as HandshakeRequest),
      exchange: () => upstream.exchange('s', {} as Batch, true),
    };
    return await calls[name]().then(
      () => 'answered',
      (error: unknown) => (error instanceof SyncError ? error.code : 'bug'),
    );
  };
  return { upstream, does };
}

test('exchanges count by the time that they take; a connect or a handshake may wake the cloud, and does not', async () => {
  const { upstream, does } = way();
  await does('connect', 5_000);
  await does('handshake', 5_000);
  expect(upstream.quality).toEqual(UNMEASURED);
  await does('exchange', 100);
  expect(upstream.quality).toMatchObject({ rttMs: 100, failures: 0, grade: 'good' });
  await does('exchange', 900);
  expect(upstream.quality).toMatchObject({ rttMs: 300, grade: 'limited' });
});

test.each(['connect', 'handshake', 'exchange'] as const)(
  'a %s that does not get through is a failure',
  async (name) => {
    const { upstream, does } = way();
    for (const grade of ['good', 'limited']) {
      expect(await does(name, 20_000, 'cloud_unavailable')).toBe('cloud_unavailable');
      expect(upstream.quality).toMatchObject({ rttMs: null, grade });
    }
  },
);

test('[S28] what the cloud refuses has got through, and what it fails at, or is a bug, is none of the way', async () => {
  const { upstream, does } = way();
  for (const code of [
    'forbidden',
    'session_expired',
    'overloaded',
    'internal',
    'too_large',
    'bad_json',
    'bug',
  ] as const) {
    expect(await does('exchange', 20_000, code)).toBe(code);
  }
  expect(upstream.quality).toEqual(UNMEASURED);
});

test('a clock that jumps makes an exchange neither shorter than nothing nor longer than one may be', async () => {
  const { upstream, does } = way();
  await does('exchange', -3_600_000);
  expect(upstream.quality.rttMs).toBe(0);
  const other = way();
  await other.does('exchange', 24 * 3_600_000);
  expect(other.upstream.quality.rttMs).toBe(20_000);
});
