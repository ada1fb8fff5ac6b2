import { assert } from '../../src/core/assert.ts';
import type { NodeId } from '../../src/core/ids.ts';
import { fromResult, type Result, SyncError } from '../../src/protocol/errors.ts';
import { LIMITS } from '../../src/protocol/limits.ts';
import { type Batch, batchAnswer, connectAnswer, handshakeAnswer } from '../../src/protocol/messages.ts';
import { parseWith } from '../../src/protocol/parse.ts';
import type { Caller } from '../../src/sync/caller.ts';
import type { Metered, Upstream } from '../../src/sync/ports.ts';
import type { Carrier } from '../../src/sync/relay.ts';
import { NO_BYTES } from '../../src/sync/tally.ts';
import type { Life } from './life.ts';
import type { Endpoint, Message, Network } from './network.ts';
import type { Scheduler } from './scheduler.ts';

export interface UpstreamOptions {
  readonly network: Network;
  readonly scheduler: Scheduler;
  readonly life: Life;
  readonly space: string;
  readonly nodeId: NodeId;
  /** Who is above the node when it sends. */
  readonly route: () => Endpoint;
  readonly pageLimit: number | undefined;
  readonly onSent: (batch: Batch) => void;
}

/** The protocol over the simulated network: texts, checked on arrival, and a timeout, as on every real way. */
export function simulatedUpstream(options: UpstreamOptions): Upstream {
  const { space, nodeId, pageLimit, onSent } = options;
  const call = async (method: Message['method'], sessionId: string, request: object): Promise<unknown> =>
    JSON.parse(
      await answerTo({ space, sender: nodeId, nodeId, method, sessionId, text: JSON.stringify(request) }, options),
    );
  return {
    connect: async (request) => metered(parseWith(connectAnswer, await call('connect', '', request))),
    handshake: async (sessionId, request) =>
      metered(parseWith(handshakeAnswer, await call('handshake', sessionId, request))),
    exchange: async (sessionId, sent) => {
      onSent(sent);
      const batch = pageLimit === undefined ? sent : { ...sent, limit: pageLimit };
      return metered(parseWith(batchAnswer, await call('exchange', sessionId, batch)));
    },
  };
}

/** The same way, for what a node carries for those below. */
export function simulatedCarrier(options: UpstreamOptions): Carrier {
  const { space, nodeId: sender } = options;
  const carry = (method: Message['method'], sessionId: string, text: string, { nodeId }: Caller) => {
    assert(nodeId !== undefined, 'in the simulator everybody speaks as a node');
    return answerTo({ space, sender, nodeId, method, sessionId, text }, options);
  };
  return {
    connect: (request, caller) => carry('connect', '', request, caller),
    handshake: (sessionId, request, caller) => carry('handshake', sessionId, request, caller),
    exchange: (sessionId, text, caller) => carry('exchange', sessionId, text, caller),
    disconnect: () => Promise.reject(new Error('nobody disconnects in the simulator')),
  };
}

function answerTo(message: Message, { network, scheduler, life, route }: UpstreamOptions): Promise<string> {
  return new Promise((resolve, reject) => {
    scheduler.after(LIMITS.exchangeTimeoutMs, () => {
      if (life.isOver) return;
      reject(new SyncError('cloud_unavailable', `no answer within ${LIMITS.exchangeTimeoutMs} ms`));
    });
    network.request(message, route(), (text) => {
      if (life.isOver) return;
      const result: Result<unknown> = JSON.parse(text);
      try {
        resolve(JSON.stringify(fromResult(result)));
      } catch (error) {
        reject(error);
      }
    });
  });
}

function metered<T>(value: T): Metered<T> {
  return { value, ...NO_BYTES };
}
