import { LIVE_SUBPROTOCOL } from '../protocol/live-messages.ts';
import type { LiveSocketOptions } from '../transport/live-socket.ts';

/**
 * Opens live sockets as browsers and Node do, which send no headers of their own: the token goes as a subprotocol.
 * Undefined: there are no sockets here.
 */
export function socketOpener(): LiveSocketOptions['fetch'] {
  if (typeof WebSocket === 'undefined') return undefined;
  return (url, { headers, signal }) => {
    const token = new Headers(headers).get('Authorization')?.replace('Bearer ', '') ?? '';
    const socket = new WebSocket(url.replace(/^http/, 'ws'), [LIVE_SUBPROTOCOL, `causeway.bearer.${token}`]);
    signal?.addEventListener('abort', () => socket.close());
    return new Promise((resolve) => {
      socket.addEventListener('open', () => {
        resolve({
          status: 101,
          webSocket: {
            accept: () => undefined,
            close: (code, reason) => socket.close(code, reason),
            addEventListener: (type, listener) => socket.addEventListener(type, listener),
          },
        });
      });
      // What has not opened has failed; why, no page is told.
      socket.addEventListener('close', () => resolve({ status: 503 }));
      socket.addEventListener('error', () => resolve({ status: 503 }));
    });
  };
}
