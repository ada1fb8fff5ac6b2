import { SyncError } from '../protocol/errors.ts';
import { LIVE_SUBPROTOCOL } from '../protocol/live-messages.ts';
import { SUPPORTED_PROTOCOLS } from '../protocol/version.ts';

/** Whether a request asks to become a WebSocket. */
export function isUpgrade(headers: Headers): boolean {
  return headers.get('Upgrade')?.toLowerCase() === 'websocket';
}

/** The subprotocols that a WebSocket's client offers. */
export function subprotocols(headers: Headers): string[] {
  return (headers.get('Sec-WebSocket-Protocol') ?? '').split(',').map((name) => name.trim());
}

/** @throws SyncError `protocol_unsupported` for what is no WebSocket, or doesn't speak ours. */
export function requireLive(headers: Headers): void {
  if (isUpgrade(headers) && subprotocols(headers).includes(LIVE_SUBPROTOCOL)) return;
  const detail = `this is a WebSocket, with the subprotocol ${LIVE_SUBPROTOCOL}`;
  throw new SyncError('protocol_unsupported', detail, { supported: SUPPORTED_PROTOCOLS });
}
