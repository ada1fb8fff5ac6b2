import { expect, test } from 'vitest';
import { toNodeId } from '../../src/core/ids.ts';
import type { Clock } from '../../src/sync/ports.ts';
import { rpcUpstream, type SyncRpc } from '../../src/transport/rpc.ts';

const nodeId = toNodeId('a') ?? expect.fail('a bad name');
const request = { nodeId, protocol: 1 };
const never = () => new Promise<never>(() => undefined);

/** `isPatient`: no wait ever ends by itself. */
function upstreamOf(syncConnect: SyncRpc['syncConnect'], isPatient = true) {
  const waits = new Set<AbortSignal>();
  const clock: Clock = {
    nowMs: () => 0,
    sleep: (_, signal) => {
      if (!isPatient) return Promise.resolve();
      if (signal !== undefined) {
        waits.add(signal);
        signal.addEventListener('abort', () => waits.delete(signal));
      }
      return never();
    },
  };
  const stub: SyncRpc = { syncConnect, syncHandshake: never, syncExchange: never, syncDisconnect: never };
  return { upstream: rpcUpstream(() => stub, nodeId, clock), waits };
}

const marked = (mark: Record<string, unknown>) => async () => {
  throw Object.assign(new Error('thrown by the runtime'), mark);
};

test.each([
  ['overloaded', { overloaded: true, retryable: true }, 'overloaded'],
  ['away', { retryable: true }, 'cloud_unavailable'],
  ['reset', { durableObjectReset: true }, 'cloud_unavailable'],
])('an object that is %s is a failure of the link', async (_, mark, code) => {
  await expect(upstreamOf(marked(mark)).upstream.connect(request)).rejects.toMatchObject({ code });
});

test('what the object throws by a bug goes on as it is', async () => {
  const { upstream } = upstreamOf(marked({ remote: true, retryable: false }));
  await expect(upstream.connect(request)).rejects.toMatchObject({ name: 'Error', message: 'thrown by the runtime' });
});

test('a refusal keeps its code, and an answer that is none of the protocol is no refusal', async () => {
  const refused = upstreamOf(async () => ({ ok: false, code: 'protocol_unsupported', detail: 'no', details: {} }));
  await expect(refused.upstream.connect(request)).rejects.toMatchObject({ code: 'protocol_unsupported' });
  const odd = upstreamOf(async () => ({ ok: true, value: '{"sessionId":1}' }));
  await expect(odd.upstream.connect(request)).rejects.toMatchObject({ code: 'internal' });
});

test('no answer in time is a failure of the link, and an answer ends the wait for it', async () => {
  await expect(upstreamOf(never, false).upstream.connect(request)).rejects.toMatchObject({ code: 'cloud_unavailable' });
  const { upstream, waits } = upstreamOf(marked({ retryable: true }));
  await expect(upstream.connect(request)).rejects.toThrow();
  expect(waits.size).toBe(0);
});
