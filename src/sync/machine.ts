/**
 * The states of a sync, as a pure function: `step(state, event)` is the next state; what isn't in the table changes
 * nothing. Nothing durable lives here: after a restart the machine begins as `idle`, and the queue tells what to do.
 * `design.md`, section 7.
 */
export type LinkState =
  | 'idle'
  | 'connecting'
  | 'handshake'
  | 'syncing'
  | 'resolving'
  | 'finalizing'
  | 'offline'
  | 'queuing';

export type LinkEvent =
  | 'sync_trigger'
  | 'connected'
  | 'connection_failed'
  | 'handshake_complete'
  | 'handshake_failed'
  | 'conflicts_detected'
  | 'no_conflicts'
  | 'conflicts_resolved'
  | 'sync_complete'
  | 'sync_failed'
  | 'connection_lost'
  | 'retry'
  | 'local_change'
  | 'change_queued';

export function step(state: LinkState, event: LinkEvent): LinkState {
  return TRANSITIONS[state][event] ?? state;
}

const TRANSITIONS: Readonly<Record<LinkState, Readonly<Partial<Record<LinkEvent, LinkState>>>>> = {
  idle: { sync_trigger: 'connecting' },
  connecting: { connected: 'handshake', connection_failed: 'offline' },
  handshake: { handshake_complete: 'syncing', handshake_failed: 'idle', connection_lost: 'offline' },
  syncing: { conflicts_detected: 'resolving', no_conflicts: 'finalizing', connection_lost: 'offline' },
  resolving: { conflicts_resolved: 'finalizing', connection_lost: 'offline' },
  finalizing: { sync_complete: 'idle', sync_failed: 'idle', connection_lost: 'offline' },
  offline: { retry: 'connecting', local_change: 'queuing' },
  queuing: { change_queued: 'offline' },
};
